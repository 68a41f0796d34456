"""Rotary positions for texts longer than those of training: the pairs turn more slowly.

Source: Chen et al. 2023, arXiv:2306.15595, equation 4 ("linear"); Peng et al. 2023, YaRN,
arXiv:2309.00071, sections 3.1 (dynamic NTK, definition 3), 3.2 to 3.4, equations 17 to 22 ("yarn");
Ding et al. 2024, LongRoPE, arXiv:2402.13753, equation 2 ("longrope"); Llama Team 2024,
arXiv:2407.21783, section 3.4.2, with the constants of its published code ("llama3").
Differs from the papers: settings, names and rounding (tables in float32) are those of Hugging
Face's configs, its "proportional" included; "dynamic" changes the angles of new tokens only, for
what a cache holds is turned already.

Symbols: theta_i the angle that pair i turns by from one place to the next, 2 pi / theta_i its
wavelength, s the factor by which the context is stretched, L the length of texts in training.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="rope_scaling", area="language", title="Rotary positions beyond the trained length",
    year=2023,
    papers=("arXiv:2306.15595", "arXiv:2309.00071", "arXiv:2402.13753", "arXiv:2407.21783"),
    builds_on=(), realises=(),
)  # fmt: skip

KINDS = ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")
NEEDS: dict[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
Pairs = Float[Tensor, " half"]
Table = Float[Tensor, "b 1 t half"] | Float[Tensor, "t half"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rope:
    """How places become angles; the names but `rope_theta`'s are those of published configs."""

    rope_type: str = "default"
    """One of KINDS."""
    rope_theta: float | int = 10_000.0
    """The base: the slowest pair takes about 2 pi base places to come round."""
    factor: float | int | None = None
    """s; if not given, the whole context over the original one (yarn, longrope)."""
    partial_rotary_factor: float | int = 1.0
    """Share of the numbers of a head that turn."""
    original_max_position_embeddings: int | None = None
    """L; the whole context if not given."""
    attention_factor: float | int | None = None
    """Multiplies queries and keys; by formula if not given (yarn, longrope)."""
    beta_fast: float | int | None = None
    """Turns within L above which a pair keeps its angle; 32 if not given (yarn)."""
    beta_slow: float | int | None = None
    """Turns within L below which a pair is slowed by s; 1 if not given (yarn)."""
    mscale: float | int | None = None
    mscale_all_dim: float | int | None = None
    truncate: bool = True
    """The limits of yarn's ramp are whole numbers."""
    low_freq_factor: float | int | None = None
    """Turns within L below which a pair is slowed by s (llama3)."""
    high_freq_factor: float | int | None = None
    """Turns within L above which a pair keeps its angle (llama3)."""
    short_factor: tuple[float | int, ...] | None = None
    """Divides each pair's angle in texts up to L (longrope)."""
    long_factor: tuple[float | int, ...] | None = None
    """Divides each pair's angle in longer texts (longrope)."""

    def __post_init__(self) -> None:
        if self.rope_type not in KINDS:
            raise ValueError(f"rope_type must be one of {', '.join(KINDS)}, got {self.rope_type!r}")
        if not self.rope_theta > 0:
            raise ValueError(f"rope_theta must be above 0, got {self.rope_theta}")
        if not 0 < self.partial_rotary_factor <= 1:
            raise ValueError(
                f"partial_rotary_factor must be in (0, 1], got {self.partial_rotary_factor}"
            )
        low, high = self.low_freq_factor, self.high_freq_factor
        if low is not None and high is not None and not 0 < low < high:
            raise ValueError(
                f"low_freq_factor must be above 0 and below high_freq_factor={high}, got {low}"
            )
        if self.factor is not None and not self.factor > 0:
            raise ValueError(f"factor must be above 0, got {self.factor}")
        for name in NEEDS.get(self.rope_type, ()):
            if getattr(self, name) is None:
                raise ValueError(f"{name} must be given for rope_type {self.rope_type!r}")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Rope":
        """From a published config, of today's form (rope_parameters) or the older (rope_scaling).

        Raises:
            ValueError: a setting is unknown or out of range.
        """
        given = dict(values.get("rope_scaling") or values.get("rope_parameters") or {})
        older = given.pop("type", "default")
        given.setdefault("rope_type", older)
        for name in ("rope_theta", "partial_rotary_factor"):
            if values.get(name) is not None:
                given.setdefault(name, values[name])
        if given["rope_type"] in ("llama3", "yarn", "longrope"):
            original = values.get("original_max_position_embeddings")
            if original is not None:
                given["original_max_position_embeddings"] = original
        unknown = sorted(given.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise ValueError(f"rope_parameters: {unknown[0]} is not known")
        for name in ("short_factor", "long_factor"):
            if given.get(name) is not None:
                given[name] = tuple(given[name])
        return cls(**{name: value for name, value in given.items() if value is not None})

    def write(self) -> dict[str, Any]:
        """The published settings."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        defaults = ("partial_rotary_factor", 1.0), ("truncate", True)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if value is not None and (name, value) not in defaults
        }

    def tables(
        self, places: Int[Tensor, "b t"] | Int[Tensor, " t"], size: int, context: int
    ) -> tuple[Table, Table]:
        """Cosines and sines of every place and pair, times the attention factor.

        Args:
            places: of the tokens; of a batch, or the same for all its rows.
            size: numbers of a head.
            context: the longest text the model is for.
        """
        theta, factor = self.angles(size, context, length=int(places.max()) + 1)
        turns = places[..., None].float() * theta.to(places.device)
        if places.ndim == 2:
            turns = turns[:, None]
        return turns.cos() * factor, turns.sin() * factor

    def angles(self, size: int, context: int, *, length: int = 0) -> tuple[Pairs, float]:
        """theta_i of each pair, and the factor of queries and keys.

        Args:
            size: numbers of a head, of which `partial_rotary_factor` turn.
            context: the longest text the model is for.
            length: of the text at hand.

        Raises:
            ValueError: the numbers that turn are odd.
        """
        kind, share = self.rope_type, self.partial_rotary_factor
        turning = size if kind in ("default", "proportional") else int(size * share)
        if turning % 2 or turning == 0:
            raise ValueError(f"size must leave an even number of numbers to turn, got {turning}")
        theta = slowing(turning, self.rope_theta)
        if kind == "linear":
            return theta / float(self.factor or 1), 1.0
        if kind == "dynamic":
            return dynamic(self, turning, context, length), 1.0
        if kind == "yarn":
            return yarn(self, turning, context), yarn_factor(self, context)
        if kind == "longrope":
            return longrope(self, turning, context, length), longrope_factor(self, context)
        if kind == "llama3":
            return llama3(self, theta, context), 1.0
        if kind == "proportional":
            still = torch.arange(len(theta)) >= int(share * size // 2)
            return theta.masked_fill(still, 0) / float(self.factor or 1), 1.0
        return theta, 1.0

    def original(self, context: int) -> int:
        """L, with the whole context in place of what is not given."""
        return self.original_max_position_embeddings or context

    def stretch(self, context: int) -> float:
        """s, with the whole context over L in place of what is not given."""
        return float(context / self.original(context) if self.factor is None else self.factor)


def slowing(size: int, base: float | int | Tensor) -> Pairs:
    """theta_i = base^(-2i / size)."""
    return 1.0 / (base ** (torch.arange(0, size, 2).float() / size))


def dynamic(rope: Rope, size: int, context: int, length: int) -> Pairs:
    """The base grows with the text, once it is longer than the context (definition 3)."""
    if length <= context:
        return slowing(size, rope.rope_theta)
    factor = rope.factor or 1
    growth = factor * torch.tensor(length) / context - (factor - 1)
    return slowing(size, rope.rope_theta * growth ** (size / (size - 2)))


def yarn(rope: Rope, size: int, context: int) -> Pairs:
    """Between the angle of training and that slowed by s, by turns within L (18 to 20)."""
    fast, slow = (
        size * math.log(rope.original(context) / (turns * 2 * math.pi))
        / (2 * math.log(rope.rope_theta))
        for turns in (rope.beta_fast or 32, rope.beta_slow or 1)
    )  # fmt: skip
    if rope.truncate:
        fast, slow = math.floor(fast), math.ceil(slow)
    low, high = max(fast, 0), min(slow, size - 1)
    if low == high:
        high += 0.001
    ramp = ((torch.arange(size // 2).float() - low) / (high - low)).clamp(0, 1)
    wave = rope.rope_theta ** (torch.arange(0, size, 2).float() / size)
    kept = 1 - ramp
    return 1.0 / (rope.stretch(context) * wave) * (1 - kept) + 1.0 / wave * kept


def yarn_factor(rope: Rope, context: int) -> float:
    """Square root of 1/t, t the temperature of the softmax (equation 22)."""
    if rope.attention_factor is not None:
        return float(rope.attention_factor)
    s = rope.stretch(context)

    def root(scale: float | int) -> float:
        return 1.0 if s <= 1 else 0.1 * scale * math.log(s) + 1.0

    if rope.mscale and rope.mscale_all_dim:
        return root(rope.mscale) / root(rope.mscale_all_dim)
    return root(1.0)


def longrope(rope: Rope, size: int, context: int, length: int) -> Pairs:
    """Each pair slowed by a factor of its own, found by search; one set for long texts."""
    factors = rope.long_factor if length > rope.original(context) else rope.short_factor
    if factors is None or len(factors) != size // 2:
        raise ValueError(f"short_factor and long_factor must hold {size // 2} numbers each")
    wave = rope.rope_theta ** (torch.arange(0, size, 2).float() / size)
    return 1.0 / (torch.tensor(factors, dtype=torch.float32) * wave)


def longrope_factor(rope: Rope, context: int) -> float:
    """Square root of 1 + log s / log L."""
    if rope.attention_factor is not None:
        return float(rope.attention_factor)
    s = rope.stretch(context)
    return 1.0 if s <= 1 else math.sqrt(1 + math.log(s) / math.log(rope.original(context)))


def llama3(rope: Rope, theta: Pairs, context: int) -> Pairs:
    """Short waves as trained, long ones slowed by s, those between by a share of both."""
    s, length = rope.stretch(context), rope.original(context)
    low, high = float(rope.low_freq_factor or 0), float(rope.high_freq_factor or 0)
    wave = 2 * math.pi / theta
    share = (length / wave - low) / (high - low)
    between = (1 - share) * theta / s + share * theta
    slowed = torch.where(wave > length / low, theta / s, between)
    return torch.where(wave < length / high, theta, slowed)
