"""Every data set there is."""

from orrery.data import (
    chinese_reviews,
    digits,
    efficientnet_lite0,
    emoji,
    fashion_mnist,
    imagenet_classes,
    king_james,
    manifolds,
    minilm,
    mnist,
    movie_snippets,
    planar,
    python_stdlib,
    reina_valera,
    shakespeare,
    smollm2,
    tang_poems,
    web_bible,
)

CARDS = {
    module.CARD.name: module.CARD
    for module in (
        chinese_reviews,
        digits,
        efficientnet_lite0,
        emoji,
        fashion_mnist,
        imagenet_classes,
        king_james,
        manifolds,
        minilm,
        mnist,
        movie_snippets,
        planar,
        python_stdlib,
        reina_valera,
        shakespeare,
        smollm2,
        tang_poems,
        web_bible,
    )
}
