"""One run as one page: verdicts, figures, curves, settings, environment; no file beside it."""

import base64
import csv
import inspect
import math
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from orrery.files import read_json, write_atomically
from orrery.lab.claim import Control
from orrery.lab.events import read_events
from orrery.lab.experiment import Runnable
from orrery.lab.figures import COLOURS, new_figure, svg_bytes
from orrery.lab.folder import Order, Run
from orrery.lab.words import Language, language, reason_of, words
from orrery.plan.load import load

PAGES = Path(__file__).parent / "pages"
CURVE_POINTS = 400
CURVES = 6
LINES = 12
TABLE_ROWS = 200


def write_report(run: Run, experiment: Runnable) -> Path:
    """Write report.html of a run that is judged; returns its path."""
    path = run.folder / "report.html"
    write_atomically(path, render("report.html", **run_context(run, experiment, language())))
    return path


def run_context(run: Run, experiment: Runnable, in_language: Language) -> dict[str, Any]:
    """Everything a page shows of a run."""
    order = run.order
    judged = read_json(run.folder / "verdicts.json")
    seconds = read_json(run.folder / "seconds.json") if _has(run, "seconds.json") else {}
    around = read_json(run.folder / "environment.json") if _has(run, "environment.json") else {}
    shown = [shown_verdict(j, in_language) for j in judged]
    pairs = list(zip(experiment.claims, shown, strict=True))
    first = run.seed_folder(order.seeds[0])
    return {
        "order": order, "question": experiment.question, "about": _about(experiment),
        "seconds": sum(seconds.values()),
        "claims": [j for q, j in pairs if not isinstance(q, Control)],
        "controls": [j for q, j in pairs if isinstance(q, Control)],
        "figures": [*_figures(run.folder), *_figures(first)],
        "samples": _samples(first / "samples"), "tables": _tables(first / "tables"),
        "curves": _curves(run, order), "environment": _flat(around), "command": command(order),
    }  # fmt: skip


def render(page: str, in_language: Language | None = None, **context: Any) -> str:
    """A page as HTML, with the style and words of a language, or else of the reader's."""
    chosen = in_language or language()
    style = Markup((PAGES / "style.css").read_text(encoding="utf8"))
    return (
        _templates().get_template(page)
        .render(style=style, language=chosen, w=words(chosen), **context).lstrip()
    )  # fmt: skip


@cache
def _templates() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES), autoescape=True, trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    found.filters["number"] = _number
    return found


def command(order: Order) -> str:
    """The command that does the same run again."""
    parts = ["orrery run", order.stem]
    if order.scale != "full":
        parts.append(f"--scale {order.scale}")
    parts.append(
        f"--seeds {len(order.seeds)}" if order.seeds[0] == 0 else f"--seed {order.seeds[0]}"
    )
    if order.ablation:
        parts.append(f"--ablate {order.ablation}")
    return " ".join(parts)


def shown_verdict(judgement: dict[str, Any], in_language: Language) -> dict[str, Any]:
    """A verdict with its picture, and what the plan says where it misquotes its source."""
    claim = load(in_language).claims.get(judgement["id"] or "")
    return {
        **judgement, "picture": interval_picture(judgement),
        "reason": reason_of(judgement, in_language),
        "plan": claim.claim if claim else "",
        "corrected": claim.corrected if claim else "",
        "source": claim.source if claim else "",
    }  # fmt: skip


