"""Which methods unfold a rolled-up sheet, and what do they keep of real data?

Five methods written here map a Swiss roll, a flat sheet and real digits into the plane. Of the
sheets the true coordinates are known: `geodesic` is the rank correlation of distances between them
and in the map. Of the digits, `recall` is the share of a point's 15 nearest neighbours that are
still among its 15 nearest in the map, `global` the rank correlation of all distances.

The plan says that UMAP keeps more of the global structure than t-SNE and takes a tenth to a
hundredth of its time. Its sources say that the start decides what is kept, so both methods also
run from principal components and from random places; and both are timed. The plan says that Isomap
and LLE cannot place new points; both have had ways to do so since 2003, used here on points of the
roll that the map was drawn without.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from matplotlib.figure import Figure

from orrery.experiments.manifold._atlas import Atlas, handwriting, page, plane, roll, scores
from orrery.experiments.manifold._peers import compare
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.systems.manifold.isomap import Isomap
from orrery.systems.manifold.lle import LLE
from orrery.systems.manifold.pca import PCA
from orrery.systems.manifold.tsne import TSNE
from orrery.systems.manifold.umap import UMAP

TITLES = {"pca": "PCA", "isomap": "Isomap", "lle": "LLE", "tsne": "t-SNE", "umap": "UMAP"}
METHODS = tuple(TITLES)


def start_matters(m: Measured) -> float:
    """By how much a common informed start helps, beyond how much the methods then differ."""
    tsne, umap = m["digits/tsne/global"], m["digits/umap_pca/global"]
    luck = (m["digits/tsne_random/global"] + m["digits/umap_random/global"]) / 2
    return (tsne + umap) / 2 - luck - abs(tsne - umap)


CLAIMS = (
    Claim(
        "isomap-swiss",
        effect=lambda m: m["roll/isomap/geodesic"],
        margin=0.95,
        text="Isomap unrolls the roll: distances along it are kept to a rank correlation of 0.95",
    ),
    Claim(
        "pca-linear",
        effect=lambda m: m["plane/pca/geodesic"] - m["roll/pca/geodesic"],
        margin=0.3,
        text="PCA finds the coordinates of a flat sheet but not those of a rolled one",
    ),
    Claim(
        "lle-local",
        effect=lambda m: m["roll/lle/geodesic"] - m["roll/pca/geodesic"],
        margin=0.2,
        text="from weights that are local and linear, LLE unrolls what the linear PCA cannot",
    ),
    Claim(
        "tsne-t",
        effect=lambda m: m["digits/tsne/recall"] - m["digits/sne/recall"],
        margin=0.05,
        text="the heavy tail relieves crowding: with a Gaussian in the map as well (SNE), a"
        " twentieth of all neighbours fewer are kept",
    ),
    Claim(
        "umap-speed",
        effect=start_matters,
        text="what t-SNE and UMAP keep of the global structure depends more on the start (principal"
        " components or random) than on the method",
    ),
    Claim(
        "isomap-oos",
        effect=lambda m: min(
            m[f"roll/{k}/new"] - m[f"roll/{k}/geodesic"] for k in ("isomap", "lle")
        ),
        margin=-0.02,
        text="Isomap and LLE place new points as well as those the map was drawn from",
    ),
    Finding(
        "UMAP takes a tenth of the time of t-SNE, both written here",
        effect=lambda m: m["digits/tsne/seconds"] / m["digits/umap/seconds"],
        margin=10.0,
    ),
    Finding(
        "on digits t-SNE and UMAP keep a tenth of all neighbours more than the spectral methods",
        effect=lambda m: (
            min(m[f"digits/{k}/recall"] for k in METHODS[3:])
            - max(m[f"digits/{k}/recall"] for k in METHODS[:3])
        ),
        margin=0.1,
    ),
    Finding(
        "too many neighbours bridge the layers of the roll, and Isomap no longer unrolls it",
        effect=lambda m: m["roll/isomap/geodesic"] - m["roll/bridged/geodesic"],
        margin=0.3,
    ),
    Control(
        "a flat sheet is no trouble to any method: its neighbourhoods are trusted to 0.98",
        effect=lambda m: min(m[f"plane/{method}/trust"] for method in METHODS),
        margin=0.98,
    ),
    Control(
        "every method keeps more of the digits' neighbours than the share a random map would",
        effect=lambda m: min(m[f"digits/{method}/recall"] for method in METHODS),
        margin=0.05,
    ),
)
ABLATIONS = ("euclidean",)
SCALES = {
    "smoke": {"points": 100, "digits": 100, "bridges": 50, "peers": False},
    "tour": {"points": 1_000, "digits": 600, "peers": False},
    "large": {"points": 20_000, "digits": 1_797, "bridges": 2_000},
}


class UnfoldSettings(Settings):
    """A smoke run has few points; only a full run times the peers."""

    points: Annotated[int, Range(100, 100_000)] = 1_500
    """Points of the roll and of the flat sheet."""
    digits: Annotated[int, Range(100, 1_797)] = 1_500
    """Digits to map."""
    neighbours: Annotated[int, Range(3, 50)] = 12
    """Neighbours of a point for Isomap and LLE."""
    bridges: Annotated[int, Range(10, 5_000)] = 150
    """Neighbours that are too many for the roll."""
    peers: bool = True
    """Whether seed 0 times scikit-learn, openTSNE and umap-learn, where they are installed."""


Maker = Callable[[], Any]


def makers(settings: UnfoldSettings, lab: Lab) -> dict[str, Maker]:
    """What makes each method's estimator."""
    seed = int(lab.numpy_rng("methods").integers(2**31))
    k = settings.neighbours
    metric: Literal["geodesic", "euclidean"] = (
        "euclidean" if lab.ablated("euclidean") else "geodesic"
    )
    return {
        "pca": lambda: PCA(2),
        "isomap": lambda: Isomap(n_neighbors=k, metric=metric, random_state=seed),
        "lle": lambda: LLE(n_neighbors=k, random_state=seed),
        "tsne": lambda: TSNE(random_state=seed),
        "umap": lambda: UMAP(random_state=seed),
        "bridged": lambda: Isomap(n_neighbors=settings.bridges, random_state=seed),
        "sne": lambda: TSNE(freedom=np.inf),
        "tsne_random": lambda: TSNE(init="random", random_state=seed),
        "umap_pca": lambda: UMAP(init="pca", random_state=seed),
        "umap_random": lambda: UMAP(init="random", random_state=seed),
    }


