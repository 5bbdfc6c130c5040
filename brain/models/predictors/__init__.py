"""Predictors: latent and action to the next latent."""
