"""Decoders: latent to frame."""
