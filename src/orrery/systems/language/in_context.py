"""Learning in context: a Transformer that was trained to learn, and learns without being trained.

Every text is a task of its own: pairs (x_i, y_i) of one random linear function. The model reads
x_1 y_1 x_2 y_2 ... and at each x_i foretells y_i from the pairs before; its weights stay as they
are. What can be known from those pairs is known too: ridge regression.

Source: Garg et al. 2022, "What Can Transformers Learn In-Context? A Case Study of Simple Function
Classes", arXiv:2208.01066, sections 2 and 3 and appendix A.
Differs from the paper: far smaller; no curriculum of growing tasks; answers carry noise, so that
the best that can be done (ridge) and least squares differ.

Symbols: b tasks, n pairs, d numbers x; w the weights of a task, y = w x / sqrt(d) + noise, so that
an answer has variance 1 and that of the noise.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from orrery.catalog import System
from orrery.systems.language.gpt import GptBlock, GptConfig

SYSTEM = System(
    stem="in_context", area="language", title="In-context learning of linear functions",
    year=2022, papers=("arXiv:2208.01066",), builds_on=("gpt",),
    realises=("in-context-learning",),
)  # fmt: skip

Inputs = Float[Tensor, "b n d"]
Answers = Float[Tensor, "b n"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearTasks:
    """Random linear functions."""

    dim: int = 4
    """d, numbers a point."""
    noise: float = 0.3
    """Standard deviation of what is added to an answer."""

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"dim must be at least 1, got {self.dim}")
        if self.noise < 0:
            raise ValueError(f"noise must be at least 0, got {self.noise}")

    def draw(self, tasks: int, pairs: int, generator: Generator) -> tuple[Inputs, Answers]:
        """Points and answers of so many tasks."""
        x = torch.randn(tasks, pairs, self.dim, generator=generator)
        w = torch.randn(tasks, self.dim, 1, generator=generator)
        noise = torch.randn(tasks, pairs, generator=generator)
        return x, (x @ w)[..., 0] / self.dim**0.5 + self.noise * noise

    def ridge(self, x: Inputs, y: Answers) -> Answers:
        """The best foretelling of each answer from the pairs before it.

        Weights and noise are normal, so the mean of the weights given the pairs is that of ridge
        regression with the variances' ratio as its penalty.
        """
        return regress(x / self.dim**0.5, y, penalty=max(self.noise**2, 1e-9))


def regress(x: Inputs, y: Answers, *, penalty: float = 0.0) -> Answers:
    """Each answer foretold by the line through the pairs before it.

    Args:
        x: points.
        y: answers.
        penalty: on the squared length of the weights; with 0 it is least squares, and the
            shortest weights where several fit.
    """
    foretold = [torch.zeros_like(y[:, 0])]
    for seen in range(1, y.shape[1]):
        past, answers = x[:, :seen].double(), y[:, :seen, None].double()
        if penalty:
            square = past.mT @ past + penalty * torch.eye(x.shape[2], dtype=torch.float64)
            w = torch.linalg.solve(square, past.mT @ answers)
        else:
            w = torch.linalg.pinv(past) @ answers
        foretold.append((x[:, seen, None].double() @ w)[:, 0, 0].to(y.dtype))
    return torch.stack(foretold, dim=1)


class InContextLearner(nn.Module):
    """A GPT whose tokens are points and answers."""

    def __init__(self, config: GptConfig, dim: int) -> None:
        """Make the layers.

        Args:
            config: of the GPT; its context holds two tokens a pair, its vocabulary is not used.
            dim: numbers a point.
        """
        super().__init__()
        self.read = nn.Linear(dim + 1, config.width)
        self.place = nn.Parameter(0.02 * torch.randn(config.context, config.width))
        self.blocks = nn.ModuleList(GptBlock(config, layer) for layer in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.write = nn.Linear(config.width, 1)

    def forward(self, x: Inputs, y: Answers) -> Answers:
        """Each answer foretold from the pairs before it and its own point.

        Raises:
            ValueError: the pairs are more than the context holds.
        """
        b, n, d = x.shape
        if 2 * n > len(self.place):
            raise ValueError(f"pairs must be at most {len(self.place) // 2}, got {n}")
        tokens = x.new_zeros(b, n, 2, d + 1)
        tokens[:, :, 0, :d] = x
        tokens[:, :, 1, d] = y
        stream = self.read(tokens.flatten(1, 2)) + self.place[: 2 * n]
        for block in self.blocks:
            stream = block(stream)
        return self.write(self.norm(stream[:, ::2]))[..., 0]

    def loss(self, x: Inputs, y: Answers) -> Float[Tensor, ""]:
        """Mean squared error over all lengths of context."""
        return (self(x, y) - y).square().mean()


def errors(foretold: Answers, y: Answers) -> Float[Tensor, " n"]:
    """Mean squared error after 0, 1, 2, ... pairs."""
    return (foretold - y).square().mean(dim=0)
