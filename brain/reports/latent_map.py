"""Maps of the latent space: PCA and t-SNE of test latents, coloured by the world's true states."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from brain.data.states import States

POINTS = 1500
COLUMNS = 4
"""Maximum number of states shown (the first ones)."""


def project(latents: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Latents float (N, D) to places (N, 2) by name: ``PCA``, and ``t-SNE`` started from it.

    Van der Maaten and Hinton 2008, "Visualizing Data using t-SNE"; perplexity 30. Distances between clusters of a
    t-SNE mean little.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    flat = PCA(2, random_state=seed).fit(latents)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one thread, or a constant latent: both are seen in the picture
        spread = TSNE(perplexity=min(30.0, len(latents) / 4), init="pca", random_state=seed).fit_transform(latents)
    share = flat.explained_variance_ratio_.sum()
    return {f"PCA ({100 * share:.0f} % of the variance)": flat.transform(latents), "t-SNE": spread}


def draw_portrait(latents: np.ndarray, named: States, states: np.ndarray, seed: int, file: Path) -> None:
    """A row per projection, a column per state: latents (N, D), states (N, S); an angle in a colour that turns."""
    from matplotlib.figure import Figure

    rows = np.random.default_rng(seed).permutation(len(latents))[:POINTS]
    places, shown = project(latents[rows], seed), named.names[:COLUMNS]
    figure = Figure(figsize=(3.2 * len(shown) + 0.4, 6.4), layout="constrained")
    grid = figure.subplots(len(places), len(shown), squeeze=False)
    for row, (method, points) in enumerate(places.items()):
        for column, name in enumerate(shown):
            axes = grid[row, column]
            values, colours, ends = states[rows, column], "viridis", {}
            if name in named.angles:  # -pi and pi are the same, and have the same colour
                values, colours = (values + np.pi) % (2 * np.pi) - np.pi, "twilight"
                ends = {"vmin": -np.pi, "vmax": np.pi}
            dots = axes.scatter(*points.T, c=values, s=4, cmap=colours, linewidths=0, **ends)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title(name, parse_math=False)
                figure.colorbar(dots, ax=grid[:, column], orientation="horizontal", shrink=0.8, pad=0.02)
            if column == 0:
                axes.set_ylabel(method)
    figure.savefig(file, dpi=130)
