"""The published weights of Lite0 on photographs that it has not been trained on."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from orrery.data import efficientnet_lite0, imagenet_classes
from orrery.metrics.top_k import top_k_accuracy
from orrery.systems.foundations.efficientnet import EfficientNet
from orrery.systems.foundations.efficientnet import efficientnet_lite0 as lite0
from orrery.systems.foundations.efficientnet_names import from_layout
from tests.data.test_sets import have

PHOTOS = {
    "espresso": skimage.data.coffee,
    "Egyptian cat": skimage.data.chelsea,
    "tripod": skimage.data.camera,
    "missile": skimage.data.rocket,
    "palace": lambda: load_sample_image("china.jpg"),
    "daisy": lambda: load_sample_image("flower.jpg"),
}


def square(pixels):
    """The middle of a photograph as the net takes it."""
    image = Image.fromarray(pixels).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC)
    return (torch.from_numpy(np.array(image)).movedim(2, 0).float() - 127) / 128


@pytest.fixture(scope="module")
def model():
    weights = {n: torch.from_numpy(w) for n, w in have(efficientnet_lite0).load().items()}
    net = EfficientNet(lite0())
    net.load_state_dict(from_layout(net, weights, "blocks"))
    return net.eval()


@torch.no_grad()
def test_it_names_what_is_in_the_photographs(model):
    classes = [words.split(",")[0] for words in have(imagenet_classes).load()]
    images = torch.stack([square(photo()) for photo in PHOTOS.values()])
    labels = torch.tensor([classes.index(name) for name in PHOTOS])
    chances = model(images).softmax(1)
    assert [classes[i] for i in chances.argmax(1)] == list(PHOTOS)
    assert top_k_accuracy(chances, labels) == 1
    assert chances[0].max() > 0.9
    assert chances[2].max() > 0.9
    cats = {"Egyptian cat", "tiger cat", "tabby"}
    assert {classes[i] for i in chances[1].topk(3).indices} == cats


@torch.no_grad()
def test_a_channel_order_or_a_scale_that_is_wrong_is_noticed(model):
    """The guard of the test above: it would not pass by luck."""
    image = square(PHOTOS["espresso"]())[None]
    right = model(image).softmax(1).max()
    assert right > 0.9
    assert model(image.flip(1)).softmax(1).max() < right - 0.05
    assert model(image / 20).argmax() != model(image).argmax()
