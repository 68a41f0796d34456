"""Rows 2a to 2d: training a GPT, against its plain PyTorch form and against transformers.

The plain form is what one writes without a second thought, nanoGPT's shape: nn.Linear,
scaled_dot_product_attention, AdamW. All contestants start from the same weights and are timed only
once their losses agree.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.products import peak
from benchmarks.side_by_side import interleave, report
from orrery.inference.causal_lm import CausalLm
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.train import precision
from orrery.train.master import MasterWeights

VOCAB = 96
TEN_MILLION = GptConfig(vocab=VOCAB, context=256, depth=6, heads=6, width=384)
TINY = GptConfig(vocab=VOCAB, context=128, depth=4, heads=4, width=128)
Step = Callable[[], Tensor]


class PlainBlock(nn.Module):
    """A pre-norm block, written the plain way."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.GELU(approximate="tanh"),
            nn.Linear(4 * width, width, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """The stream after the block."""
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(d, dim=2)
        q, k, v = (z.view(b, t, self.heads, d // self.heads).transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).contiguous().view(b, t, d))
        return x + self.mlp(self.norm2(x))


class PlainGpt(nn.Module):
    """nanoGPT's shape in plain PyTorch."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(
            PlainBlock(config.width, config.heads) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the next token."""
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        return F.linear(self.norm(h), self.tokens.weight)


def plain(ours: Gpt) -> nn.Module:
    """The plain form with our weights: both list them in the same order."""
    model = PlainGpt(ours.config)
    with torch.no_grad():
        for theirs, own in zip(model.parameters(), ours.parameters(), strict=True):
            theirs.copy_(own)
    return model


class Huggingface(nn.Module):
    """GPT2LMHeadModel of transformers with our weights; its biases are there, and zero."""

    def __init__(self, ours: Gpt) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        c = ours.config
        self.model = GPT2LMHeadModel(GPT2Config(
            vocab_size=c.vocab, n_positions=c.context, n_embd=c.width, n_layer=c.depth,
            n_head=c.heads, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
            attn_implementation="sdpa", use_cache=False, bos_token_id=None, eos_token_id=None,
        ))  # fmt: skip
        theirs = [(n, p) for n, p in self.model.named_parameters() if not n.endswith("bias")]
        with torch.no_grad():
            for (name, their), own in zip(theirs, ours.parameters(), strict=True):
                transposed = ".h." in name and their.ndim == 2  # kept as inputs by outputs
                their.copy_(own.T if transposed else own)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the next token."""
        return self.model(input_ids=x).logits


def peer(model: nn.Module, x: Tensor, y: Tensor, *, bfloat16: bool = False) -> Step:
    """A training step as their users run it."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> Tensor:
        precision.use_default_products()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def orrery(model: Gpt | CausalLm, x: Tensor, y: Tensor, *, bfloat16: bool = False) -> Step:
    """Ours: fast products in float32, or bfloat16 weights with float32 masters."""
    masters = MasterWeights(model, torch.bfloat16 if bfloat16 else torch.float32)
    trained = masters.of(model.parameters()) if bfloat16 else list(model.parameters())
    optimiser = torch.optim.AdamW(trained, lr=1e-3, fused=True)

    def step() -> Tensor:
        precision.use_fast_products(model)
        loss = model.loss(x, y)
        loss.backward()
        if bfloat16:
            masters.take_gradients()
        optimiser.step()
        if bfloat16:
            masters.give_weights()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def main() -> bool:
    """Tokens a second in float32 and in the best mode."""
    reached = [
        throughput("2a", "GPT 10M, float32", TEN_MILLION, 16, goal=1.7),
        throughput("2b", "GPT 10M, best mode", TEN_MILLION, 16, goal=1.25, best=True),
        throughput("2c", "GPT tiny, best mode", TINY, 32, goal=1.3, best=True),
    ]
    return all(reached)


def throughput(
    row: str, what: str, config: GptConfig, batch: int, *, goal: float, best: bool = False
) -> bool:
    """Tokens a second of a training step; in the best mode the peers have bfloat16 too.

    Where the processor has no bfloat16, it is left out: emulated, a step takes minutes.
    """
    torch.manual_seed(0)
    ours, bfloat16 = Gpt(config), best and precision.measured().bfloat16
    x, y = torch.randint(config.vocab, (2, batch, config.context))
    contestants = {}
    for mode in {False, bfloat16}:
        name = "bfloat16" if mode else "float32"
        contestants[f"plain {name}"] = peer(plain(ours), x, y, bfloat16=mode)
        contestants[f"transformers {name}"] = peer(Huggingface(ours), x, y, bfloat16=mode)
    contestants["orrery"] = orrery(ours, x, y, bfloat16=bfloat16)
    losses = {name: float(step()) for name, step in contestants.items()}
    tolerance = 2e-2 if bfloat16 else 1e-5
    assert max(losses.values()) - min(losses.values()) < tolerance, losses
    timings = interleave(contestants, rounds=7, budget_seconds=150)
    limit = peak(bfloat16=bfloat16) * 1e9 / flops_per_token(config)
    return report(
        row, what, timings, "orrery", goal=goal, unit="tokens/s", work=x.numel(), limit=limit
    )


def flops_per_token(config: GptConfig) -> float:
    """Of a training step: 6 a weight, and causal attention's two products and their gradients."""
    weights = 12 * config.depth * config.width**2 + config.vocab * config.width
    return 6 * weights + 6 * config.depth * config.width * config.context


if __name__ == "__main__":
    main()
