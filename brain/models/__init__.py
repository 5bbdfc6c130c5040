"""The networks, and the world model made of them."""
