"""How well a trained world model tells possible from impossible futures, beside baselines and an upper bound."""
