"""Networks that turn pictures into numbers: Keras applications, pretrained or drawn at random."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.settings import BadSetting

ENCODER_SETTING = "NIGHTSHIFT_IMAGE_ENCODER"
WEIGHTS_SETTING = "NIGHTSHIFT_IMAGE_WEIGHTS"
SIDE_SETTING = "NIGHTSHIFT_IMAGE_SIDE"
IMAGENET, RANDOM = "imagenet", "random"
WEIGHTS_SUFFIXES = (".h5", ".keras")
WEIGHTS_FILE = "image_weights.npz"
# Always so many at once, the last ones padded: of another number TensorFlow may add in another
# order, and the same picture would not be the same numbers.
BATCH = 16
SEED = 7
CHECKSUM_DIGITS = 12

Pictures = NDArray[np.uint8]
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A network with its weights.

    Attributes:
        source: name of the application, or of the file.
        side: pixels of a picture's side.
        dimensions: numbers that it makes of a picture.
        checksum: of the weights.
        batch: pictures that ``call`` takes, no more and no fewer.
        call: turns them, batch x side x side x 3, into batch x dimensions.
        write: writes the weights into a folder.
    """

    source: str
    side: int
    dimensions: int
    checksum: str
    batch: int
    call: Callable[[Pictures], Matrix]
    write: Callable[[Path], None]


def applications() -> dict[str, Callable[..., Any]]:
    """Return the name of each Keras application and what it wants done to pictures first."""
    from tensorflow import keras

    families = [each for each in vars(keras.applications).values() if isinstance(each, ModuleType)]
    found = {
        name: family.preprocess_input
        for family in families
        if hasattr(family, "preprocess_input")
        for name, value in vars(family).items()
        if name[0].isupper() and callable(value)
    }
    # Their family does not list these two.
    version_3 = keras.applications.mobilenet_v3.preprocess_input
    return found | dict.fromkeys(("MobileNetV3Small", "MobileNetV3Large"), version_3)


@lru_cache(maxsize=2)
def pretrained(application: str, side: int, weights: str, changed: int) -> Network:
    """Return an application without its classes, its last layer averaged over the picture.

    Args:
        application: one of `applications`.
        side: pixels of a picture's side.
        weights: ``imagenet``, ``random`` or the path of a file.
        changed: when the file was changed last, 0 for none: networks are kept by it, too.

    Raises:
        BadSetting: if the weights can't be had, or the side is not for this application.
    """
    if weights == IMAGENET:
        return _network(application, side, _imagenet(application, side))
    model = _built(application, side)
    if weights != RANDOM:
        _load(model, application, weights)
        return _network(application, side, model)
    _draw(model)
    return _network(application, side, model, _gain(_network(application, side, model)))


@lru_cache(maxsize=2)
def kept(application: str, side: int, folder: Path, changed: int) -> Network:
    """Return the network whose weights ``Network.write`` wrote into ``folder``."""
    model = _built(application, side)
    with np.load(folder / WEIGHTS_FILE) as arrays:
        model.set_weights([arrays[name] for name in arrays.files if name != "gain"])
        return _network(application, side, model, float(arrays["gain"]))


def _network(application: str, side: int, model: Any, gain: float = 1.0) -> Network:
    """Return the model's network; all that it makes of pictures is multiplied by ``gain``."""
    import tensorflow as tf

    prepare = applications()[application]

    @tf.function(input_signature=[tf.TensorSpec((BATCH, side, side, 3), tf.uint8)])  # type: ignore[untyped-decorator]
    def encode(pictures: Any) -> Any:
        return model(prepare(tf.cast(pictures, tf.float32)), training=False) * gain

    def call(pictures: Pictures) -> Matrix:
        return np.asarray(encode(pictures), np.float32)

    def write(folder: Path) -> None:
        np.savez(folder / WEIGHTS_FILE, *model.get_weights(), gain=gain)

    checksum = _checksum(model.get_weights())
    return Network(application, side, int(model.output_shape[-1]), checksum, BATCH, call, write)


def _built(application: str, side: int) -> Any:
    """Return the application with weights as Keras draws them."""
    try:
        return _application(application, side, None)
    except ValueError as error:
        raise BadSetting(
            f"{SIDE_SETTING} is {side}, which {application} can't take: {first_line(error)}"
        ) from error


def _application(application: str, side: int, weights: str | None) -> Any:
    from tensorflow import keras

    build = getattr(keras.applications, application)
    return build(include_top=False, pooling="avg", weights=weights, input_shape=(side, side, 3))


def _imagenet(application: str, side: int) -> Any:
    """Return the application with the weights that Keras' authors trained on ImageNet."""
    try:
        return _application(application, side, IMAGENET)
    except Exception as error:  # a download that fails is a plain Exception to Keras
        _built(application, side)
        raise BadSetting(
            f"{WEIGHTS_SETTING} is {IMAGENET!r}, and the weights of {application} can't be "
            f"downloaded here: {first_line(error)}. Set it to a file with weights (*.weights.h5, "
            f"*.h5 or *.keras), or to {RANDOM!r}, or let this machine reach storage.googleapis.com"
        ) from error


def _load(model: Any, application: str, weights: str) -> None:
    """Put the weights of a file into ``model``."""
    # Of a file that lacks some Keras warns only, and leaves those as they were.
    model.set_weights([np.full_like(each, np.nan) for each in model.get_weights()])
    why = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(weights)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        why = first_line(error)
    lacking = [each.path for each in model.weights if np.isnan(each.numpy()).all()]
    if lacking and not why:
        why = f"it lacks {len(lacking)} of {len(model.weights)}, {lacking[0]} among them"
    if why:
        raise BadSetting(
            f"{WEIGHTS_SETTING} is {weights!r}, which holds no weights of {application} without "
            f"its classes (include_top=False): {why}. Set it to a file of this application's, to "
            f"{IMAGENET!r} or to {RANDOM!r}"
        )


def _draw(model: Any) -> None:
    """Draw all kernels anew, the same on every machine.

    They are small (LeCun and others, 1998): each layer does little more than mix colours and
    shapes. Larger ones, or batch normalization fitted to them, make such a network chaotic: of four
    photos' crops and tints, fewer are then nearest to one of their own.
    """
    random = np.random.default_rng(SEED)
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            # Of a depthwise kernel each channel sees itself only.
            inputs = np.prod(weight.shape[:2] if weight.shape[-1] == 1 else weight.shape[:-1])
            weight.assign(random.standard_normal(weight.shape, np.float32) / np.sqrt(inputs))


def _gain(network: Network) -> float:
    """Return what brings a random network's numbers, else as small as 1e-9, to a size of 1.

    It is a power of 2, so that a machine that adds in another order finds the same.
    """
    spread = float(network.call(_clouds(network.side)).std(axis=0).mean())
    return float(2.0 ** -np.round(np.log2(spread))) if spread > 0 else 1.0


def _clouds(side: int) -> Pictures:
    """Return BATCH random pictures with patches of every size, as most pictures have."""
    random = np.random.default_rng(SEED)
    found = np.full((BATCH, side, side, 3), 128, np.float32)
    for patches in (1, 2, 4, 8, 16, 32):
        places = np.arange(side) * patches // side
        coarse = random.normal(0, 40, (BATCH, patches, patches, 3)).astype(np.float32)
        found += coarse[:, places][:, :, places]
    return np.clip(found, 0, 255).astype(np.uint8)


def _checksum(arrays: list[NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:CHECKSUM_DIGITS]


def first_line(error: Exception) -> str:
    """Return the beginning of what a library said."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
