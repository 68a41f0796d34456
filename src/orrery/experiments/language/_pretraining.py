"""Where small encoders and decoders start from, and how they learn."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from orrery.experiments.language._scripture import VOCAB
from orrery.lab import Lab
from orrery.nn.multi_head import MultiHeadAttention
from orrery.nn.sinusoidal import sinusoids
from orrery.systems.language.bert import BertClassifier, BertConfig, BertMaskedLm
from orrery.systems.language.gpt1 import Gpt1, Gpt1Config
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid


def bert_and_gpt(length: int, width: int, depth: int) -> tuple[BertMaskedLm, Gpt1]:
    """A masked and a next-byte model of equal sizes, untrained."""
    bert = BertMaskedLm(BertConfig(
        vocab=VOCAB, context=length + 1, depth=depth, heads=4, width=width, inner=4 * width,
        segments=1, dropout=0.0, padding=None,
    ))  # fmt: skip
    gpt = Gpt1(Gpt1Config(
        vocab=VOCAB, context=length + 1, depth=depth, heads=4, width=width, dropout=0.0,
    ))  # fmt: skip
    start_near(bert.encoder.embed, bert.encoder.place, bert)
    start_near(gpt.embed, gpt.place, gpt)
    for model in (bert, gpt):
        use_fast_products(model)
    return bert, gpt


def bert_classifier(bert: BertMaskedLm, classes: int) -> BertClassifier:
    """A classifier that starts from a masked model's encoder."""
    model = BertClassifier(replace(bert.config, classes=classes))
    model.encoder.load_state_dict(bert.encoder.state_dict())
    return model


@torch.no_grad()
def start_near(embed: nn.Embedding, place: nn.Embedding, layers: nn.Module) -> None:
    """Let each place attend to those near it from the start, in an encoder or decoder.

    Places start as sinusoids, and the product of a query's and a key's map near the identity, as
    in Trockman and Kolter 2023, arXiv:2305.09828; from the papers' start a masked model that reads
    as little text as here learns hardly more than which bytes are common.
    """
    scale = 0.1
    nn.init.normal_(embed.weight, std=scale)
    place.weight.copy_(sinusoids(*place.weight.shape) * scale * 2**0.5)
    for attention in layers.modules():
        if not isinstance(attention, MultiHeadAttention):
            continue
        asked, offered, _ = attention.qkv.weight.chunk(3)
        for weight in (asked, offered):
            weight.add_(torch.eye(len(weight), device=weight.device))


def learn(
    phase: str, model: nn.Module, loss_of: Callable[[int], Tensor], steps: int, rate: float,
    lab: Lab,
) -> None:  # fmt: skip
    """Take the steps; the loss is a function of the step."""
    optimisers = muon_and_adamw(model, rate)
    for step in lab.steps(phase, steps, state=(model, *optimisers)):
        loss = loss_of(step)
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, steps, warmup=10, cooldown=0.4))
            optimiser.step()
        lab.log(loss=loss)
