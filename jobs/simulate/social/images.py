"""The pictures of posts, drawn: what they show betrays the appeal that moves likes.

An appealing picture is rather warm, bright and vivid, and of few large round shapes; the others are
rather cold, dark and grey, and of many small angular ones. Each of these goes its own way as well,
so that no single number of the pixels tells the appeal. Sizes, formats and flaws are those that
phones and editors leave: photos stored sideways, greys, print colours, transparency, captions.
"""

import os
from collections.abc import Callable, Iterable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jobs.simulate.clock import day_date, stream
from jobs.simulate.social.likes import chance
from jobs.simulate.social.words import CAPTIONS
from jobs.simulate.social.world import FIRST_POST_ID, PICTURES, World

# (file format, mode), its share of the pictures
KINDS = (
    *((("JPEG", "RGB"), 0.60), (("JPEG", "L"), 0.06), (("JPEG", "CMYK"), 0.03)),
    *((("PNG", "RGB"), 0.09), (("PNG", "RGBA"), 0.07), (("WEBP", "RGB"), 0.15)),
)
SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
# pixels of the long side, and width to height; what editors save as PNG is of the smaller sizes
LONG_SIDES = (640, 720, 800, 960, 1080, 1280, 1600)
PNG_SIZES = 4
ASPECTS = (3 / 4, 9 / 16, 4 / 5, 1.0, 4 / 3, 3 / 2, 16 / 9)
# of the color JPEGs are stored sideways: EXIF orientation, how the upright picture is turned
SIDEWAYS = 0.2
TURNS = (
    *((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90)),
    (8, Image.Transpose.ROTATE_270),
)
ORIENTATION = 0x0112  # EXIF
QUALITIES = (75, 82, 90)  # of JPEG
CAPTIONED, GRAINY = 0.3, 0.4
# how each trait of the look goes with the appeal, as a correlation; see Look
BETRAYED = np.array([0.9, 0.8, 0.7, 0.8, 0.75])
APPEAL_SD = 1 / np.sqrt(3)
WARM_HUE, WARM_SD, COLD_HUE, COLD_SD = 28, 18, 212, 30  # degrees

Picture = Image.Image


class Look(NamedTuple):
    """How a picture looks; each trait is about standard normal over the pictures."""

    warm: float
    bright: float
    vivid: float
    round: float
    large: float


def uri(world: World, post: int) -> str:
    """Return where a post's picture is, below the folder that all pictures are in."""
    return f"images/{FIRST_POST_ID + post}.{SUFFIX[_kind(_stream(world, post))[0]]}"


def write(world: World, posts: Iterable[int], folder: Path) -> int:
    """Draw the pictures of posts below ``folder``, each once; return how many were drawn.

    Those that are there stay. A kill leaves whole files, and at most one that ends in ``.new``.

    Raises:
        ValueError: if the folder holds the pictures of another feed.
    """
    feed = f"seed {world.seed}, {world.users} users from {day_date(world.start)}"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    if not (sign := folder / "images" / "feed.txt").exists():
        _put(sign, feed.encode())
    if (found := sign.read_text()) != feed:
        raise ValueError(f"{sign}: holds {found}, asked for {feed}; use an empty folder")
    absent = [post for post in posts if not (folder / uri(world, post)).exists()]
    for post in absent:
        _put(folder / uri(world, post), draw(world, post))
    return len(absent)


def draw(world: World, post: int) -> bytes:
    """Return the file of a post's picture."""
    rng = _stream(world, post)
    format_, mode = _kind(rng)
    scene = SCENES[rng.integers(len(SCENES))]
    image = scene(rng, _look(rng, float(world.picture_appeal[post])), _size(rng, format_))
    if format_ != "PNG" and rng.random() < GRAINY:
        _grain(rng, image)
    if mode != "RGBA" and rng.random() < CAPTIONED:  # a sticker has no room
        captions = CAPTIONS[int(world.english[post])]
        _caption(rng, image, captions[rng.integers(len(captions))])
    if mode == "RGBA":
        image.putalpha(_cut_out(rng, image.size))
    file = BytesIO()
    if format_ == "JPEG":
        exif = Image.Exif()
        if mode == "RGB" and rng.random() < SIDEWAYS:
            exif[ORIENTATION], turn = TURNS[rng.integers(len(TURNS))]
            image = image.transpose(turn)
        quality = QUALITIES[rng.integers(len(QUALITIES))]
        image.convert(mode).save(file, format_, quality=quality, exif=exif)
    elif format_ == "PNG":
        image.save(file, format_, compress_level=1)
    else:
        image.save(file, format_, quality=80, method=0)
    return file.getvalue()


