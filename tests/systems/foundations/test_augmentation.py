import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from orrery.systems.foundations.augmentation import (
    AugmentationConfig,
    augment,
    crop,
    cutout,
    flip,
    principal_colours,
    random_crop,
    random_cutout,
    random_flip,
    random_light,
)

F64 = torch.float64
ALL = AugmentationConfig(padding=2, flip=0.5, light=0.1, cutout=3)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(b=6, c=3, y=7, x=9):
    return torch.randn(b, c, y, x, dtype=F64, generator=stream(99)) + 3  # never 0


@pytest.mark.parametrize(
    "wrong", [{"padding": -1}, {"flip": 1.5}, {"flip": -0.1}, {"light": -0.1}, {"cutout": -2}]
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        AugmentationConfig(**wrong)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 4), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9))
def test_shape_and_type_stay(b, c, y, x):
    images = torch.rand(b, c, y, x)
    made = augment(images, ALL, stream(), principal_colours(torch.rand(5, c, 4, 4)))
    assert (made.shape, made.dtype) == (images.shape, images.dtype)


def test_crops_equal_slices_taken_one_by_one():
    images = pictures()
    rows, columns = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([4, 3, 2, 1, 0, 0])
    cut = crop(images, rows, columns, 3, 5)
    for i, (r, c) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        assert torch.equal(cut[i], images[i, :, r : r + 3, c : c + 5])


def test_every_place_of_a_crop_is_as_likely():
    images = torch.ones(9_000, 1, 3, 3)
    padded = F.pad(torch.arange(1.0, 10).reshape(1, 1, 3, 3), (1,) * 4)
    windows = F.unfold(padded, 3)[0].T  # the nine that there are
    made = random_crop(images * torch.arange(1.0, 10).reshape(3, 3), 1, stream()).flatten(1)
    found = (made[:, None] == windows).all(2)
    assert (found.sum(1) == 1).all()
    counts = found.sum(0).double()
    assert ((counts - 1_000).square() / 1_000).sum() < 20.1  # chi-squared, 8 degrees, 1 %


def test_flips_are_mirror_images_of_about_half():
    images = pictures(2_000, 1, 2, 3)
    made = random_flip(images, 0.5, stream())
    same, mirrored = ((made == one).flatten(1).all(1) for one in (images, images.flip(3)))
    assert (same ^ mirrored).all()
    assert 900 < mirrored.sum() < 1_100
    assert torch.equal(flip(made, mirrored), images)
    assert torch.equal(random_flip(images, 0.0, stream()), images)
    assert torch.equal(random_flip(images, 1.0, stream()), images.flip(3))


@pytest.mark.parity
def test_principal_colours_are_those_of_sklearn():
    images = pictures() @ torch.randn(9, 9, dtype=F64, generator=stream(1))
    images[:, 1] += 0.5 * images[:, 0]
    palette = principal_colours(images)
    colours = images.movedim(1, -1).reshape(-1, 3).numpy()
    reference = PCA().fit(colours)
    expected = torch.from_numpy(reference.explained_variance_ * (1 - 1 / len(colours))).sqrt()
    torch.testing.assert_close(palette.deviations.flip(0), expected)
    overlap = (palette.directions.flip(1).T @ torch.from_numpy(reference.components_.T)).abs()
    torch.testing.assert_close(overlap, torch.eye(3, dtype=F64))


def test_light_is_one_colour_a_picture_and_varies_as_the_set_does():
    images = pictures(20_000, 3, 2, 2)
    images[:, 2] += 2 * images[:, 0]
    palette = principal_colours(images)
    change = random_light(images, palette, 0.1, stream()) - images
    torch.testing.assert_close(change, change[:, :, :1, :1].expand_as(change))
    colours = change[:, :, 0, 0]
    expected = torch.cov(images.movedim(1, 0).flatten(1), correction=0) * 0.01
    torch.testing.assert_close(torch.cov(colours.T), expected, rtol=0.1, atol=1e-3)


def test_cutout_equals_a_loop_and_may_hang_over_the_edge():
    images = pictures()
    rows, columns = torch.tensor([0, 3, 6, 2, 5, 0]), torch.tensor([0, 4, 8, 1, 7, 8])
    for side in (1, 2, 3, 4):
        expected = images.clone()
        for i in range(len(images)):
            for r in range(rows[i] - side // 2, rows[i] - side // 2 + side):
                for c in range(columns[i] - side // 2, columns[i] - side // 2 + side):
                    if 0 <= r < 7 and 0 <= c < 9:
                        expected[i, :, r, c] = -1.0
        assert torch.equal(cutout(images, rows, columns, side, value=-1.0), expected)
    holes = (random_cutout(images, 1, stream()) == 0).sum((2, 3))
    assert torch.equal(holes, torch.ones_like(holes))


def test_each_picture_has_its_own_draw_and_the_generator_decides_it():
    images = pictures(1).expand(40, 3, 7, 9)
    palette = principal_colours(pictures())
    made = augment(images, ALL, stream(1), palette)
    assert len({picture.numpy().tobytes() for picture in made}) > 30
    assert torch.equal(made, augment(images, ALL, stream(1), palette))
    assert not torch.equal(made, augment(images, ALL, stream(2), palette))


def test_all_off_is_the_identity_and_light_needs_a_palette():
    images = pictures()
    off = AugmentationConfig(padding=0, flip=0.0)
    assert torch.equal(augment(images, off, stream()), images)
    with pytest.raises(ValueError, match="palette"):
        augment(images, AugmentationConfig(light=0.1), stream())
