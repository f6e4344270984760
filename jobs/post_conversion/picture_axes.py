"""What a picture encoder says, in as many numbers as some hundred posts can tell apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.post_conversion.image_statistics import NAMES

DIMENSIONS = 24

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Axes:
    """The main axes of the network's part of the vectors; the statistics stay as they are.

    Attributes:
        centre: of the network's part.
        axes: its dimensions by ours.
    """

    centre: Matrix
    axes: Matrix

    @property
    def width(self) -> int:
        """Return how many numbers a picture becomes."""
        return int(self.axes.shape[1]) + len(NAMES)

    def reduced(self, vectors: Matrix) -> Matrix:
        """Return pictures x (our dimensions, then the statistics)."""
        network, plain = vectors[:, : len(self.centre)], vectors[:, len(self.centre) :]
        return np.hstack([(network - self.centre) @ self.axes, plain]).astype(np.float32)


def fit(vectors: Matrix) -> Axes:
    """Return the main axes of vectors, the main one first; fewer where there are fewer pictures."""
    network = vectors[:, : vectors.shape[1] - len(NAMES)].astype(np.float64)
    centre = network.mean(axis=0)
    _, _, axes = np.linalg.svd(network - centre, full_matrices=False)
    axes = axes[:DIMENSIONS].T
    # An axis may point either way: its largest part is positive.
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return Axes(centre.astype(np.float32), (axes * np.sign(largest)).astype(np.float32))
