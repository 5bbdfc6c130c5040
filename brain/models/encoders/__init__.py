"""Encoders: observation to latent."""
