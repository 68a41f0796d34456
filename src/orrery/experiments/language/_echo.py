"""A recurrent network that says bits it read some steps before, and gradients for it by window."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from orrery.lab import Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.bptt import Backward, bias_of_truncation, bptt, clip
from orrery.systems.language.rnn import Rnn

Bits = tuple[Tensor, Tensor]
SHARES = (0.125, 0.5, 1.0, 1.5, 2.5)  # of the delay: windows that are learnt with
PLACES = ("start", "on the way")  # where gradients are compared


def echo(delay: int, length: int, batch: int, generator: Generator) -> Bits:
    """Bits to read, as -1 and 1, and what to say from the step on that has read the first."""
    bits = torch.randint(2, (batch, length), generator=generator).double()
    return (2 * bits - 1)[..., None], bits[:, : length - delay]


class Echo(nn.Module):
    """A recurrent network, and a bit read off every state."""

    def __init__(self, width: int, *, seed: int, gain: float = 1.0) -> None:
        """Draw the weights.

        Args:
            width: of the state.
            seed: of the weights.
            gain: recurrent weights are so many times larger than usual.
        """
        super().__init__()
        torch.manual_seed(seed)
        self.network = Rnn(RecurrentConfig(inputs=1, width=width))
        self.head = nn.Linear(width, 1)
        self.double()
        with torch.no_grad():
            self.network.weights(0).recurrent.mul_(gain)

    def scores(self, states: Tensor, y: Tensor) -> Tensor:
        """Of a 1 at each step that has something to say."""
        return self.head(states)[:, -y.shape[1] :, 0]

    def loss(self, bits: Bits) -> Tensor:
        """Cross-entropy, in nats a bit; autograd may go through all of it."""
        x, y = bits
        return F.binary_cross_entropy_with_logits(self.scores(self.network(x).outputs, y), y)

    def backward(self, bits: Bits, window: int | None = None) -> tuple[Tensor, Backward]:
        """The loss, and the network's gradients sent back so many steps; the head gets its own."""
        x, y = bits
        states = self.network(x).outputs.detach().requires_grad_()
        loss = F.binary_cross_entropy_with_logits(self.scores(states, y), y)
        loss.backward()
        assert states.grad is not None
        return loss.detach(), bptt(self.network, x, states.grad, window)

    def learn(self, bits: Bits, window: int | None, limit: float) -> Tensor:
        """Leave gradients of the network, at most `limit` long, and of the head; give the loss.

        The head's are left as they are: states are within -1 and 1, so they cannot explode.
        """
        self.zero_grad()
        loss, back = self.backward(bits, window)
        for name, gradient in clip(back.gradients, limit).items():
            self.network.get_parameter(name).grad = gradient
        return loss

    @torch.no_grad()
    def recalled(self, bits: Bits) -> float:
        """Share of the bits that it says."""
        x, y = bits
        said = self.scores(self.network(x).outputs, y) > 0
        return float((said == (y > 0.5)).double().mean())


def flat(back: Backward) -> Tensor:
    """All gradients of the weights as one vector."""
    return torch.cat([gradient.flatten() for gradient in back.gradients.values()])


def from_autograd(model: Echo, bits: Bits) -> Tensor:
    """The same vector by autograd."""
    found = torch.autograd.grad(model.loss(bits), list(model.network.parameters()))
    names = [name for name, _ in model.network.named_parameters()]
    by_name = dict(zip(names, found, strict=True))
    order = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return torch.cat([by_name[name].flatten() for name in order])


def compared(place: str, model: Echo, bits: Bits, delay: int) -> Measured:
    """How far each window's gradient is from the whole one, and the cosine of their angle."""
    whole, own = model.backward(bits)[1], from_autograd(model, bits)
    found = {f"apart/{place}": float((flat(whole) - own).norm() / own.norm())}
    for share in SHARES:
        cut = model.backward(bits, max(1, round(share * delay)))[1]
        found[f"bias/{place}/{share:g}"] = bias_of_truncation(whole, cut)
        cosine = F.cosine_similarity(flat(whole), flat(cut), dim=0)
        found[f"cosine/{place}/{share:g}"] = float(cosine)
    return found


def pictured(results: Sequence[Measured], rates: Sequence[float], arms: Sequence[str]) -> Figure:
    """Bits recalled by window, how wrong gradients are, and bits recalled by rate and arm."""
    figure, (windows, biases, plain) = new_figure(10.2, 3.2, columns=3)
    mean, half = over_seeds(results, [f"window/{share:g}" for share in SHARES])
    windows.errorbar(SHARES, mean, half, fmt=".-")
    windows.set(title="Recalled", ylabel="share of bits", ylim=(0.45, 1.02))
    for colour, place in zip(COLOURS, PLACES, strict=False):
        mean, half = over_seeds(results, [f"bias/{place}/{share:g}" for share in SHARES])
        biases.errorbar(SHARES, mean, half, fmt=".-", color=colour, label=place)
    biases.set(title="Gradient off by", ylabel="share of the whole gradient", ylim=(0, None))
    for axis in (windows, biases):
        axis.axvline(1, color="#9aa0aa", linestyle=":")
        axis.set(xlabel="window / delay")
    for colour, arm in zip(COLOURS, arms, strict=False):
        mean, half = over_seeds(results, [f"{arm}/{rate:g}/recalled" for rate in rates])
        plain.errorbar(rates, mean, half, fmt=".-", color=colour, label=arm)
    plain.set(title="Large weights", xlabel="rate", ylabel="share of bits", xscale="log",
              ylim=(0.45, 1.02))  # fmt: skip
    biases.legend()
    plain.legend()
    return figure
