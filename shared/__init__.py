"""The contract of the two machines: the worlds and the store. Imports neither torch nor ray."""