def run(settings: UnfoldSettings, lab: Lab) -> Measured:
    """Draw every map, score it, and show them all on one page."""
    sets = {
        "roll": roll(settings.points, lab.numpy_rng("roll")),
        "plane": plane(settings.points, lab.numpy_rng("plane")),
        "digits": handwriting(settings.digits, lab.numpy_rng("digits")),
    }
    make = makers(settings, lab)
    names = [f"{data}/{method}" for data in sets for method in METHODS]
    names += ["roll/bridged", *(f"digits/{method}" for method in list(make)[6:])]
    for method in ("tsne", "umap"):
        make[method]().fit(sets["digits"].points[:100])  # what is compiled is not timed
    atlas = Atlas()
    for step in lab.steps("maps", len(names), state=(atlas,)):
        data, method = names[step].split("/")
        estimator = make[method]()
        with lab.stopwatch(names[step]) as watch:
            map_ = estimator.fit_transform(sets[data].points)
        scores = sets[data].score(map_)
        if data == "roll" and method in ("isomap", "lle"):
            scores["new"] = sets[data].score_new(estimator.transform(sets[data].new))
        atlas.keep(names[step], map_, scores | {"seconds": watch.seconds})
        lab.log(**scores)
    lab.figure("maps", page(atlas, sets, TITLES))
    if settings.peers and lab.seed == 0:
        lab.table("times", compare(lab, sets["digits"].points, make))
    return atlas.scores


def draw(results: Sequence[Measured], settings: UnfoldSettings) -> dict[str, Figure]:
    """What each method keeps, and its time, with intervals over the seeds."""
    return {"scores": scores(results, TITLES, settings.digits)}
