"""The brain: learns a world model from a store and judges futures by energy. Imports torch, never ray."""
