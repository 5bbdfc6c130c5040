"""Checks of a machine and a shared directory before a long run: findings, each with a verdict and advice."""
