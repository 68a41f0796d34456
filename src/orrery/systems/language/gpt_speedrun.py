"""GPT as the speed-runs train it: the same stack, changed where that makes it learn sooner.

Source: Jordan et al. 2024, "modded-nanogpt: Speedrunning the NanoGPT baseline", and where its
parts come from: Su et al. 2021, arXiv:2104.09864 (rotary positions); Henry et al. 2020,
arXiv:2010.04245 (normalised queries and keys); So et al. 2021, arXiv:2109.08668 (squared ReLU);
Peng et al. 2023, arXiv:2305.13048, section 3.1 (a look at the tokens just before).
Differs from the papers: no value embeddings, windows, soft caps or skips between blocks; the look
back is one learnt share a number and token, not a mix in every layer.

What is not as in `gpt`:
- positions turn the queries and keys instead of being added to the stream once;
- queries and keys are normalised, so no score can run away and large steps are safe;
- the feed-forward block squares a ReLU in place of a GELU;
- norms have no weights, except the last;
- every branch, and the head, starts at zero: at first the stream is the embedding alone;
- the head is a table of its own;
- before the first block each embedding takes in a learnt share of the two before it, so that no
  layer has to spend itself on finding its neighbours.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.attention import attention
from orrery.nn.rotary import angles, rotate
from orrery.nn.stacked import StackedLinear

SYSTEM = System(
    stem="gpt_speedrun", area="language", title="GPT of the speed-runs", year=2024,
    papers=("arXiv:2104.09864", "arXiv:2010.04245", "arXiv:2109.08668", "arXiv:2305.13048"),
    builds_on=(), realises=(),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Stream = Float[Tensor, "b t d"]
Logits = Float[Tensor, "b t v"]
LOOK_BACK = 2  # tokens before its own that an embedding takes in


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedrunConfig:
    """Sizes; the defaults are those of `gpt`."""

    vocab: int = 96
    context: int = 256
    """Longest sequence it can be given, in tokens."""
    depth: int = 6
    heads: int = 6
    width: int = 384

    def __post_init__(self) -> None:
        for name in ("vocab", "context", "depth", "heads", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width must be a multiple of twice heads={self.heads}, got {self.width}"
            )


class SpeedrunAttention(nn.Module):
    """Causal attention between directions: only angles count, of content and of place."""

    def __init__(self, config: SpeedrunConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = StackedLinear(config.width, config.width, 3, bias=False)
        nn.init.normal_(self.qkv.weight, std=0.5 * config.width**-0.5)
        self.out = _zero_linear(config.width, config.width)
        turns = angles(config.context, config.width // config.heads)
        self.turns: Tensor
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, x: Stream) -> Stream:
        """What the attention branch adds to the stream."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        turns = self.turns[: x.shape[1]]
        q, k = (rotate(_normalised(z), turns) for z in (q, k))
        y = attention(q, k, v, causal=True)
        return self.out(y.transpose(1, 2).flatten(-2))


class SpeedrunFeedForward(nn.Module):
    """Each position by itself, through a squared ReLU: most of its numbers stay at zero."""

    def __init__(self, config: SpeedrunConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, 4 * config.width, bias=False)
        nn.init.normal_(self.up.weight, std=0.5 * config.width**-0.5)
        self.down = _zero_linear(4 * config.width, config.width)

    def forward(self, x: Stream) -> Stream:
        """What the feed-forward branch adds to the stream."""
        return self.down(F.relu(self.up(x)).square())


class SpeedrunBlock(nn.Module):
    """Two branches, each normalised before and added to the stream after."""

    def __init__(self, config: SpeedrunConfig) -> None:
        super().__init__()
        self.attention = SpeedrunAttention(config)
        self.feed_forward = SpeedrunFeedForward(config)

    def forward(self, x: Stream) -> Stream:
        """The stream after this block."""
        x = x + self.attention(_normalised(x))
        return x + self.feed_forward(_normalised(x))


class SpeedrunGpt(nn.Module):
    """A causal language model that starts as a table of what follows what, and grows from there."""

    def __init__(self, config: SpeedrunConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.before = nn.Parameter(torch.zeros(LOOK_BACK, config.width))
        self.blocks = nn.ModuleList(SpeedrunBlock(config) for _ in range(config.depth))
        self.gain = nn.Parameter(torch.ones(config.width))
        self.head = nn.Embedding(config.vocab, config.width)  # a table: one vector a token
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tokens) -> Logits:
        """Scores of the next token at every position.

        Raises:
            ValueError: the sequence is longer than the context.
        """
        t = tokens.shape[1]
        if t > self.config.context:
            raise ValueError(f"tokens must be at most context={self.config.context} long, got {t}")
        own = self.embed(tokens)
        x = own
        for back, share in enumerate(self.before, start=1):
            x = x + share * F.pad(own, (0, 0, back, 0))[:, :t]
        x = _normalised(x)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.gain * _normalised(x), self.head.weight)

    def log_probabilities(self, tokens: Tokens) -> Logits:
        """Of the next token, at every position, in nats: the interface of `autoregressive`."""
        return self(tokens).log_softmax(dim=-1)

    def loss(self, tokens: Tokens, targets: Tokens) -> Float[Tensor, ""]:
        """Mean cross-entropy of the next token, in nats; `targets` is `tokens` one step on."""
        logits = self(tokens)
        if logits.dtype == torch.bfloat16:  # three digits are enough for scores, not for a mean
            logits = logits.float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _normalised(x: Tensor) -> Tensor:
    """Each vector at a mean square of 1."""
    return F.rms_norm(x, (x.shape[-1],))


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.zeros_(linear.weight)
    return linear
