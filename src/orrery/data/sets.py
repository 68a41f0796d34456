"""Every data set there is."""

from orrery.data import (
    digits,
    efficientnet_lite0,
    emoji,
    fashion_mnist,
    imagenet_classes,
    king_james,
    manifolds,
    mnist,
    planar,
    python_stdlib,
    reina_valera,
    shakespeare,
    tang_poems,
    web_bible,
)

CARDS = {
    module.CARD.name: module.CARD
    for module in (
        digits,
        efficientnet_lite0,
        emoji,
        fashion_mnist,
        imagenet_classes,
        king_james,
        manifolds,
        mnist,
        planar,
        python_stdlib,
        reina_valera,
        shakespeare,
        tang_poems,
        web_bible,
    )
}
