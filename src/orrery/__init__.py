"""orrery: small working models of the great systems of AI, and experiments on what is claimed."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.nn.pretrained import Pretrained

# A spinning OpenMP barrier makes small products many times slower on a busy machine, and the
# policy is read once, when torch loads: so it is set here, before anything can import torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"


def load(folder: str | os.PathLike[str]) -> "Pretrained":
    """The language model kept in `folder`, in the published layout, in eval mode.

    `config.json` picks the class; what the model returns has `.logits`, or `.last_hidden_state`
    where it is an encoder. `model.save_pretrained(folder)` writes the same layout.

    Raises:
        OrreryError: a file is missing or damaged, or orrery has no such model.
    """
    from orrery.systems.pretrained import load_model  # torch is loaded when it is needed

    return load_model(os.fspath(folder))
