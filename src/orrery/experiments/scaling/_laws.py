"""What a ladder's training curves say once laws are fitted to them."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from orrery.lab import Lab, Measured
from orrery.nn.curve_fit import bayesian_bootstrap
from orrery.systems.scaling.chinchilla import (
    Allocation,
    ChinchillaLaw,
    frontier,
    parametric,
    three_approaches,
)
from orrery.systems.scaling.compute_6nd import Shape
from orrery.systems.scaling.kaplan import (
    Budgets,
    Runs,
    fit_kaplan,
    law_of_compute,
    law_of_data,
    law_of_parameters,
)
from orrery.systems.scaling.power_law import fit_power_law

Curves = Mapping[int, Mapping[int, float]]  # held-out loss by width and tokens
APPROACHES = ("envelope", "isoflop", "parametric")
PLANTED = ChinchillaLaw(floor=1.5, a=8.0, alpha=0.35, b=500.0, beta=0.6)
NOISE = 0.005  # of the planted losses, relative: about that of one training run to the next


def runs_of(curves: Curves, parameters: Mapping[int, int]) -> Runs:
    """The points of all curves; a width's parameters are counted as told."""
    points = [(parameters[w], d, loss) for w, curve in curves.items() for d, loss in curve.items()]
    return Runs(*np.array(points, dtype=np.float64).T)


def budgets_up_to(budget: float) -> Budgets:
    """Seven budgets of compute, each the square root of two times the one before."""
    return budget * 2 ** (np.arange(-6, 1) / 2)


def allocate(
    runs: Runs, budgets: Budgets, weights: Float[np.ndarray, "b s"] | None = None
) -> dict[str, Allocation]:
    """The three approaches; where no budget has its best size inside, the edges count too."""
    try:
        return three_approaches(runs, budgets, weights)
    except ValueError:  # a text without structure, or a smoke run
        return three_approaches(runs, budgets, weights, edges=True)


def allocations(
    runs: Runs, with_embeddings: Runs, budgets: Budgets, resamples: int, rng: np.random.Generator
) -> Measured:
    """Exponent a of N_opt ~ C^a of each approach, its interval, and with embeddings counted."""
    weights = bayesian_bootstrap(len(runs.sizes), resamples, rng)
    resampled, counted = allocate(runs, budgets, weights), allocate(with_embeddings, budgets)
    found: Measured = {}
    for name, allocation in allocate(runs, budgets).items():
        low, high = np.quantile(resampled[name].exponent, (0.025, 0.975))
        found |= {f"{name}/a": float(allocation.exponent[0])}
        found |= {f"{name}/low": float(low), f"{name}/high": float(high)}
        found[f"{name}/a with embeddings"] = float(counted[name].exponent[0])
    for key in ("a", "a with embeddings"):
        found[f"mean/{key}"] = float(np.mean([found[f"{name}/{key}"] for name in APPROACHES]))
    return found


def parametric_law(runs: Runs, budget: float) -> Measured:
    """Chinchilla's constants, its optimum at the budget, and how exact the closed form is."""
    law = parametric(runs)
    names = ("floor", "a", "alpha", "b", "beta")
    found = {f"chinchilla/{name}": float(getattr(law, name)) for name in names}
    ratio = law.tokens_per_parameter(np.array([budget, 10 * budget]))
    log_n = float(np.log(law.optimum(np.array([budget]))[0][0]))

    def excess(z: float) -> float:
        n = np.exp(np.array([log_n + z]))
        return float(law.loss(n, budget / 6 / n)[0] - law.floor)

    numerical = minimize_scalar(excess, bounds=(-3.0, 3.1), method="bounded")
    return found | {
        "chinchilla/tokens per parameter": float(ratio[0]),
        "chinchilla/tokens per parameter at ten times": float(ratio[1]),
        "chinchilla/log optimum off by": abs(float(numerical.x)),
    }


def predictions(fitted: Runs, held: Runs, small: float) -> Measured:
    """Errors on the held runs, relative, and what scaling brought over the best small run."""
    laws = {"kaplan": fit_kaplan(fitted).loss, "chinchilla": parametric(fitted).loss}
    found = {"gain": small / float(held.loss.min()) - 1}
    for name, law in laws.items():
        errors = law(held.parameters, held.tokens) / held.loss - 1
        found[f"{name}/worst error"] = float(np.abs(errors).max())
        for n, error in zip(held.parameters, errors, strict=True):
            found[f"{name}/error/{n:.0f}"] = float(error)
    return found


