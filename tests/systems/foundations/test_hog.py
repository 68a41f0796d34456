import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import hog as reference
from sklearn.datasets import load_digits

from orrery.systems.foundations.hog import (
    HogConfig,
    cell_histograms,
    features,
    gradients,
    hog,
    normalised_blocks,
)

F64 = torch.float64
CONFIGS = [
    HogConfig(cell=4),
    HogConfig(),
    HogConfig(bins=6, cell=5, block=3),
    HogConfig(bins=1, cell=3, block=1),
]


def pictures(n=3, y=24, x=37, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, y, x, dtype=F64, generator=generator)


@pytest.mark.parametrize("wrong", [{"bins": 0}, {"cell": 0}, {"block": 0}, {"ceiling": 0.0}])
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        HogConfig(**wrong)


@pytest.mark.parity
@pytest.mark.parametrize("config", CONFIGS)
def test_features_equal_those_of_scikit_image(config):
    images = pictures()
    found = hog(images, config)
    for image, ours in zip(images, found, strict=True):
        theirs = reference(
            image.numpy(), orientations=config.bins, pixels_per_cell=(config.cell,) * 2,
            cells_per_block=(config.block,) * 2, block_norm="L2-Hys",
        )  # fmt: skip
        torch.testing.assert_close(ours, torch.from_numpy(theirs))
    assert found.std() > 0.01 or config.bins == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3),
       st.integers(0, 9), st.integers(0, 9))  # fmt: skip
def test_shapes(n, bins, cell, block, more_rows, more_columns):
    config = HogConfig(bins=bins, cell=cell, block=block)
    rows, columns = cell * block + more_rows, cell * block + more_columns
    found = hog(torch.rand(n, rows, columns), config)
    assert found.shape == (n, features(rows, columns, config))
    assert (found >= 0).all()
    assert (found.unflatten(1, (-1, block**2 * bins)).norm(dim=2) <= 1 + 1e-6).all()


def test_an_edge_votes_for_its_own_direction():
    down, across = torch.meshgrid(*(torch.arange(16.0, dtype=F64),) * 2, indexing="ij")
    config = HogConfig(bins=9, cell=8, block=1)
    for degrees in range(5, 180, 20):  # in the middle of a bin; all but the edge has that gradient
        angle = torch.deg2rad(torch.tensor(float(degrees), dtype=F64))
        ramp = across * angle.cos() + down * angle.sin()
        inner = cell_histograms(ramp[None, 1:-1, 1:-1], HogConfig(bins=9, cell=4, block=1))
        votes = inner[0, 1, 1]
        assert votes.argmax() == degrees // 20
        assert votes.sum() == pytest.approx(2.0)  # differences reach over two pixels
        dark_to_bright = hog(ramp[None], config)
        torch.testing.assert_close(dark_to_bright, hog(-ramp[None], config))  # no sign


def test_gradients_are_differences_of_neighbours_and_none_at_the_edge():
    image = pictures(1)
    down, across = gradients(image)
    torch.testing.assert_close(down[0, 1, 5], image[0, 2, 5] - image[0, 0, 5])
    torch.testing.assert_close(across[0, 3, 1], image[0, 3, 2] - image[0, 3, 0])
    assert not down[:, [0, -1]].any()
    assert not across[:, :, [0, -1]].any()


def test_light_changes_nothing_where_there_is_an_edge():
    image = pictures()
    torch.testing.assert_close(
        hog(image, HogConfig()), hog(40 * image + 9, HogConfig()), rtol=1e-4, atol=1e-6
    )


def test_no_number_of_a_block_dominates_it():
    cells = torch.zeros(1, 1, 1, 9, dtype=F64)
    cells[..., 0], cells[..., 1:] = 100.0, 1.0
    block = normalised_blocks(cells, HogConfig(block=1))[0]
    assert block.norm() == pytest.approx(1, abs=1e-4)
    assert block[0] / block[1] < 25  # 100 before the cut


def test_a_picture_without_edges_has_no_features_and_a_small_one_is_refused():
    assert not hog(torch.ones(1, 16, 16), HogConfig()).any()
    with pytest.raises(ValueError, match="16 x 16"):
        hog(torch.ones(1, 15, 20), HogConfig())


def test_the_nearest_neighbour_of_a_negative_is_found_by_edges_and_not_by_pixels():
    data = load_digits()
    images, labels = torch.from_numpy(data.images) / 16, torch.from_numpy(data.target)
    negatives, known, right = 1 - images[600:900], labels[:600], {}
    for way in ("edges", "pixels"):
        made = [
            hog(part, HogConfig(bins=8, cell=2)) if way == "edges" else part.flatten(1)
            for part in (negatives, images[:600])
        ]
        nearest = torch.cdist(*made).argmin(1)
        right[way] = (known[nearest] == labels[600:900]).double().mean()
    assert right["edges"] > 0.8
    assert right["pixels"] < 0.3
