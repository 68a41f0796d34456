"""What tests of fine-tuning share: small models, and adapters that change what they say."""

import torch
from tests.systems.language.published import spread

from orrery.systems.language.gpt2 import Gpt2, Gpt2Config
from orrery.systems.language.llama import Llama, LlamaConfig
from orrery.systems.language.llm_finetune import FinetuneConfig, prepare

SIZES = {"vocab": 13, "context": 9, "depth": 2, "heads": 4, "width": 8}


def llama():
    return spread(Llama(LlamaConfig(**SIZES, groups=2, inner=6)).double())


def gpt2():
    return spread(Gpt2(Gpt2Config(**SIZES, dropout=0.0)).double())


def tuned(model, **changes):
    """A model with adapters that change what it says."""
    learning = prepare(model, FinetuneConfig(**{"rank": 2, "alpha": 3.0, **changes}))
    for i, p in enumerate(learning):
        drawn = torch.randn(p.shape, generator=torch.Generator().manual_seed(i))
        p.data.copy_(0.3 * drawn)  # peft keeps adapters in float32, so these are float32's numbers
    return model
