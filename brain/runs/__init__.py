"""A run folder: recipe, weights, metrics, figures, status."""
