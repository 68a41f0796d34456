"""The thousand classes of ImageNet's challenge, in the order in which nets score them."""

from orrery.data.card import Card
from orrery.data.fetch import read

ORDER, WORDS = "imagenet_synsets.txt", "imagenet_synset_to_lemma.txt"

CARD = Card(
    name="imagenet_classes",
    title="Names of ImageNet's classes",
    kind="text",
    manager="pip",
    package="timm",
    version="1.0.31",
    inside="timm/data/_info",
    sha256={
        ORDER: "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15",
        WORDS: "1b8babda187421a4bde0c9c5a197c36f6bdda962f7ca11ffb2813806cbb2178f",
    },
    archive_sha256="5bd50f7d0fe6d09bf9285ac2523234a1b7e6bf075c0be3e7aed09139fcb617c7",
    size=751_457,
    counts={"classes": 1_000},
    licence="Apache-2.0 (timm), WordNet License (the words)",
    redistributable=True,
    stands_for="what ImageNet's labels mean",
    citation="Russakovsky et al. 2015, arXiv:1409.0575; Fellbaum 1998, WordNet; timm 1.0.31",
)


def load() -> tuple[str, ...]:
    """The words of each class, its synonyms joined by commas."""
    lines = read(CARD, WORDS).decode().splitlines()
    words = dict(line.split("\t", 1) for line in lines)
    return tuple(words[synset] for synset in read(CARD, ORDER).decode().split())
