"""The figure of `masked_or_next`."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from orrery.lab import Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds


def bytes_and_kinds(results: Sequence[Measured], labels: int, classes: int) -> dict[str, Figure]:
    """What each model fills and foretells, and how well each arm tells kinds of books apart."""
    figure, (bytes_, kinds) = new_figure(9.0, 3.4, columns=2)
    for i, model in enumerate(("bert", "gpt")):
        mean, half = over_seeds(results, [f"{model}/gap", f"{model}/next"])
        places = [place + 0.36 * i for place in range(2)]
        bytes_.bar(places, mean, 0.34, yerr=half, color=COLOURS[i], ecolor="#9aa0aa", label=model)
    mean, _ = over_seeds(results, ["commonest"])
    bytes_.axhline(mean[0], color="#9aa0aa", linestyle=":")
    bytes_.set_xticks([0.18, 1.18], ["a gap", "the next byte"])
    bytes_.set(title="Books not read before", ylabel="right", ylim=(0, 1))
    bytes_.legend(loc="upper left")
    arms = [key.removesuffix("/kind") for key in results[0] if key.endswith("/kind")]
    mean, half = over_seeds(results, [f"{arm}/kind" for arm in arms])
    kinds.barh(range(len(arms)), mean, xerr=half, color=COLOURS[0], ecolor="#9aa0aa")
    kinds.axvline(1 / classes, color="#9aa0aa", linestyle=":")
    kinds.set_yticks(range(len(arms)), arms)
    kinds.invert_yaxis()
    kinds.set(title=f"Kinds of books, {labels} labels each", xlabel="right")
    return {"both-ways": figure}
