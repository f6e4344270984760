"""Pictures of posts from their files: nothing outside the roots, nothing that hurts, no surprise.

A picture comes from outside: whatever is wrong with it is one of a few reasons, which group well
in quarantine.post_picture, and nothing of Pillow's own errors gets out.
"""

import errno
import os
import re
import stat
import struct
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from threading import Lock
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from jobs.settings import BadSetting, setting

SETTING = "NIGHTSHIFT_IMAGE_ROOTS"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
# One at a time from here on: a thread with 50 million pixels holds .6 GB.
BIG_PIXELS = 8_000_000
# A JPEG may say the same again in 100,000 scans, and keep a core busy for hours.
MAX_SCANS = 100
START_OF_SCAN = b"\xff\xda"

NO_ROOTS = f"{SETTING} names no folder"
OUTSIDE = f"outside the folders of {SETTING}"
NO_FILE = "no such file"
NOT_PERMITTED = "no permission to read the file"
UNREADABLE = "the file can't be read"
EMPTY = "the file is empty"
NOT_A_FILE = "a folder, device or pipe, not a file"
BAD_URI = "not an address"
TOO_LARGE = f"more than {MAX_BYTES:,} bytes"
TOO_MANY_PIXELS = f"more than {MAX_PIXELS:,} pixels"
TOO_MANY_SCANS = f"more than {MAX_SCANS} scans"
NOT_A_PICTURE = f"not a picture ({', '.join(FORMATS)}), or one whose beginning is broken"
TRUNCATED = "the file ends before the picture does"
BROKEN = "the picture is broken"
# What another night may find in order, though the address is the same.
MAY_PASS = (NO_ROOTS, OUTSIDE, NO_FILE, NOT_PERMITTED, UNREADABLE, EMPTY, TRUNCATED)

# What Pillow was seen to raise on files with changed bytes, and the families that those belong to.
ERRORS = (
    OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
    AssertionError, MemoryError, RuntimeError, SyntaxError, struct.error, zlib.error,
)  # fmt: skip
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
ORIENTATION = 0x0112
# EXIF 2.3, table 6: what makes a picture upright that was kept in this orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Picture = NDArray[np.uint8]

_big = Lock()


class Refused(ValueError):
    """A picture that can't be had; ``reason`` says why, in the same words for the same cause."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def roots() -> tuple[Path, ...]:
    """Return the folders that pictures may lie in; relative addresses are looked up in each.

    Raises:
        BadSetting: if one of them is no folder.
    """
    value = setting(SETTING, "")
    found = tuple(Path(each) for each in value.split(":") if each)
    for folder in found:
        if not folder.is_dir():
            raise BadSetting(
                f"{SETTING} is {value!r}, and {str(folder)!r} is no folder; expected folders with "
                "pictures, with colons between them. Correct it, or mount what is missing"
            )
    return found


def opened(uri: str, roots: Sequence[Path], side: int | None = None) -> Picture:
    """Return the picture at ``uri``: rows x columns x 3, red, green, blue, upright.

    Of an animation the first frame; what is transparent stands on white.

    Args:
        uri: a path, relative to one of the roots or absolute, or a file:// address.
        roots: folders outside which nothing is read, links followed.
        side: pixels that will be asked of `resized`; a JPEG is then decoded no larger than it must
            be, which is at least twice that.

    Raises:
        Refused: if there is no such picture, or none that can be decoded safely.
    """
    data = _read(_located(uri, roots))
    try:
        return _decoded(data, side)
    except BOMBS:
        raise Refused(TOO_MANY_PIXELS) from None
    except UnidentifiedImageError:
        raise Refused(NOT_A_PICTURE) from None
    except ERRORS as error:
        if isinstance(error, Refused):
            raise
        raise Refused(TRUNCATED if "truncated" in str(error) else BROKEN) from error


def resized(picture: Picture, side: int) -> Picture:
    """Return the whole picture as ``side`` x ``side`` x 3, each pixel the mean of its area."""
    image = Image.fromarray(picture)
    small = image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small)


def _located(uri: str, roots: Sequence[Path]) -> str:
    """Return the real path of the first file there is at ``uri`` in one of the roots."""
    if not roots:
        raise Refused(NO_ROOTS)
    path = _path_of(uri)
    real_roots = [os.path.realpath(root) for root in roots]
    inside = []
    for root in real_roots:
        # An absolute path takes the root's place.
        real = os.path.realpath(os.path.join(root, path))
        if any(os.path.commonpath([real, each]) == each for each in real_roots):
            inside.append(real)
    if not inside:
        raise Refused(OUTSIDE)
    return next((real for real in inside if os.path.lexists(real)), inside[0])


def _path_of(uri: str) -> str:
    """Return the path that an address names."""
    path = uri
    if scheme := SCHEME.match(uri):
        name = scheme[1].lower()
        if name == "file":
            try:
                address = urlsplit(uri)
            except ValueError:
                raise Refused(BAD_URI) from None
            if address.netloc not in ("", "localhost"):
                raise Refused("file:// on another machine is not read; only folders are")
            path = unquote(address.path)
        elif scheme[2] or name == "data":
            raise Refused(f"{name[:20]}: addresses are not fetched; only folders are read")
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        raise Refused(BAD_URI) from None
    if not encoded or b"\0" in encoded:
        raise Refused(BAD_URI)
    return path


def _read(path: str) -> bytes:
    """Return the bytes of a regular file; no other kind is read, and none is waited for."""
    try:
        # A pipe would be waited for; a link put in the place of what was looked at is not followed.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise Refused(NOT_A_FILE)
            if found.st_size > MAX_BYTES:
                raise Refused(TOO_LARGE)
            with open(handle, "rb", closefd=False) as file:
                data = file.read(MAX_BYTES + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise Refused(_words(error)) from error
    if len(data) > MAX_BYTES:  # it grew meanwhile
        raise Refused(TOO_LARGE)
    if not data:
        raise Refused(EMPTY)
    return data


def _words(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return NOT_PERMITTED
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return NO_FILE
    return NOT_A_FILE if error.errno in (errno.ENXIO, errno.ENODEV) else UNREADABLE


def _decoded(data: bytes, side: int | None) -> Picture:
    """Return the picture in a file; raises one of BOMBS or ERRORS if there is none."""
    image = Image.open(BytesIO(data), formats=FORMATS)
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise Refused(TOO_MANY_PIXELS)
    if isinstance(image, JpegImageFile):
        if data.count(START_OF_SCAN) > MAX_SCANS:
            raise Refused(TOO_MANY_SCANS)
        if side:
            image.draft(None, (2 * side, 2 * side))
    with _big if pixels > BIG_PIXELS else nullcontext():
        image.load()
        plain = _plain(image)
        turn = _turn(image)
        return np.asarray(plain if turn is None else plain.transpose(turn))


def _plain(image: Image.Image) -> Image.Image:
    """Return red, green and blue of an image in any mode, on white where it is transparent."""
    if image.mode.startswith("I"):
        # Grey of 16 bits, which Pillow would cut off at 255.
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    clear = image.convert("RGBA")
    white = Image.new("RGB", clear.size, "white")
    white.paste(clear, mask=clear)
    return white


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what makes an image upright; None if it is, or does not say."""
    try:
        return TURNS.get(int(image.getexif().get(ORIENTATION, 1)))
    except ERRORS:  # a camera's notes may be broken while the picture is whole
        return None
