"""What a picture is like to the eye, in ten plain numbers.

They need no training, so they carry information even where an encoder's weights are random.
"""

import math

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "lightness", "contrast", "lightness_range", "dark_share", "bright_share", "saturation",
    "saturation_sd", "warmth", "edge_share", "colourfulness",
)  # fmt: skip
# Lightness, 0 to 255: what is dark, bright, and a step that is an edge.
DARK, BRIGHT, STEP = 51, 204, 24

Pictures = NDArray[np.uint8]
Matrix = NDArray[np.float32]


def statistics(pictures: Pictures) -> Matrix:
    """Return one row of NAMES for each of n x rows x columns x 3 pictures; 1 is full scale.

    Contrast is the standard deviation of lightness, its range that from the 5th to the 95th
    percentile, warmth red less blue, and colourfulness that of Hasler and Suesstrunk (2003).
    """
    found = [_of(picture) for picture in pictures]
    return np.array(found, np.float32).reshape(len(pictures), len(NAMES))


def _of(picture: Pictures) -> list[float]:
    red, green, blue = (picture[..., place].astype(np.int16) for place in range(3))
    wide = picture.astype(np.uint16)  # the sum below just fits
    light = ((77 * wide[..., 0] + 150 * wide[..., 1] + 29 * wide[..., 2]) >> 8).astype(np.int16)
    counts = np.bincount(light.ravel(), minlength=256)
    shares = counts / light.size
    levels = np.arange(256)
    mean = float(shares @ levels)
    below = np.cumsum(counts)
    low, high = (int(np.searchsorted(below, part * light.size)) for part in (0.05, 0.95))
    most = np.maximum(np.maximum(red, green), blue)
    least = np.minimum(np.minimum(red, green), blue)
    saturation = (most - least) / np.maximum(most, 1).astype(np.float32)
    across = np.abs(np.diff(light, axis=0))[:, 1:]
    along = np.abs(np.diff(light, axis=1))[1:]
    red_green = (red - green).astype(np.float64)
    yellow_blue = (red + green) / 2 - blue
    spread = math.hypot(red_green.std(), yellow_blue.std())
    colourful = spread + 0.3 * math.hypot(red_green.mean(), yellow_blue.mean())
    return [
        mean / 255,
        math.sqrt(shares @ (levels - mean) ** 2) / 255,
        (high - low) / 255,
        float(shares[:DARK].sum()),
        float(shares[BRIGHT:].sum()),
        float(saturation.mean()),
        float(saturation.std()),
        float(red.mean() - blue.mean()) / 255,
        float((np.maximum(across, along) > STEP).mean()) if across.size else 0.0,
        colourful / 255,
    ]