def _stream(world: World, post: int) -> np.random.Generator:
    return stream(world.seed, PICTURES, post)


def _kind(rng: np.random.Generator) -> tuple[str, str]:
    """Return file format and mode of a picture, the first that is drawn of it."""
    return KINDS[rng.choice(len(KINDS), p=[share for _, share in KINDS])][0]


def _put(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


def _size(rng: np.random.Generator, format_: str) -> tuple[int, int]:
    """Return width and height."""
    sides = LONG_SIDES[:PNG_SIZES] if format_ == "PNG" else LONG_SIDES
    long, aspect = sides[rng.integers(len(sides))], ASPECTS[rng.integers(len(ASPECTS))]
    return (long, round(long / aspect)) if aspect >= 1 else (round(long * aspect), long)


def _look(rng: np.random.Generator, appeal: float) -> Look:
    own = np.sqrt(1 - BETRAYED**2) * rng.standard_normal(len(BETRAYED))
    return Look(*(BETRAYED * appeal / APPEAL_SD + own).tolist())


def _color(rng: np.random.Generator, look: Look, light: float = 0.0) -> tuple[int, int, int]:
    """Return a color as the look has them; ``light`` makes it lighter, by shares of white."""
    warm = rng.random() < _odds(2.2 * look.warm)
    hue = rng.normal(*((WARM_HUE, WARM_SD) if warm else (COLD_HUE, COLD_SD))) % 360 / 60
    saturation = np.clip(0.52 + 0.17 * look.vivid + rng.normal(0, 0.12), 0.04, 0.98)
    value = np.clip(0.56 + light + 0.16 * look.bright + rng.normal(0, 0.13), 0.06, 1.0)
    # from hue, saturation and value, as Smith (1978)
    away = np.clip(np.abs((hue - np.array([0, 2, 4]) + 3) % 6 - 3) - 1, 0, 1)
    red, green, blue = (255 * value * (1 - saturation * away)).astype(int).tolist()
    return red, green, blue


def _odds(logit: float) -> float:
    return float(chance(np.array(logit)))


def _ground(rng: np.random.Generator, look: Look, size: tuple[int, int]) -> Picture:
    """Return a picture that goes from one color over to another."""
    begin, end = np.array(_color(rng, look)), np.array(_color(rng, look, 0.12))
    middle = (begin + end) // 2
    corners = np.array([[begin, middle], [middle, end]] if rng.random() < 0.5 else [[begin], [end]])
    return Image.fromarray(corners.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)


def _shape(
    rng: np.random.Generator,
    look: Look,
    pen: ImageDraw.ImageDraw,
    center: tuple[float, float],
    radius: float,
) -> None:
    """Draw a round shape or an angular one, with a lighter spot or facet in it."""
    x, y = center
    color, light = _color(rng, look), _color(rng, look, 0.15)
    if rng.random() < _odds(1.8 * look.round):
        high = radius * rng.uniform(0.8, 1.0)
        pen.ellipse((x - radius, y - high, x + radius, y + high), color)
        x, y, spot = x - 0.3 * radius, y - 0.3 * high, 0.35 * radius
        pen.ellipse((x - spot, y - spot, x + spot, y + spot), light)
        return
    corners = int(rng.integers(3, 6))
    angle = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.3, 0.3, corners) + rng.random())
    angle /= corners
    far = radius * rng.uniform(0.7, 1.3, corners)
    points = list(zip(x + far * np.cos(angle), y + far * np.sin(angle), strict=True))
    pen.polygon(points, color)
    pen.polygon([points[0], points[1], (x, y)], light)


def _scattered(rng: np.random.Generator, look: Look, size: tuple[int, int]) -> Picture:
    """Return shapes lying about."""
    image = _ground(rng, look, size)
    pen, (width, height) = ImageDraw.Draw(image), size
    for _ in range(int(np.clip(np.exp(2.5 - 0.55 * look.large + rng.normal(0, 0.3)), 3, 60))):
        center = width * rng.random(), height * rng.random()
        _shape(rng, look, pen, center, _radius(rng, look, size))
    return image


