"""Pictures of posts: decoding, each encoder at three sizes, and two nights in the warehouse."""

import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from sqlalchemy import text

from bench.ground import Ground, seconds
from jobs.post_conversion import decoding, embedding, image_encoders
from jobs.post_conversion.image_encoders import ImageEncoder
from jobs.post_conversion.image_networks import ENCODER_SETTING, SIDE_SETTING, WEIGHTS_SETTING
from jobs.warehouse import engine

AS_OF = date(2026, 3, 1)
SIDES = (96, 160, 224)
# Applications with the pictures that their speed is measured on.
APPLICATIONS = {"MobileNetV3Small": 512, "MobileNetV3Large": 256, "ResNet50": 64, "VGG16": 32}
LITE = "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
FILES, HIGH, WIDE = 300, 960, 1280
SCENES, VERSIONS = 24, 6
POSTS = (2_500, 10_000)

Pictures = NDArray[np.uint8]


def measure(databases: Ground) -> str:
    """Return the figures; each encoder works in a process of its own, for its memory's sake."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = draw(folder)
        lines = [f"{FILES} JPEGs of {WIDE} x {HIGH}, {files / FILES / 1000:.0f} KB each"]
        lines += decoded(folder)
        lines.append(
            f"  {'encoder':<26}{'side':>5}{'pictures/s':>12}{'own':>7}{'MB':>7}{'load s':>8}"
        )
        for application in APPLICATIONS:
            for side in SIDES:
                lines.append(apart(encoder_line, application, "random", side))
        if data := os.environ.get("NIGHTSHIFT_DATA"):
            for side in SIDES:
                lines.append(apart(encoder_line, str(Path(data) / "images" / LITE), "", side))
        lines.append(statistics_line())
        lines.append("  own: share of pictures whose nearest is the same one, cut and tinted anew")
        url = databases.warehouse.url.render_as_string(hide_password=False)
        for posts in POSTS:
            lines += apart(nights, url, str(folder), posts)
    return "\n".join(lines)


def apart(work: Callable[..., Any], *values: object) -> Any:
    """Return what ``work`` says in a process of its own."""
    receiver, sender = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=answer, args=(work, values, sender)
    )
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


def answer(work: Callable[..., Any], values: tuple[object, ...], sender: Connection) -> None:
    """Send what ``work`` says."""
    sender.send(work(*values))


def draw(folder: Path) -> int:
    """Write FILES pictures of smooth noise with grain; return their bytes."""
    random = np.random.default_rng(7)
    size = 0
    for number in range(FILES):
        image = scene(random).resize((WIDE, HIGH), Image.Resampling.BICUBIC)
        grain = np.asarray(image) + random.normal(0, 6, (HIGH, WIDE, 1))
        path = folder / f"{number}.jpg"
        Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)).save(path, quality=85)
        size += path.stat().st_size
    return size


def scene(random: np.random.Generator) -> Image.Image:
    """Return a small picture with patches of two sizes."""
    fine = random.normal(0, 40, (24, 32, 3))
    coarse = random.uniform(0, 255, (3, 4, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return Image.fromarray(np.clip(fine + coarse, 0, 255).astype(np.uint8))


def decoded(folder: Path) -> list[str]:
    """Return the speed of decoding and resizing, by the threads that a night uses."""
    lines = []
    uris = [f"{number}.jpg" for number in range(FILES)]
    for side in SIDES:

        def small(uri: str, side: int = side) -> Pictures:
            return decoding.resized(decoding.opened(uri, [folder], side), side)

        with ThreadPoolExecutor(embedding.THREADS) as pool:
            took = seconds(lambda small=small, pool=pool: list(pool.map(small, uris)))
        lines.append(f"  decoded and resized to {side:<8}{FILES / took:>12,.0f} pictures/s")
    return lines


def encoder_line(encoder: str, weights: str, side: int) -> str:
    """Return the line of one encoder; a TFLite file gets the detail of ``side`` at its own size."""
    lite = encoder.endswith(".tflite")
    settings = {ENCODER_SETTING: encoder, WEIGHTS_SETTING: weights}
    os.environ.update(settings | ({} if lite else {SIDE_SETTING: str(side)}))
    found: list[ImageEncoder] = []
    loaded = seconds(lambda: found.append(image_encoders.configured()))
    used = found[0]
    pictures = versions(side, used.side)
    count = 512 if lite else APPLICATIONS[encoder]
    some = np.resize(pictures, (count, *pictures.shape[1:]))
    used.embed(some[:32])
    took = seconds(lambda: used.embed(some))
    name = "MobileNetV1 (TFLite)" if lite else encoder
    made = used.embed(pictures)[:, : used.network.dimensions]
    return (
        f"  {name:<26}{side:>5}{count / took:>12,.0f}{own_share(made):>7.2f}"
        f"{peak_megabytes():>7,.0f}{loaded:>8.1f}"
    )


def statistics_line() -> str:
    """Return the line of the statistics alone."""
    pictures = versions(160, 160)
    took = seconds(lambda: image_encoders.statistics(pictures))
    share = own_share(image_encoders.statistics(pictures))
    return f"  {'statistics alone':<26}{160:>5}{len(pictures) / took:>12,.0f}{share:>7.2f}"


def versions(detail: int, side: int) -> Pictures:
    """Return VERSIONS of each of SCENES pictures, of photos where there are any."""
    random = np.random.default_rng(5)
    folder = Path(os.environ.get("NIGHTSHIFT_DATA", "/nowhere")) / "images"
    photos = [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg"))]
    drawn = [scene(random).resize((320, 240)) for _ in range(SCENES - len(photos))]
    made = []
    for image in photos + drawn:
        for turn in range(VERSIONS):
            wide, high = (int(length * random.uniform(0.6, 0.95)) for length in image.size)
            left = int(random.integers(image.width - wide + 1))
            top = int(random.integers(image.height - high + 1))
            cut = image.crop((left, top, left + wide, top + high))
            cut = ImageOps.mirror(cut) if turn % 2 else cut
            cut = ImageEnhance.Color(cut).enhance(random.uniform(0.3, 1.7))
            tinted = np.asarray(cut) * random.uniform(0.6, 1.4, 3)
            seen = decoding.resized(np.clip(tinted, 0, 255).astype(np.uint8), detail)
            made.append(decoding.resized(seen, side))
    return np.stack(made)


def own_share(made: NDArray[np.float32]) -> float:
    """Return the share of rows whose nearest other is a version of the same picture."""
    scaled = (made - made.mean(axis=0)) / np.maximum(made.std(axis=0), 1e-9)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    near = scaled @ scaled.T
    np.fill_diagonal(near, -2)
    picture = np.arange(len(made)) // VERSIONS
    return float((picture[near.argmax(axis=1)] == picture).mean())


def nights(url: str, folder: str, posts: int) -> list[str]:
    """Return the lines of a first night and a second one, when 1 % of the posts are new."""
    os.environ.update({decoding.SETTING: folder, WEIGHTS_SETTING: "random"})
    warehouse = engine(url)
    with warehouse.begin() as connection:
        connection.execute(text("truncate raw.post_image, feature.post_image_embedding"))
        connection.execute(
            text(
                "insert into raw.post_image (post_id, uri, known_from)"
                " select post, post % :files || '.jpg',"
                " case when post % 100 = 0 then cast(:as_of as date) + 1 else :as_of end"
                " from generate_series(1, :posts) as post"
            ),
            {"files": FILES, "as_of": AS_OF, "posts": posts},
        )
    encoder = image_encoders.configured()
    lines = [f"{posts:,} posts, {encoder.name}"]
    took = []
    for night, as_of in (("first", AS_OF), ("second", AS_OF + timedelta(days=1))):
        begun = time.perf_counter()
        done = embedding.embed_new(warehouse, as_of, encoder)
        took.append(time.perf_counter() - begun)
        lines.append(
            f"  {night} night{'':<10}{done.embedded:>8,} embedded{done.known:>8,} known"
            f"{took[-1]:>9.2f} s{done.embedded / took[-1]:>8,.0f} pictures/s"
        )
    peak = peak_megabytes()
    read = seconds(lambda: embedding.vectors(warehouse, as_of, encoder.version))
    lines.append(f"  second / first {took[1] / took[0]:>8.3f}   peak {peak:,.0f} MB")
    lines.append(f"  vectors of all read in {read:.2f} s, then peak {peak_megabytes():,.0f} MB")
    return lines


def peak_megabytes() -> float:
    """Return the most memory that this process held (getrusage would begin with its parent's)."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")
