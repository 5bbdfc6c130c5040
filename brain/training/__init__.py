"""Stages of training: encoder, then predictor."""