def exponents(runs: Runs, longest: float) -> Measured:
    """Of L(N), L(D) and L(C), over all runs.

    L(N) is read at as many tokens as half of the sizes have seen, L(D) from the `longest` size.
    """
    ends = np.sort([runs.tokens[runs.parameters == n].max() for n in runs.sizes])
    reached = float(ends[len(ends) // 2])
    joint = fit_kaplan(runs)
    return {
        "exponent/parameters": law_of_parameters(runs, reached).exponent,
        "exponent/data": law_of_data(runs.where(runs.parameters == longest)).exponent,
        "exponent/compute": law_of_compute(runs).exponent,
        "exponent/joint parameters": joint.alpha_n,
        "exponent/joint data": joint.alpha_d,
    }


def floor_gain(curves: Curves) -> float:
    """By how much a floor betters what a curve foretells of its own last octave.

    Root mean square error of the logarithm at the last two points without a floor less that with
    one; mean over the curves of six points or more.
    """
    gains = []
    for curve in curves.values():
        d, loss = np.array(sorted(curve.items()), dtype=np.float64).T
        if len(d) >= 6:
            with_floor, without = (
                np.log(fit_power_law(d[:-2], loss[:-2], floor=floor)(d[-2:]) / loss[-2:])
                for floor in (True, False)
            )
            gains.append(np.sqrt(np.mean(without**2)) - np.sqrt(np.mean(with_floor**2)))
    return float(np.mean(gains)) if gains else 0.0


def returns(runs: Runs, budget: float, small: float, large: float) -> Measured:
    """What a doubling of compute brought below and above the budget, and how much data width saves.

    `small` and `large` are the two N whose data are compared, at the end of the small one.
    """
    marks = np.array([budget / 8, budget, runs.compute.max()])
    best = np.nanmin(runs.at_budgets(marks), axis=0)
    early, late = (best[:-1] - best[1:]) / np.diff(np.log2(marks))
    curves = [runs.where(runs.parameters == n) for n in (small, large)]
    last = curves[0].loss.min()
    order = np.argsort(curves[1].loss)
    needed = np.interp(last, curves[1].loss[order], np.log2(curves[1].tokens[order]))
    saved = float(np.log2(curves[0].tokens.max()) - needed)
    return {"early gain": float(early), "late gain": float(late), "halvings of data": saved}


def inside(runs: Runs, budgets: Budgets) -> float:
    """Loss of the better of the smallest and largest size less that of the best, at one budget.

    The budget is the one for which the sizes that were trained are furthest apart.
    """
    table = runs.at_budgets(budgets)
    trained = [runs.sizes[np.isfinite(column)] for column in table.T]
    apart = [sizes[-1] / sizes[0] if len(sizes) else 0.0 for sizes in trained]
    widest = len(apart) - 1 - int(np.argmax(apart[::-1]))
    loss = table[np.isfinite(table[:, widest]), widest]
    return float(min(loss[0], loss[-1]) - loss.min()) if len(loss) else 0.0


def recovery(runs: Runs, rng: np.random.Generator) -> float:
    """How far the fitted exponent is from the planted one, on these very sizes and tokens."""
    loss = PLANTED.loss(runs.parameters, runs.tokens)
    planted = Runs(runs.parameters, runs.tokens, loss * np.exp(rng.normal(0, NOISE, len(loss))))
    return abs(float(frontier(planted).exponent[0]) - PLANTED.parameter_exponent)


def examine(
    curves: Curves, shapes: Mapping[int, Shape], budget: float, resamples: int, lab: Lab
) -> Measured:
    """All of it: laws fitted to runs up to the budget, and what became of the runs beyond."""
    plain = {w: shape.parameters for w, shape in shapes.items()}
    whole = {w: shape.parameters + shape.embeddings for w, shape in shapes.items()}
    runs, with_embeddings = runs_of(curves, plain), runs_of(curves, whole)
    below = runs.compute <= 1.01 * budget
    fitted, last = runs.where(below), runs.where(runs.compute >= 0.97 * runs.compute.max())
    longest = last.parameters.min()
    budgets, rng = budgets_up_to(budget), lab.numpy_rng("resamples")
    return {
        **allocations(fitted, with_embeddings.where(below), budgets, resamples, rng),
        **parametric_law(fitted, budget),
        **predictions(fitted, last, float(fitted.loss.min())),
        **exponents(runs, longest),
        **returns(runs, budget, runs.sizes[0], longest),
        "floor gain": floor_gain(curves),
        "inside": inside(fitted, budgets),
        "recovery": recovery(fitted, lab.numpy_rng("planted")),
    }