def _hills(rng: np.random.Generator, look: Look, size: tuple[int, int]) -> Picture:
    """Return a sky with a sun, and three ranges of hills or peaks before it."""
    image = _ground(rng, look, size)
    pen, (width, height) = ImageDraw.Draw(image), size
    sun = width * rng.uniform(0.15, 0.85), height * rng.uniform(0.12, 0.35)
    _shape(rng, look, pen, sun, _radius(rng, look, size))
    for low in (0.50, 0.65, 0.82):
        if rng.random() < _odds(1.8 * look.round):
            across = np.linspace(0, 1, 81)
            waves = rng.uniform(0.8, 2.2, (2, 1)) * np.exp(-0.3 * look.large)
            turns = waves * across + rng.random((2, 1))
            ridge = (np.sin(2 * np.pi * turns) / (1 + waves)).sum(axis=0)
        else:
            peaks = 2 * int(np.clip(8 * np.exp(-0.4 * look.large), 3, 30))
            across = np.arange(-1, peaks + 2) + rng.uniform(-0.4, 0.4, peaks + 3)
            across, up = across / peaks, np.arange(peaks + 3) % 2
            ridge = 1.6 * up - 0.8 + rng.uniform(-0.4, 0.4, len(up))
        line = height * (low + 0.12 * ridge)
        points = [(0, height), *zip(width * across, line, strict=True), (width, height)]
        pen.polygon(points, _color(rng, look, -0.08))
    return image


def _figure(rng: np.random.Generator, look: Look, size: tuple[int, int]) -> Picture:
    """Return one thing in the middle, others small around it."""
    image = _ground(rng, look, size)
    pen, (width, height) = ImageDraw.Draw(image), size
    for _ in range(int(rng.integers(2, 9))):
        center = width * rng.random(), height * rng.random()
        _shape(rng, look, pen, center, 0.4 * _radius(rng, look, size))
    floor = height * rng.uniform(0.7, 0.85)
    pen.rectangle((0, floor, width, height), _color(rng, look, -0.1))
    center = width * rng.uniform(0.35, 0.65), floor - 0.22 * height
    large = min(size) * float(np.clip(0.28 * np.exp(0.25 * look.large), 0.12, 0.45))
    _shape(rng, look, pen, center, large)
    return image


def _tiles(rng: np.random.Generator, look: Look, size: tuple[int, int]) -> Picture:
    """Return a collage: tiles with a shape in each."""
    image = _ground(rng, look, size)
    pen, (width, height) = ImageDraw.Draw(image), size
    short = int(np.clip(3.2 * np.exp(-0.4 * look.large + rng.normal(0, 0.2)), 2, 8))
    side = min(size) / short
    for left in np.arange(0, width, side):
        for top in np.arange(0, height, side):
            pen.rectangle((left + 4, top + 4, left + side - 4, top + side - 4), _color(rng, look))
            center = left + side / 2, top + side / 2
            _shape(rng, look, pen, center, side * rng.uniform(0.2, 0.38))
    return image


def _radius(rng: np.random.Generator, look: Look, size: tuple[int, int]) -> float:
    usual = 0.11 * np.exp(0.5 * look.large + rng.normal(0, 0.35))
    return min(size) * float(np.clip(usual, 0.02, 0.4))


def _grain(rng: np.random.Generator, image: Picture) -> None:
    """Lay a film's grain over a picture: a tile of noise, again and again."""
    tile = rng.integers(0, 256, (97, 97), dtype=np.uint8)
    width, height = image.size
    noise = np.tile(tile, (height // 97 + 1, width // 97 + 1))[:height, :width]
    image.paste(Image.blend(image, Image.fromarray(noise).convert("RGB"), 0.08))


def _caption(rng: np.random.Generator, image: Picture, words: str) -> None:
    """Put words on a picture, below or above, as large as they fit up to a fifteenth."""
    width, height = image.size
    pen, above = ImageDraw.Draw(image), rng.random() < 0.3
    letters = int(min(max(width, height) / 15, 1.5 * width / len(words)))
    place = width / 2, height * (0.1 if above else 0.9)
    ink, edge = ("white", "black") if rng.random() < 0.7 else ("black", "white")
    pen.text(place, words, ink, _font(letters), "mm", stroke_width=letters // 12, stroke_fill=edge)


@cache
def _font(letters: int) -> ImageFont.FreeTypeFont:
    """Return a font that has Cyrillic letters, the same wherever the simulation runs."""
    import matplotlib as mpl  # for its font alone: Pillow's own has no Cyrillic

    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    return ImageFont.truetype(path, letters, layout_engine=ImageFont.Layout.BASIC)


def _cut_out(rng: np.random.Generator, size: tuple[int, int]) -> Picture:
    """Return what of a picture is to be seen: all but the corners, or a round sticker."""
    width, height = size
    mask = Image.new("L", size)
    inside = 0.02 * width, 0.02 * height, 0.98 * width, 0.98 * height
    if rng.random() < 0.5:
        ImageDraw.Draw(mask).rounded_rectangle(inside, min(size) / 8, 255)
    else:
        ImageDraw.Draw(mask).ellipse(inside, 255)
    return mask


Scene = Callable[[np.random.Generator, Look, tuple[int, int]], Picture]
SCENES: tuple[Scene, ...] = (_scattered, _hills, _figure, _tiles)
