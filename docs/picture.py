"""Draws the picture of the README from the records: every verdict with its interval.

    python docs/picture.py

Effects have different units, so each is shown as its distance from the margin, in half-widths
of its own 95 % interval: a bar that does not touch the line is a verdict.
"""

from pathlib import Path

from orrery.catalog import records_folder
from orrery.lab.figures import COLOURS, new_figure, svg_bytes
from orrery.plan.record import Judgement, Record

PICTURE = Path(__file__).parent / "images" / "verdicts.svg"
COLOUR = {"holds": COLOURS[2], "fails": COLOURS[1], "undecided": COLOURS[7]}
FARTHEST = 1_000.0


def main() -> None:
    """Draw every claim of every record."""
    rows: list[tuple[str, Judgement | None]] = []
    for path in sorted(records_folder().glob("*/*.json")):
        record = Record.model_validate_json(path.read_text(encoding="utf8"))
        rows.append((f"{record.area} / {record.stem}", None))
        rows += [(verdict.id or verdict.text, verdict) for verdict in record.verdicts]
    figure, (axes,) = new_figure(9.0, 0.6 + 0.23 * len(rows))
    for y, (label, verdict) in enumerate(rows):
        if verdict is None:
            axes.text(-0.01, y, label, transform=axes.get_yaxis_transform(), ha="right",
                      va="center", weight="bold")  # fmt: skip
            continue
        short = label if len(label) < 62 else f"{label[:60]}..."
        axes.text(-0.01, y, short, transform=axes.get_yaxis_transform(), ha="right", va="center",
                  fontsize=8.5)  # fmt: skip
        at, half = distance(verdict)
        colour = COLOUR[verdict.verdict]
        axes.plot([at - half, at + half], [y, y], color=colour, linewidth=5, alpha=0.35,
                  solid_capstyle="round")  # fmt: skip
        axes.plot([at], [y], "o", color=colour, markersize=5)
    axes.axvline(0.0, color=COLOURS[7], linewidth=1)
    axes.set_xscale("symlog", linthresh=2.0)
    axes.set_xlim(-2 * FARTHEST, 2 * FARTHEST)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlabel(
        "fails  <   distance of the effect from its margin, in half-intervals   >  holds"
    )
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(svg_bytes(figure))
    print(PICTURE)


def distance(verdict: Judgement) -> tuple[float, float]:
    """Where the effect lies from its margin, and the half-width of its interval (1, or 0)."""
    assert verdict.low is not None
    assert verdict.high is not None
    half = (verdict.high - verdict.low) / 2
    gap = verdict.effect - verdict.margin
    if half == 0:
        return (FARTHEST if gap > 0 else -FARTHEST), 0.0
    return max(-FARTHEST, min(FARTHEST, gap / half)), 1.0


if __name__ == "__main__":
    main()
