"""Images with a class each."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

Images = UInt8[np.ndarray, "n y x"]  # n grey images of y rows and x columns
Labels = Int64[np.ndarray, " n"]  # the class of each, from 0


@dataclass(frozen=True, slots=True)
class Labelled:
    """n images and their n labels."""

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)
