"""Training compute: C = 6 N D, and what that rule leaves out.

Source: Kaplan et al. 2020, arXiv:2001.08361, section 2.1, equation 2.2 and table 1.
Differs from the paper: the attention products are counted whole; the paper counts the half that a
causal mask leaves (`causal=True`), and few programs skip the other half.

A weight takes part in one multiplication and one addition a token: 2 N operations forward. The
backward pass forms two such products, for the inputs and for the weights: 4 N more. Left out are
the products of queries, keys and values, which grow with the context, and the output layer.
"""

from dataclasses import dataclass

from orrery.catalog import System

SYSTEM = System(
    stem="compute_6nd", area="scaling", title="The compute rule C = 6 N D", year=2020,
    papers=("arXiv:2001.08361",), builds_on=(), realises=("compute-6nd",),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Sizes of a decoder whose feed-forward layers are four times as wide."""

    depth: int
    width: int
    context: int
    vocab: int

    def __post_init__(self) -> None:
        for name in ("depth", "width", "context", "vocab"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def parameters(self) -> int:
        """N: the weights of the layers' matrices, 4 d^2 of attention and 8 d^2 of feed-forward."""
        return 12 * self.depth * self.width**2

    @property
    def embeddings(self) -> int:
        """Weights of the token table, which is also the output layer, and of the positions."""
        return (self.vocab + self.context) * self.width


@dataclass(frozen=True, kw_only=True, slots=True)
class Operations:
    """Floating-point operations a token, by where they are spent."""

    weights: float
    attention: float
    output: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.attention + self.output


def forward_operations(shape: Shape, *, causal: bool = False) -> Operations:
    """Of one token of a full context, on its way forward.

    Args:
        shape: of the model.
        causal: count only the keys up to a token's own, half of the context on average.
    """
    keys = (shape.context + 1) / 2 if causal else shape.context
    return Operations(
        weights=2.0 * shape.parameters,
        attention=2.0 * shape.depth * (2 * keys * shape.width),  # q k' and weights v
        output=2.0 * shape.vocab * shape.width,
    )


def training_operations(shape: Shape, *, causal: bool = False) -> Operations:
    """Of one token, forward and backward: three times forward."""
    forward = forward_operations(shape, causal=causal)
    return Operations(
        weights=3 * forward.weights, attention=3 * forward.attention, output=3 * forward.output
    )


def training_compute(parameters: float | int, tokens: float | int) -> float:
    """C = 6 N D.

    Raises:
        ValueError: parameters or tokens are not above 0.
    """
    if not (parameters > 0 and tokens > 0):
        raise ValueError(f"parameters and tokens must be above 0, got {parameters} and {tokens}")
    return 6.0 * parameters * tokens


def attention_share(shape: Shape, *, causal: bool = True) -> float:
    """Operations of attention for each operation of the weights.

    With a causal mask about n_ctx / (12 d), whatever the depth.
    """
    forward = forward_operations(shape, causal=causal)
    return forward.attention / forward.weights
