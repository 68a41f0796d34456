"""The time our five methods and their peers take for the same points, where peers are installed."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from orrery.lab import Lab

PEERS: Mapping[str, tuple[str, str, str, dict[str, Any]]] = {
    "PCA": ("pca", "sklearn.decomposition", "PCA", {"n_components": 2}),
    "Isomap": ("isomap", "sklearn.manifold", "Isomap", {"n_neighbors": 12}),
    "LLE": ("lle", "sklearn.manifold", "LocallyLinearEmbedding", {"n_neighbors": 12}),
    "t-SNE": ("tsne", "sklearn.manifold", "TSNE", {}),
    "openTSNE": ("tsne", "openTSNE", "TSNE", {"random_state": 0}),
    "umap-learn": ("umap", "umap", "UMAP", {"random_state": 0, "n_jobs": 1}),
}
"""Of each peer: our method, module, class and settings. One thread each."""


def compare(
    lab: Lab, points: Float[ndarray, "n d"], ours: Mapping[str, Callable[[], Any]]
) -> list[dict[str, object]]:
    """Seconds of each pair. Both run twice; the first time includes what is compiled at first."""
    rows: list[dict[str, object]] = []
    for peer, (method, module, name, settings) in PEERS.items():
        if find_spec(module.partition(".")[0]) is None:
            continue
        theirs = getattr(importlib.import_module(module), name)
        row: dict[str, object] = {"method": method, "peer": f"{module.partition('.')[0]} {name}"}
        for side, make in (("ours", ours[method]), ("peer", partial(theirs, **settings))):
            for when in ("first", "second"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    with lab.stopwatch(f"{peer} {side} {when}") as watch:
                        make().fit(points)
                row[f"{side} {when} seconds"] = round(watch.seconds, 3)
        rows.append(row)
    return rows
