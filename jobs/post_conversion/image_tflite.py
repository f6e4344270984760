"""A network in a TensorFlow Lite file, quantized or not."""

import hashlib
import warnings
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.post_conversion.image_networks import (
    CHECKSUM_DIGITS,
    ENCODER_SETTING,
    Matrix,
    Network,
    Pictures,
    first_line,
)
from jobs.settings import BadSetting

SUFFIX = ".tflite"
FILE = "image_encoder.tflite"


@lru_cache(maxsize=2)
def network(path: Path, source: str, changed: int) -> Network:
    """Return the network in a file, whose pictures are as large as it asks for.

    Floats are given it from -1 to 1, which is how TensorFlow's own are trained; of a quantized one
    the pixels are its input as they are, and what it makes is turned back into real numbers.

    Args:
        path: the file.
        source: what to call it.
        changed: when the file was changed last: networks are kept by it, too.

    Raises:
        BadSetting: if it does not turn one picture into one row of numbers.
    """
    content = path.read_bytes()
    interpreter = _interpreter(path, content)
    (taken,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    alone = Lock()  # an interpreter holds the picture that it is at

    def call(pictures: Pictures) -> Matrix:
        with alone:
            interpreter.set_tensor(taken["index"], _given(pictures, taken["dtype"]))
            interpreter.invoke()
            found = interpreter.get_tensor(made["index"])
        return _row(found, made["quantization"])

    def write(folder: Path) -> None:
        (folder / FILE).write_bytes(content)  # the file itself may be gone by then

    side = int(taken["shape"][1])
    dimensions = int(made["shape"][-1])
    checksum = hashlib.sha256(content).hexdigest()[:CHECKSUM_DIGITS]
    # One at a time is faster than several: only so does it use the kernels made for this machine.
    return Network(source, side, dimensions, checksum, 1, call, write)


def _interpreter(path: Path, content: bytes) -> Any:
    """Return an interpreter of what is in the file, on one thread, ready to be called."""
    import tensorflow as tf

    try:
        with warnings.catch_warnings():
            # TensorFlow 2.21 still has it, though it says that 2.20 was the last.
            warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
            interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _bad(path, f"it can't be loaded: {first_line(error)}") from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise _bad(path, f"it has {len(inputs)} inputs and {len(outputs)} outputs; expected 1 each")
    (taken,), (made,) = inputs, outputs
    shape, kind = taken["shape_signature"].tolist(), np.dtype(taken["dtype"])
    if len(shape) != 4 or shape[1] != shape[2] or shape[1] < 8 or shape[3] != 3:
        raise _bad(path, f"it takes {shape}; expected [1, side, side, 3]")
    if kind not in (np.uint8, np.int8, np.float32):
        raise _bad(path, f"it takes {kind}; expected uint8, int8 or float32")
    found = made["shape"].tolist()
    if len(found) not in (2, 4) or found[0] != 1 or np.dtype(made["dtype"]).kind not in "uif":
        raise _bad(path, f"it makes {made['dtype'].__name__} of {found}; expected a row of numbers")
    return interpreter


def _given(pictures: Pictures, kind: Any) -> NDArray[Any]:
    """Return pictures as the network's input wants them."""
    if kind == np.uint8:
        return pictures
    if kind == np.int8:
        return (pictures.astype(np.int16) - 128).astype(np.int8)
    return np.asarray(pictures / np.float32(127.5) - 1, np.float32)


def _row(found: NDArray[Any], quantization: tuple[float, int]) -> Matrix:
    """Return what the network made as one row, averaged over the picture where it is a map."""
    scale, zero = quantization
    real = found.astype(np.float32)
    if scale:
        real = (real - zero) * np.float32(scale)
    return np.asarray(real.mean(axis=(1, 2)) if real.ndim == 4 else real, np.float32)


def _bad(path: Path, why: str) -> BadSetting:
    return BadSetting(
        f"{ENCODER_SETTING}: {path} can't encode pictures: {why}. Set it to a TFLite file that "
        "turns one picture into numbers, or to the name of a Keras application"
    )
