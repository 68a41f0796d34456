"""A residual net that acts: one encoder of pixels, a head for the policy and a head for the value.

Two published shapes. AlphaZero: a 3x3 convolution, a tower of residual blocks at full size, then a
1x1 convolution and dense layers in each head. IMPALA: three stages, each a 3x3 convolution, a
pooling that halves the image and two residual blocks without norms, then one dense layer that both
heads read.

Source: Silver et al. 2017, "Mastering the game of Go without human knowledge",
doi:10.1038/nature24270, methods ("Neural network architecture") and equation 1; Espeholt et al.
2018, "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures",
arXiv:1802.01561, section 5 and figure 3 (the large net, here without its LSTM).
Differs from the papers: actions are any number of classes, where Go has one for each point and a
pass; the weights' norm is left to the optimiser; IMPALA's correction for stale policies is left
out of `policy_gradient_loss`.

Symbols: p the policy, v the value, pi what the policy shall be, z the outcome.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.systems.foundations.resnet import BasicBlock, initialise_convolutions

SYSTEM = System(
    stem="resnet_agent", area="foundations", title="Residual encoder with policy and value heads",
    year=2017, papers=("doi:10.1038/nature24270", "arXiv:1802.01561"), builds_on=("resnet",),
    realises=("resnet-agent",),
)  # fmt: skip

Boards = Float[Tensor, "b c y x"]
Maps = Float[Tensor, "b channels rows columns"]
NewMaps = Float[Tensor, "b outputs _ _"]
Policies = Float[Tensor, "b actions"]
Values = Float[Tensor, " b"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentConfig:
    """The shape of the encoder and what it looks at."""

    encoder: Literal["alphazero", "impala"] = "alphazero"
    rows: int = 8
    columns: int = 8
    channels: int = 1
    actions: int = 4
    width: int = 32
    """Channels of a tower, or of the last two of IMPALA's stages, of which the first has half."""
    depth: int = 4
    """Residual blocks of a tower; IMPALA's stages have two each."""
    hidden: int = 64
    """Units of the dense layer before the value (alphazero) or before both heads (impala)."""

    def __post_init__(self) -> None:
        if self.encoder not in ("alphazero", "impala"):
            raise ValueError(f"encoder must be 'alphazero' or 'impala', got {self.encoder!r}")
        for name in ("rows", "columns", "channels", "actions", "depth", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width < 2:
            raise ValueError(f"width must be at least 2, got {self.width}")


def alphago_zero() -> AgentConfig:
    """The net of 20 blocks that looks at 17 planes of 19 x 19 points: 361 moves and a pass."""
    return AgentConfig(
        rows=19, columns=19, channels=17, actions=362, width=256, depth=19, hidden=256
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyAndValue:
    """What an agent makes of a batch of boards or screens."""

    policy: Policies
    """Logits of the actions."""
    value: Values
    """The return it expects."""


class AlphaZeroNet(nn.Module):
    """A tower at full size; each head has its own convolution, and the value passes a tanh."""

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        points = config.rows * config.columns
        self.stem = nn.Conv2d(config.channels, config.width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(config.width)
        self.tower = nn.Sequential(
            *(BasicBlock(config.width, config.width) for _ in range(config.depth))
        )
        self.policy = nn.Sequential(
            nn.Conv2d(config.width, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(),
            nn.Linear(2 * points, config.actions),
        )  # fmt: skip
        self.value = nn.Sequential(
            nn.Conv2d(config.width, 1, 1, bias=False), nn.BatchNorm2d(1), nn.ReLU(), nn.Flatten(),
            nn.Linear(points, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 1), nn.Tanh(),
        )  # fmt: skip
        initialise_convolutions(self)

    def forward(self, boards: Boards) -> PolicyAndValue:
        """A policy and a value between -1 and 1 for each board."""
        x = self.tower(F.relu(self.norm(self.stem(boards))))
        return PolicyAndValue(policy=self.policy(x), value=self.value(x)[:, 0])


class ImpalaBlock(nn.Module):
    """x + F(x), F two times relu and 3x3 convolution; no norms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Maps) -> Maps:
        """The maps after the block."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class ImpalaNet(nn.Module):
    """Three stages that halve the image, then a dense layer that both heads read."""

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        widths = (config.width // 2, config.width, config.width)
        layers: list[nn.Module] = []
        inputs, rows, columns = config.channels, config.rows, config.columns
        for width in widths:
            layers += [
                nn.Conv2d(inputs, width, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1),
                ImpalaBlock(width), ImpalaBlock(width),
            ]  # fmt: skip
            inputs, rows, columns = width, (rows + 1) // 2, (columns + 1) // 2
        self.encoder = nn.Sequential(
            *layers, nn.ReLU(), nn.Flatten(), nn.Linear(inputs * rows * columns, config.hidden),
            nn.ReLU(),
        )  # fmt: skip
        self.policy = nn.Linear(config.hidden, config.actions)
        self.value = nn.Linear(config.hidden, 1)

    def forward(self, screens: Boards) -> PolicyAndValue:
        """A policy and a value for each screen."""
        x = self.encoder(screens)
        return PolicyAndValue(policy=self.policy(x), value=self.value(x)[:, 0])


def agent(config: AgentConfig) -> AlphaZeroNet | ImpalaNet:
    """The net of the shape that the config names."""
    return AlphaZeroNet(config) if config.encoder == "alphazero" else ImpalaNet(config)


def search_loss(judged: PolicyAndValue, pi: Policies, z: Values) -> Float[Tensor, ""]:
    """(z - v)^2 - pi . log p: the search is to be foretold, and the outcome (equation 1)."""
    return F.mse_loss(judged.value, z) + F.cross_entropy(judged.policy, pi)


def policy_gradient_loss(
    judged: PolicyAndValue,
    actions: Int[Tensor, " b"],
    returns: Values,
    entropy_weight: float = 0.01,
) -> Float[Tensor, ""]:
    """Advantage actor-critic: raise the chance of what went better than the value foretold.

    Args:
        judged: of the screens on which the actions were taken.
        actions: the actions.
        returns: what came of them.
        entropy_weight: reward for a policy that stays open, in nats.
    """
    log_p = judged.policy.log_softmax(1)
    taken = log_p.gather(1, actions[:, None].long())[:, 0]
    advantage = (returns - judged.value).detach()
    entropy = -(log_p.exp() * log_p).sum(1).mean()
    critic = 0.5 * F.mse_loss(judged.value, returns)
    return -(advantage * taken).mean() + critic - entropy_weight * entropy


@torch.no_grad()
def act(judged: PolicyAndValue, generator: torch.Generator) -> Int[Tensor, " b"]:
    """An action drawn from each policy."""
    return torch.multinomial(judged.policy.softmax(1), 1, generator=generator)[:, 0]
