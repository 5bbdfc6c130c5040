"""Whether a box and a shared directory are fit for a long run: findings, each with a verdict and what to do."""