def interval_picture(judgement: dict[str, Any]) -> Markup:
    """The effect's interval on a line, with its margin, as SVG."""
    low, high = judgement["low"], judgement["high"]
    if low is None:
        return Markup("")
    margin, effect = judgement["margin"], judgement["effect"]
    least, most = min(low, margin), max(high, margin)
    room = (most - least) * 0.12 or abs(most) * 0.1 or 1.0
    least, most = least - room, most + room

    def x(value: float) -> float:
        return round(20 + 520 * (value - least) / (most - least), 1)

    width = max(x(high) - x(low), 2.0)
    return Markup(
        f'<svg class="scale {judgement["verdict"]}" viewBox="0 0 560 34" role="img" '
        f'aria-label="effect {_number(effect)}, margin {_number(margin)}">'
        '<line x1="20" x2="540" y1="14" y2="14" stroke="currentColor" stroke-opacity=".25"/>'
        f'<line x1="{x(margin)}" x2="{x(margin)}" y1="4" y2="24" stroke="currentColor" '
        'stroke-opacity=".6" stroke-dasharray="3 2"/>'
        f'<rect x="{x(low)}" y="10" width="{width}" height="8" rx="4" fill="currentColor" '
        'fill-opacity=".35"/>'
        f'<circle cx="{x(effect)}" cy="14" r="5" fill="currentColor"/>'
        f'<text x="{x(margin)}" y="33" text-anchor="middle">{_number(margin)}</text></svg>'
    )


def figures_of(run: Run) -> list[dict[str, Any]]:
    """The figures drawn over all seeds of a run."""
    return _figures(run.folder)


def _figures(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "figures").glob("*.svg"))
    return [{"name": p.stem.replace("_", " "), "svg": _inline(p.read_text())} for p in paths]


def _inline(svg: str) -> Markup:
    """An SVG to stand inside HTML: without its XML head (it is our own, so it is trusted)."""
    return Markup(svg[svg.index("<svg") :])


def _samples(folder: Path) -> list[dict[str, str]]:
    found = []
    for path in sorted(folder.glob("*")):
        entry = {"name": path.stem, "image": "", "text": ""}
        if path.suffix == ".png":
            entry["image"] = base64.b64encode(path.read_bytes()).decode()
        else:
            entry["text"] = path.read_text(encoding="utf8")
        found.append(entry)
    return found


def _tables(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.glob("*.csv")):
        head, *rows = list(csv.reader(path.read_text(encoding="utf8").splitlines())) or [[]]
        found.append({"name": path.stem, "head": head, "rows": rows[:TABLE_ROWS]})
    return found


def _curves(run: Run, order: Order) -> list[dict[str, Any]]:
    """A figure for each logged quantity: a line a phase, all seeds in its colour."""
    lines: dict[str, dict[str, list[list[tuple[int, float]]]]] = defaultdict(dict)
    for seed in order.seeds:
        by_line: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        for event in read_events(run.seed_folder(seed) / "events.jsonl"):
            phase, step = event.get("phase"), event.get("step")
            if isinstance(phase, str) and isinstance(step, int):
                for key, value in event.items():
                    if key not in ("phase", "step") and isinstance(value, int | float):
                        by_line[key, phase].append((step, float(value)))
        for (key, phase), points in by_line.items():
            lines[key].setdefault(phase, []).append(points[:: 1 + len(points) // CURVE_POINTS])
    return [{"svg": _curve(key, phases)} for key, phases in list(lines.items())[:CURVES]]


def _curve(key: str, phases: dict[str, list[list[tuple[int, float]]]]) -> Markup:
    figure, (axes,) = new_figure(7.2, 3.0)
    for index, (phase, seeds) in enumerate(list(phases.items())[:LINES]):
        for seed, points in enumerate(seeds):
            axes.plot(
                *zip(*points, strict=True), color=COLOURS[index % len(COLOURS)], linewidth=1.0,
                alpha=0.55, label=phase if seed == 0 else None,
            )  # fmt: skip
    axes.set_title(key)
    axes.set_xlabel("step")
    axes.legend(ncols=2)
    return _inline(svg_bytes(figure).decode())


def _about(experiment: Runnable) -> list[str]:
    text = inspect.cleandoc(inspect.getmodule(experiment.run).__doc__ or "")
    return [" ".join(p.split()) for p in text.split("\n\n")[1:]]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key} ") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _has(run: Run, name: str) -> bool:
    return (run.folder / name).exists()


def _number(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"
