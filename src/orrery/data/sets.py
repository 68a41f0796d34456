"""Every data set there is."""

from orrery.data import (
    digits,
    fashion_mnist,
    king_james,
    manifolds,
    mnist,
    planar,
    python_stdlib,
    shakespeare,
    tang_poems,
)

CARDS = {
    module.CARD.name: module.CARD
    for module in (
        digits,
        fashion_mnist,
        king_james,
        manifolds,
        mnist,
        planar,
        python_stdlib,
        shakespeare,
        tang_poems,
    )
}
