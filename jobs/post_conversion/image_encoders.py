"""Encoders of pictures: a network that is configured, and plain statistics beside it.

NIGHTSHIFT_IMAGE_ENCODER is the name of a Keras application (MobileNetV3Small unless set) or the
path of a .tflite file; NIGHTSHIFT_IMAGE_WEIGHTS is ``imagenet`` (unless set), ``random`` (for
machines without a network: drawn from a seed) or the path of a file with weights;
NIGHTSHIFT_IMAGE_SIDE is the pixels that a picture's sides are brought to (160 unless set; a TFLite
file has its own). Each vector ends with the picture's statistics, which say something even where
the weights are random: how light, colourful, warm, contrasted and edgy it is.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from jobs.post_conversion import image_networks, image_tflite
from jobs.post_conversion.image_networks import (
    ENCODER_SETTING,
    IMAGENET,
    RANDOM,
    SIDE_SETTING,
    WEIGHTS_FILE,
    WEIGHTS_SETTING,
    WEIGHTS_SUFFIXES,
    Matrix,
    Network,
    Pictures,
)
from jobs.post_conversion.image_statistics import NAMES, statistics
from jobs.settings import BadSetting, setting

__all__ = ["ImageEncoder", "configured", "load", "save", "statistics"]

DEFAULT, DEFAULT_SIDE = "MobileNetV3Small", 160
LEAST_SIDE, MOST_SIDE = 32, 1024
# Raise it when pictures are decoded, resized, prepared or counted in another way.
MAKE = 1
FILE = "image_encoder.json"


@dataclass(frozen=True)
class ImageEncoder:
    """A network and the statistics.

    Attributes:
        name: in words.
        version: what vectors are kept under; the same for the same numbers.
        side: pixels of a picture's side.
        dimensions: numbers of a vector; the last are `image_statistics.NAMES`.
        network: what makes the first.
    """

    name: str
    version: str
    side: int
    dimensions: int
    network: Network = field(repr=False, compare=False)

    def embed(self, pictures: Pictures) -> Matrix:
        """Return one row for each of n x side x side x 3 pictures, the same in any company.

        Raises:
            ValueError: if they are of another size or kind.
        """
        if pictures.dtype != np.uint8 or pictures.shape[1:] != (self.side, self.side, 3):
            raise ValueError(
                f"{self.name}: got {pictures.dtype} of {pictures.shape}; expected uint8 of "
                f"n x {self.side} x {self.side} x 3, as decoding.resized makes them"
            )
        network = self.network
        made = np.empty((len(pictures), self.dimensions), np.float32)
        for start in range(0, len(pictures), network.batch):
            some = pictures[start : start + network.batch]
            full = np.zeros((network.batch, *some.shape[1:]), np.uint8)
            full[: len(some)] = some
            found = network.call(full)[: len(some)]
            made[start : start + len(some), : network.dimensions] = found
        made[:, network.dimensions :] = statistics(pictures)
        return made


def configured() -> ImageEncoder:
    """Return the encoder that is configured, ready to embed; loading it takes seconds, once.

    Raises:
        BadSetting: naming the setting, its value, what was expected and what to do.
    """
    encoder = setting(ENCODER_SETTING, DEFAULT)
    if encoder.endswith(image_tflite.SUFFIX):
        return _checked(_lite(Path(encoder)))
    if encoder not in (known := image_networks.applications()):
        raise BadSetting(
            f"{ENCODER_SETTING} is {encoder!r}; expected the path of a {image_tflite.SUFFIX} file, "
            f"or a Keras application: {', '.join(sorted(known))}"
        )
    side, weights = _side(), _weights()
    changed = 0 if weights in (IMAGENET, RANDOM) else Path(weights).stat().st_mtime_ns
    network = image_networks.pretrained(encoder, side, weights, changed)
    words = f"{weights} weights" if weights in (IMAGENET, RANDOM) else f"weights of {weights}"
    return _checked(_encoder(network, f"{encoder} at {side} pixels, {words}"))


def save(encoder: ImageEncoder, folder: Path) -> None:
    """Write the encoder into ``folder``, its weights with it."""
    encoder.network.write(folder)
    described = {
        "name": encoder.name,
        "version": encoder.version,
        "source": encoder.network.source,
        "side": encoder.side,
    }
    (folder / FILE).write_text(json.dumps(described, indent=1))


def load(folder: Path) -> ImageEncoder:
    """Return the encoder that `save` wrote; it needs no setting."""
    described = json.loads((folder / FILE).read_text())
    source, lite = described["source"], folder / image_tflite.FILE
    if lite.exists():
        network = image_tflite.network(lite, source, lite.stat().st_mtime_ns)
    else:
        changed = (folder / WEIGHTS_FILE).stat().st_mtime_ns
        network = image_networks.kept(source, described["side"], folder, changed)
    return replace(_encoder(network, described["name"]), version=described["version"])


def _encoder(network: Network, name: str) -> ImageEncoder:
    version = f"{network.source}-{network.side}-{network.checksum}-{MAKE}"
    return ImageEncoder(name, version, network.side, network.dimensions + len(NAMES), network)


def _checked(encoder: ImageEncoder) -> ImageEncoder:
    """Return the encoder if it makes numbers of a black, a white and a striped picture."""
    probes = np.zeros((3, encoder.side, encoder.side, 3), np.uint8)
    probes[1], probes[2, ::2] = 255, (255, 0, 128)
    made = encoder.embed(probes)
    if not np.isfinite(made).all():
        raise BadSetting(
            f"{ENCODER_SETTING}, {WEIGHTS_SETTING}: {encoder.name} makes NaN or infinity of plain "
            "pictures; the weights are broken. Set other ones"
        )
    return encoder


def _lite(path: Path) -> ImageEncoder:
    """Return the encoder in a TFLite file."""
    if not path.is_file():
        raise BadSetting(f"{ENCODER_SETTING} is {str(path)!r}, and there is no such file")
    # The two names may be a platform's defaults; a file was meant for another encoder.
    if (weights := setting(WEIGHTS_SETTING, "")) not in ("", IMAGENET, RANDOM):
        raise BadSetting(
            f"{WEIGHTS_SETTING} is {weights!r}, but {path} brings its own weights; unset it"
        )
    network = image_tflite.network(path, path.stem, path.stat().st_mtime_ns)
    if setting(SIDE_SETTING, "") not in ("", str(network.side)):
        raise BadSetting(
            f"{SIDE_SETTING} is {setting(SIDE_SETTING)}, but {path} takes pictures of "
            f"{network.side} x {network.side} pixels only; unset it"
        )
    return _encoder(network, f"{path.name} at {network.side} pixels")


def _side() -> int:
    value = setting(SIDE_SETTING, str(DEFAULT_SIDE))
    if not (value.isdecimal() and LEAST_SIDE <= int(value) <= MOST_SIDE):
        raise BadSetting(
            f"{SIDE_SETTING} is {value!r}; expected pixels, {LEAST_SIDE} to {MOST_SIDE}. "
            f"96, 160 and 224 were tried; unset it for {DEFAULT_SIDE}"
        )
    return int(value)


def _weights() -> str:
    value = setting(WEIGHTS_SETTING, IMAGENET)
    if value in (IMAGENET, RANDOM):
        return value
    if not value.endswith(WEIGHTS_SUFFIXES) or not Path(value).is_file():
        raise BadSetting(
            f"{WEIGHTS_SETTING} is {value!r}; expected {IMAGENET!r}, {RANDOM!r}, or the path of a "
            "file with weights: *.weights.h5, *.h5 or *.keras"
        )
    return value
