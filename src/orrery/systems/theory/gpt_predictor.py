"""A GPT that reads bytes and says what comes next, trained before or while it reads.

Several lanes, parts of one file, are read side by side: one batch predicts the next byte of each.
A trained GPT may be given; or one starts at random and, each time its window is full, takes a
gradient step on the bytes just read. The decoder takes the same steps on the same bytes, so
nothing of the network has to be stored.

Source: Bellard 2019, "Lossless Data Compression with Neural Networks" (NNCP: parallel streams, a
Transformer trained online); Deletang et al. 2024, "Language Modeling Is Compression",
arXiv:2309.10668, section 3 (a trained model and its window).
Differs from the papers: the Transformer is `gpt`, the optimisers Muon and AdamW; a full window
starts again from its second half, so that the past is half a window long at least.

The two sides must compute the same bits: the same shapes in the same order, on one thread, hence
on the same kind of machine with the same torch. Where that fails, the file's checksum says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8, UInt32
from torch import Tensor

from orrery.catalog import System
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.theory.arithmetic_coder import quantise
from orrery.train.muon import muon_and_adamw
from orrery.train.schedule import scale_rates

SYSTEM = System(
    stem="gpt_predictor", area="theory", title="A GPT as the predictor of a compressor",
    year=2019, papers=("Bellard 2019, NNCP", "arXiv:2309.10668"),
    builds_on=("gpt", "arithmetic_coder"), realises=(),
)  # fmt: skip

Window = Int64[Tensor, "lanes t"]
Text = UInt8[np.ndarray, "steps lanes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineConfig:
    """Sizes of the network that learns while it reads, and how it learns."""

    lanes: int = 8
    """Parts of the file that are read side by side: more are faster, and learn less often."""
    context: int = 32
    depth: int = 2
    heads: int = 4
    width: int = 128
    rate: float = 0.01
    """Learning rate after the warm-up."""
    warmup: int = 50
    """Steps until the rate is reached."""

    def __post_init__(self) -> None:
        if min(self.lanes, self.warmup) < 1 or self.context < 2:
            raise ValueError(f"lanes and warmup must be at least 1 and context at least 2: {self}")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must be in (0, 1), got {self.rate}")


class Learner:
    """Muon for the matrices, AdamW for the rest; one step a window."""

    def __init__(self, gpt: Gpt, rate: float, warmup: int) -> None:
        self.gpt, self.warmup, self.steps = gpt, warmup, 0
        self.optimisers = muon_and_adamw(gpt, rate)

    def step(self, window: Window) -> None:
        """One step down the loss of predicting the window's bytes, each from those before."""
        self.steps += 1
        self.gpt.zero_grad()
        self.gpt.loss(window[:, :-1], window[:, 1:]).backward()
        for optimiser in self.optimisers:
            scale_rates(optimiser, min(1.0, self.steps / self.warmup))
            optimiser.step()


class GptPredictor:
    """A predictor of bytes (see `lm_compressor`): the next byte of every lane."""

    alphabet = 256

    def __init__(self, gpt: Gpt, lanes: int, learner: Learner | None = None) -> None:
        """Begin every lane as if a zero byte stood before it.

        Args:
            gpt: of 256 tokens and a context of at least two.
            lanes: how many parts of the text it reads at once.
            learner: trains `gpt` on what was read; None leaves it as it is.

        Raises:
            ValueError: the network does not read bytes, or there is no lane.
        """
        if gpt.config.vocab != self.alphabet or gpt.config.context < 2:
            raise ValueError(f"gpt must have vocab=256 and context of 2 or more: {gpt.config}")
        if lanes < 1:
            raise ValueError(f"lanes must be at least 1, got {lanes}")
        self.gpt, self.lanes, self.learner = gpt, lanes, learner
        self.window = torch.zeros(lanes, 1, dtype=torch.int64)
        self.fresh, self.cache = self.window, KeyValueCache()

    @torch.no_grad()
    def predict(self) -> UInt32[np.ndarray, "lanes 256"]:
        """Frequencies of the next byte of each lane; once between two updates."""
        with one_thread():
            logits = self.gpt(self.fresh, cache=self.cache).logits[:, -1]
            return quantise(logits.double().softmax(dim=-1).numpy())

    def update(self, symbols: UInt8[np.ndarray, " lanes"]) -> None:
        """Take in the bytes that came, one a lane."""
        self.fresh = torch.from_numpy(symbols.astype(np.int64))[:, None]
        self.window = torch.cat([self.window, self.fresh], dim=1)
        context = self.gpt.config.context
        if self.window.shape[1] > context:
            if self.learner is not None:
                with one_thread():
                    self.learner.step(self.window)
            self.window = self.window[:, -(context // 2) :]
            self.fresh, self.cache = self.window, KeyValueCache()


@torch.no_grad()
def log_chances(gpt: Gpt, text: Text) -> Float[Tensor, "steps lanes 256"]:
    """What a GPT that does not learn gives each next byte, in nats, when it is shown the text.

    The chances a `GptPredictor` codes with, but whole windows at a time: for measuring, since a
    decoder does not have the text, and other shapes are rounded otherwise.
    """
    lanes = torch.from_numpy(text.astype(np.int64)).T
    bytes_before = torch.cat([torch.zeros(len(lanes), 1, dtype=torch.int64), lanes], dim=1)
    context, found, done, start = gpt.config.context, [], 0, 0
    while done < lanes.shape[1]:
        window = bytes_before[:, start : min(start + context, lanes.shape[1])]
        found.append(gpt.log_probabilities(window)[:, done - start :])
        done = start + window.shape[1]
        start = done + 1 - context // 2
    return torch.cat(found, dim=1).transpose(0, 1)


def online_gpt(config: OnlineConfig, seed: int = 0) -> GptPredictor:
    """A GPT that knows nothing yet and learns what it reads; `seed` decides how it starts."""
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        gpt = Gpt(GptConfig(
            vocab=256, context=config.context, depth=config.depth, heads=config.heads,
            width=config.width,
        ))  # fmt: skip
        learner = Learner(gpt, config.rate, config.warmup)
    return GptPredictor(gpt, config.lanes, learner)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums are then made in the same order, however many threads the process has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
