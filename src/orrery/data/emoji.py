"""Google's Noto emoji as small colour pictures in nine classes, each with its name.

They stand for CIFAR-10, which no package brings: colour pictures of 32 x 32 pixels in about ten
classes that a small net can learn to tell apart. They are no photographs. They are drawn, each
thing once or a few times, before a white ground, and there are fewer than two thousand in all; what
holds for them says nothing about natural images. Skin tones are left out: they are the same
pictures in other colours.

Source: iamcal's emoji-datasource-google 16.0.0, made of Google's Noto Color Emoji; Krizhevsky 2009,
"Learning Multiple Layers of Features from Tiny Images", for the set it stands for.
Differs from the paper: see above; the classes are the categories of Unicode and not of one size.
"""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from orrery.catalog import System
from orrery.data.card import Card
from orrery.data.fetch import read
from orrery.data.labelled import Labels

SYSTEM = System(
    stem="emoji", area="foundations", title="Emoji in place of CIFAR-10", year=2009,
    papers=("Krizhevsky 2009",), builds_on=(), realises=("cifar-10",),
)  # fmt: skip

SHEET, NAMES = "32.png", "emoji.json"

CARD = Card(
    name="emoji",
    title="Noto emoji, 32 x 32",
    kind="images",
    manager="npm",
    package="emoji-datasource-google",
    version="16.0.0",
    elsewhere={SHEET: "img/google/sheets"},
    sha256={
        SHEET: "b417e9f6cd4bbc10656bbfd5e13b6e9a2545b55e6a4cf7312d75be1faaa34952",
        NAMES: "1d602e65be88772bf8cc368ce16b855d719eeddbafe128d471b80203f494d29f",
    },
    archive_sha256="fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    size=7_120_121,
    counts={"train": 1_520, "test": 372, "classes": 9},
    licence="Apache-2.0 (pictures), MIT (names)",
    redistributable=True,
    stands_for="CIFAR-10: small colour pictures in about ten classes (see the module)",
    citation="Google, Noto Color Emoji; emoji-datasource 16.0.0; categories of Unicode 16",
)

CLASSES = (
    "Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places",
    "Activities", "Objects", "Symbols", "Flags",
)  # fmt: skip

SIDE, CELL = 32, 34  # pixels of a picture, and of its place on the sheet: a margin of one
RUN = 10  # kinds that follow one another in Unicode's order are alike, and stay in one part


@dataclass(frozen=True, slots=True)
class Emoji:
    """n colour pictures, their classes and their names."""

    images: UInt8[np.ndarray, "n 32 32 3"]
    labels: Labels
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def load() -> tuple[Emoji, Emoji]:
    """Four fifths to train on and a fifth to test on; pixels of 0 to 255, before white.

    Every fifth run of ten in Unicode's order is the test, so that a man, a woman and a person at
    the same work are in one part. Of pictures that are the same to the pixel the first is kept.
    """
    sheet = np.asarray(Image.open(io.BytesIO(read(CARD, SHEET))).convert("RGBA"), np.uint16)
    records = [one for one in json.loads(read(CARD, NAMES)) if one["category"] in CLASSES]
    records.sort(key=lambda one: one["sort_order"])
    pictures = {_picture(sheet, one).tobytes(): one for one in reversed(records)}
    parts: tuple[list[int], list[int]] = ([], [])
    kept = sorted(pictures.items(), key=lambda item: item[1]["sort_order"])
    for i in range(len(kept)):
        parts[i // RUN % 5 == 4].append(i)
    train, test = (_part([kept[i] for i in part]) for part in parts)
    return train, test


def _picture(sheet: np.ndarray, one: dict[str, Any]) -> UInt8[np.ndarray, "32 32 3"]:
    """One picture of the sheet, laid on white."""
    y, x = (one[name] * CELL + 1 for name in ("sheet_y", "sheet_x"))
    cell = sheet[y : y + SIDE, x : x + SIDE]
    colour, alpha = cell[..., :3], cell[..., 3:]
    laid: UInt8[np.ndarray, "32 32 3"] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return laid.astype(np.uint8)


def _part(kept: list[tuple[bytes, dict[str, Any]]]) -> Emoji:
    pixels = np.frombuffer(b"".join(picture for picture, _ in kept), np.uint8)
    labels = [CLASSES.index(one["category"]) for _, one in kept]
    return Emoji(
        pixels.reshape(-1, SIDE, SIDE, 3).copy(),
        np.asarray(labels, np.int64),
        tuple(one["name"].lower() for _, one in kept),
    )
