"""Pictures of posts: decoded safely, whatever they are, and embedded once."""

import os
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from sqlalchemy import text

from jobs.post_conversion import (
    decoding,
    embedding,
    image_networks,
    image_statistics,
)
from jobs.post_conversion.decoding import Refused, opened, resized
from jobs.post_conversion.embedding import Embedded, embed_new, vectors
from jobs.post_conversion.image_encoders import ImageEncoder
from jobs.settings import BadSetting

AS_OF, NEXT = date(2026, 3, 1), date(2026, 3, 2)
SIDE = 32
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Return the one folder that pictures may lie in."""
    made = tmp_path / "pictures"
    made.mkdir()
    monkeypatch.setenv(decoding.SETTING, str(made))
    return made


@pytest.fixture
def read(warehouse):
    """Return a function: the rows of a query."""

    def rows(statement: str, **values: object) -> list[tuple]:
        with warehouse.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]

    return rows


def photo(seed: int = 1, high: int = 40, wide: int = 60) -> Image.Image:
    """Return a picture of smooth noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((wide, high), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str, **how: object) -> bytes:
    """Return the image as a file's bytes."""
    kept = BytesIO()
    image.save(kept, form, **how)
    return kept.getvalue()


def png(wide: int, high: int, bits: int, rows: bytes, extra: bytes = b"") -> bytes:
    """Return a grey PNG of these compressed rows, made by hand."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + name + data + check

    size = wide.to_bytes(4, "big") + high.to_bytes(4, "big")
    head = chunk(b"IHDR", size + bytes([bits, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """Return a PNG of one pixel whose comment of 100 KB unpacks to 100 MB."""
    data = b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)
    check = zlib.crc32(b"zTXt" + data).to_bytes(4, "big")
    comment = len(data).to_bytes(4, "big") + b"zTXt" + data + check
    return png(1, 1, 8, zlib.compress(bytes(2)), comment)


def scan_bomb() -> bytes:
    """Return a progressive JPEG that says its last scan 200 times."""
    whole = encoded(photo(), "JPEG", progressive=True)
    last = whole[whole.rindex(decoding.START_OF_SCAN) : -2]
    return whole[:-2] + last * 200 + whole[-2:]


def flat(image: Image.Image, **how: object) -> bytes:
    return encoded(image, "PNG", **how)


# Name of the file -> its bytes, and why it is refused.
BAD = {
    "empty.jpg": (b"", decoding.EMPTY),
    "text.jpg": (b"This is no picture at all.\n" * 50, decoding.NOT_A_PICTURE),
    "page.jpg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", decoding.NOT_A_PICTURE),
    "tiff.jpg": (encoded(photo(), "TIFF"), decoding.NOT_A_PICTURE),
    "half.jpg": (encoded(photo(), "JPEG")[:900], decoding.TRUNCATED),
    "half.png": (flat(photo())[:900], decoding.TRUNCATED),
    "half.webp": (encoded(photo(), "WEBP", lossless=True)[:900], decoding.BROKEN),
    "head.jpg": (encoded(photo(), "JPEG")[:20], decoding.NOT_A_PICTURE),
    "damaged.png": (flat(photo())[:300] + bytes(20) + flat(photo())[320:], decoding.BROKEN),
    "odd_chunk.png": (flat(photo()).replace(b"IDAT", b"IDAX"), decoding.NOT_A_PICTURE),
    "large.bmp": (b"BM" + bytes(decoding.MAX_BYTES), decoding.TOO_LARGE),
    "text_bomb.png": (text_bomb(), decoding.BROKEN),
    "scan_bomb.jpg": (scan_bomb(), decoding.TOO_MANY_SCANS),
    # 400 million pixels in 50 KB; 80 million in 80 KB, which Pillow itself would only warn of.
    "20000.png": (flat(Image.new("1", (20_000, 20_000))), decoding.TOO_MANY_PIXELS),
    "bomb.png": (
        png(10_000, 8_000, 8, zlib.compress(bytes(10_001 * 8_000), 1)),
        decoding.TOO_MANY_PIXELS,
    ),
}


# Which files are read -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_refused_by_name(folder, name):
    data, reason = BAD[name]
    (folder / name).write_bytes(data)

    with pytest.raises(Refused) as refused:
        opened(name, [folder])

    assert refused.value.reason == reason


def test_nothing_outside_the_roots_is_read(folder, tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(flat(photo()))
    (folder / "link.png").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    (tmp_path / "pictures_too").mkdir()
    (tmp_path / "pictures_too" / "1.png").write_bytes(flat(photo()))

    for uri in (
        str(outside),
        f"file://{outside}",
        "../outside.png",
        "link.png",
        "up/outside.png",
        "./x/../../outside.png",
        "../pictures_too/1.png",
        "../nowhere.png",
        "/etc/hostname",
    ):
        with pytest.raises(Refused, match=f"^{decoding.OUTSIDE}$"):
            opened(uri, [folder])
    with pytest.raises(Refused, match=f"^{decoding.NO_ROOTS}$"):
        opened(str(outside), [])


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://example.com/1.jpg", "http: addresses are not fetched; only folders are read"),
        ("HTTPS://example.com/1.jpg", "https: addresses are not fetched; only folders are read"),
        ("s3://bucket/1.jpg", "s3: addresses are not fetched; only folders are read"),
        ("data:image/png;base64,AAAA", "data: addresses are not fetched; only folders are read"),
        ("file://other/1.jpg", "file:// on another machine is not read; only folders are"),
        ("file://[1/1.jpg", decoding.BAD_URI),
        ("", decoding.BAD_URI),
        ("a\0b", decoding.BAD_URI),
        ("\ud800.jpg", decoding.BAD_URI),
        ("nowhere.jpg", decoding.NO_FILE),
        ("x/" * 3_000, decoding.NO_FILE),
        ("y" * 5_000, decoding.NO_FILE),
        ("good.png/1.jpg", decoding.NO_FILE),
        ("loop.png", decoding.NO_FILE),
        ("folder", decoding.NOT_A_FILE),
        (".", decoding.NOT_A_FILE),
    ],
)
def test_an_address_that_names_no_picture_is_refused_by_name(folder, uri, reason):
    (folder / "good.png").write_bytes(flat(photo()))
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "folder").mkdir()

    with pytest.raises(Refused) as refused:
        opened(uri, [folder])

    assert refused.value.reason == reason


def test_a_pipe_and_a_device_are_refused_at_once(folder):
    os.mkfifo(folder / "pipe.jpg")
    reasons = []

    def read_all():
        for uri, roots in (("pipe.jpg", [folder]), ("/dev/zero", [Path("/dev")])):
            with pytest.raises(Refused) as refused:
                opened(uri, roots)
            reasons.append(refused.value.reason)

    reading = threading.Thread(target=read_all, daemon=True)
    reading.start()
    reading.join(10)

    assert reasons == [decoding.NOT_A_FILE, decoding.NOT_A_FILE]


def test_a_picture_is_found_by_every_kind_of_address_in_any_root(folder, tmp_path, monkeypatch):
    second = tmp_path / "second"
    second.mkdir()
    (second / "a b:1.png").write_bytes(flat(Image.new("RGB", (3, 2), RED)))
    (folder / "link.png").symlink_to(second / "a b:1.png")
    monkeypatch.setenv(decoding.SETTING, f"{folder}:{second}")
    both = decoding.roots()

    for uri in (
        "a b:1.png",
        "../second/a b:1.png",
        str(second / "a b:1.png"),
        f"file://{second}/a%20b:1.png",
        f"file://localhost{second}/a%20b%3A1.png",
        "link.png",
    ):
        np.testing.assert_array_equal(opened(uri, both), np.full((2, 3, 3), RED, np.uint8))


def test_a_root_that_is_not_there_is_a_bad_setting(folder, tmp_path, monkeypatch):
    assert decoding.roots() == (folder,)
    monkeypatch.setenv(decoding.SETTING, f"{folder}:{tmp_path}/nowhere")
    with pytest.raises(BadSetting, match=r"ROOTS is '.*nowhere' is no folder; expected folders"):
        decoding.roots()
    monkeypatch.setenv(decoding.SETTING, "")
    assert decoding.roots() == ()


# What is seen -------------------------------------------------------------------------------------


def halves(mode: str, left: object, right: object) -> Image.Image:
    """Return an image of 8 x 4 pixels, left and right of one colour each."""
    image = Image.new(mode, (8, 4), left)
    image.paste(right, (4, 0, 8, 4))
    return image


def palette(**how: object) -> bytes:
    """Return a PNG with a palette: index 0 red, 1 blue."""
    image = Image.new("P", (8, 4), 0)
    image.putpalette([*RED, *BLUE])
    image.paste(1, (4, 0, 8, 4))
    return flat(image, **how)


def animation(form: str, **how: object) -> bytes:
    first, second = halves("RGB", RED, BLUE), halves("RGB", GREEN, GREEN)
    return encoded(first, form, save_all=True, append_images=[second, second], **how)


GREY16 = Image.fromarray(np.repeat(np.array([[0x4000, 0xC000]], np.uint16), 4, 1).repeat(4, 0))


@pytest.mark.parametrize(
    ("data", "left", "right"),
    [
        (flat(halves("RGB", RED, BLUE)), RED, BLUE),
        (flat(halves("L", 10, 200)), (10, 10, 10), (200, 200, 200)),
        (flat(halves("1", 0, 1)), (0, 0, 0), WHITE),
        (flat(halves("LA", (10, 255), (10, 0))), (10, 10, 10), WHITE),
        (flat(halves("RGBA", (*RED, 255), (*RED, 0))), RED, WHITE),
        (flat(halves("RGBA", (0, 0, 0, 128), (0, 0, 0, 0))), (127, 127, 127), WHITE),
        (palette(), RED, BLUE),
        (palette(transparency=1), RED, WHITE),
        (palette(transparency=bytes([0, 255])), WHITE, BLUE),
        (flat(halves("RGB", RED, BLUE), transparency=BLUE), RED, WHITE),
        (flat(GREY16), (64, 64, 64), (192, 192, 192)),
        (encoded(halves("RGB", RED, BLUE), "BMP"), RED, BLUE),
        (encoded(halves("RGB", RED, BLUE), "WEBP", lossless=True), RED, BLUE),
        (encoded(halves("RGBA", (*RED, 255), (*RED, 0)), "WEBP", lossless=True), RED, WHITE),
        (animation("GIF"), RED, BLUE),
        (animation("PNG"), RED, BLUE),
        (animation("WEBP", lossless=True), RED, BLUE),
    ],
)
def test_every_kind_of_picture_becomes_its_colours_on_white(folder, data, left, right):
    (folder / "1").write_bytes(data)

    seen = opened("1", [folder])

    assert (seen.shape, seen.dtype) == ((4, 8, 3), np.uint8)
    np.testing.assert_array_equal(seen[:, :4], np.broadcast_to(left, (4, 4, 3)))
    np.testing.assert_array_equal(seen[:, 4:], np.broadcast_to(right, (4, 4, 3)))


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_a_jpeg_in_any_colours_is_seen_as_it_was(folder, mode):
    image = halves("RGB", (200, 30, 30), (30, 30, 200)).resize((64, 32)).convert(mode)
    (folder / "1.jpg").write_bytes(encoded(image, "JPEG", quality=95))

    seen = opened("1.jpg", [folder])

    assert seen.shape == (32, 64, 3)
    for place in (8, 56):
        wanted = image.convert("RGB").getpixel((place, 16))
        np.testing.assert_allclose(seen[16, place], wanted, atol=8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_a_picture_is_upright_however_the_camera_was_held(folder, form, orientation):
    upright = np.random.default_rng(1).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    turn = decoding.TURNS.get(orientation)
    # Turns by a quarter undo each other, all others undo themselves.
    undo = {
        Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
        Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    }.get(turn, turn)
    image = Image.fromarray(upright)
    notes = Image.Exif()
    notes[decoding.ORIENTATION] = orientation
    kept = image if undo is None else image.transpose(undo)
    how = {"lossless": True, "exact": True} if form == "WEBP" else {}
    (folder / "1").write_bytes(encoded(kept, form, exif=notes, **how))

    np.testing.assert_array_equal(opened("1", [folder]), upright)


def test_a_photo_on_its_side_is_turned_by_pillow_in_the_same_way(folder):
    notes = Image.Exif()
    for orientation in range(1, 9):
        notes[decoding.ORIENTATION] = orientation
        (folder / "1.jpg").write_bytes(encoded(photo(), "JPEG", exif=notes))

        with Image.open(folder / "1.jpg") as image:
            wanted = np.asarray(ImageOps.exif_transpose(image))

        np.testing.assert_array_equal(opened("1.jpg", [folder]), wanted)


def test_broken_notes_of_a_camera_do_not_cost_the_picture(folder):
    notes = Image.Exif()
    notes[decoding.ORIENTATION] = 6
    data = encoded(photo(), "JPEG", exif=notes)
    (folder / "1.jpg").write_bytes(data.replace(b"MM\0*", b"MM\0\xff"))
    (folder / "2.jpg").write_bytes(encoded(photo(), "JPEG"))

    np.testing.assert_array_equal(opened("1.jpg", [folder]), opened("2.jpg", [folder]))


def test_a_large_jpeg_is_decoded_no_larger_than_needed(folder):
    image = photo(high=1_200, wide=1_600)
    (folder / "1.jpg").write_bytes(encoded(image, "JPEG", quality=95))

    small = opened("1.jpg", [folder], 64)

    assert small.shape == (150, 200, 3)
    assert opened("1.jpg", [folder]).shape == (1_200, 1_600, 3)
    near = resized(small, 64).astype(int) - resized(opened("1.jpg", [folder]), 64)
    assert np.abs(near).mean() < 1


def test_resizing_takes_the_mean_of_an_area():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200

    np.testing.assert_allclose(resized(stripes, 40), 100, atol=3)
    assert resized(stripes[:1, :1], 40).shape == (40, 40, 3)
    assert resized(stripes[:1], 40).shape == (40, 40, 3)


def test_no_error_of_pillows_gets_out_whatever_is_in_the_file(folder):
    random = np.random.default_rng(7)
    notes = Image.Exif()
    notes[decoding.ORIENTATION] = 6
    whole = [
        encoded(photo(), "JPEG", exif=notes),
        encoded(photo(), "JPEG", progressive=True),
        encoded(photo().convert("CMYK"), "JPEG"),
        flat(photo(), exif=notes),
        palette(transparency=1),
        encoded(photo(), "WEBP", exif=notes),
        animation("WEBP", lossless=True),
        animation("GIF"),
        encoded(photo(), "BMP"),
    ]
    seen = 0

    for turn in range(900):
        data = bytearray(whole[turn % len(whole)])
        for _ in range(random.integers(1, 6)):
            data[random.integers(min(len(data), 300))] = random.integers(256)
        (folder / "1").write_bytes(data[: len(data) - turn % 3 * random.integers(100)])
        try:
            seen += opened("1", [folder], SIDE).ndim == 3
        except Refused:
            continue

    assert 50 < seen < 800


# Night by night -----------------------------------------------------------------------------------


def means(version: str = "means", call=None) -> ImageEncoder:
    """Return an encoder whose network makes the mean of red, green and blue."""
    network = image_networks.Network(
        version, SIDE, 3, "0", 4, call or (lambda all: all.mean(axis=(1, 2), dtype=np.float32)), id
    )
    return ImageEncoder(version, version, SIDE, 3 + len(image_statistics.NAMES), network)


@pytest.fixture
def post(given, folder):
    """Return a function that gives posts a picture each, of their own red."""

    def make(*posts: int, known_from: date = AS_OF, uri: str = "", **columns: object) -> None:
        for number in posts:
            name = uri or f"{number}.png"
            (folder / name).write_bytes(flat(Image.new("RGB", (9, 7), (number, 0, 200))))
            given("raw.post_image", post_id=number, uri=name, known_from=known_from, **columns)

    return make


KEPT = "select post_id, uri, embedding[1] from feature.post_image_embedding order by 1, 2"
REFUSED = "select post_id, uri, reason, as_of from quarantine.post_picture order by 1, 2"


def test_bad_pictures_step_aside_and_the_night_goes_on(warehouse, given, post, folder, read):
    post(1, 200)
    outside = folder.parent / "outside.png"
    outside.write_bytes(flat(photo()))
    (folder / "link.png").symlink_to(outside)
    os.mkfifo(folder / "pipe.jpg")
    wanted = {name: reason for name, (_, reason) in BAD.items()}
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    wanted |= {
        "missing.jpg": decoding.NO_FILE,
        str(outside): decoding.OUTSIDE,
        "link.png": decoding.OUTSIDE,
        "pipe.jpg": decoding.NOT_A_FILE,
        "https://example.com/1.jpg": "https: addresses are not fetched; only folders are read",
        f"data:image/png;base64,{os.urandom(20_000).hex()}": (
            "data: addresses are not fetched; only folders are read"
        ),
    }
    for number, uri in enumerate(wanted, 10):
        given("raw.post_image", post_id=number, uri=uri, known_from=AS_OF)
    # Posts without a picture are normal, in each of these ways.
    given("raw.post_text_df", post_id=300, text="words", topic="food", known_from=AS_OF)
    given("raw.post_image", post_id=301, uri=None, known_from=AS_OF)
    given("raw.post_image", post_id=302, uri="", known_from=AS_OF)

    done = embed_new(warehouse, AS_OF, means())

    assert done == Embedded(known=0, embedded=2, refused=len(wanted))
    assert read(KEPT) == [(1, "1.png", 1), (200, "200.png", 200)]
    assert read(REFUSED) == [
        (number, uri, reason, AS_OF) for number, (uri, reason) in enumerate(wanted.items(), 10)
    ]
    found = vectors(warehouse, AS_OF, "means")
    assert found["post_id"].tolist() == [1, 200]
    again = embed_new(warehouse, NEXT, means())
    passing = sum(reason in decoding.MAY_PASS for reason in wanted.values())
    assert again == Embedded(known=2, embedded=0, refused=passing)
    assert read("select count(*), max(as_of) from quarantine.post_picture") == [
        (len(wanted), AS_OF)
    ]


def test_a_second_night_embeds_only_what_is_new(warehouse, post, read, monkeypatch):
    post(*range(1, 11))
    assert embed_new(warehouse, AS_OF, means()) == Embedded(0, 10, 0)
    before = read("select post_id, ctid from feature.post_image_embedding")
    post(11, 12, known_from=NEXT)
    looked = []

    def watched(uri: str, *rest: object) -> np.ndarray:
        looked.append(uri)
        return opened(uri, *rest)

    monkeypatch.setattr(decoding, "opened", watched)

    assert embed_new(warehouse, AS_OF, means()) == Embedded(10, 0, 0)
    assert embed_new(warehouse, NEXT, means()) == Embedded(10, 2, 0)

    assert looked == ["11.png", "12.png"]
    assert set(before) < set(read("select post_id, ctid from feature.post_image_embedding"))
    assert read("select known_from, count(*) from feature.post_image_embedding group by 1") == [
        (AS_OF, 10),
        (NEXT, 2),
    ]


def test_a_missing_picture_is_tried_again_a_broken_one_is_not(warehouse, given, post, folder, read):
    (folder / "broken.png").write_bytes(b"no picture at all")
    (folder / "late.png").write_bytes(b"")
    for number, uri in enumerate(("broken.png", "late.png", "missing.png"), 1):
        given("raw.post_image", post_id=number, uri=uri, known_from=AS_OF)
    assert embed_new(warehouse, AS_OF, means()) == Embedded(0, 0, 3)
    for name in ("broken.png", "missing.png"):
        (folder / name).write_bytes(flat(Image.new("RGB", (4, 4), RED)))
    (folder / "late.png").write_bytes(b"half of it")

    assert embed_new(warehouse, NEXT, means()) == Embedded(0, 1, 1)

    assert read(KEPT) == [(3, "missing.png", 255)]
    assert read(REFUSED) == [
        (1, "broken.png", decoding.NOT_A_PICTURE, AS_OF),
        (2, "late.png", decoding.NOT_A_PICTURE, NEXT),
    ]
    with warehouse.begin() as connection:
        connection.execute(text("delete from quarantine.post_picture where post_id = 1"))
    assert embed_new(warehouse, NEXT, means()) == Embedded(1, 1, 0)


class Killed(BaseException):
    """What no code of ours catches."""


def test_a_run_killed_in_the_middle_goes_on_where_it_stopped(warehouse, post, read, monkeypatch):
    post(*range(1, 11))
    monkeypatch.setattr(embedding, "MOST_PICTURES", 4)
    calls = []

    def die_in_the_third(pictures: np.ndarray) -> np.ndarray:
        calls.append(len(pictures))
        if len(calls) == 3:
            raise Killed
        return pictures.mean(axis=(1, 2), dtype=np.float32)

    with pytest.raises(Killed):
        embed_new(warehouse, AS_OF, means(call=die_in_the_third))

    assert read("select count(*) from feature.post_image_embedding") == [(8,)]
    assert embed_new(warehouse, AS_OF, means()) == Embedded(8, 2, 0)
    assert [row[2] for row in read(KEPT)] == list(range(1, 11))


def test_no_more_than_a_block_is_in_memory(warehouse, post, monkeypatch):
    post(*range(1, 11))
    monkeypatch.setattr(embedding, "BLOCK_BYTES", 3 * SIDE * SIDE * 3)
    held = []
    encoder = means()
    monkeypatch.setattr(
        ImageEncoder,
        "embed",
        lambda self, pictures: held.append(len(pictures)) or np.zeros((len(pictures), 13)),
    )

    embed_new(warehouse, AS_OF, encoder)

    assert held == [3, 3, 3, 1]


def test_two_runs_at_once_keep_every_picture_once(warehouse, given, post, read, monkeypatch):
    post(*range(1, 31))
    for number in range(31, 41):
        given("raw.post_image", post_id=number, uri="missing.png", known_from=AS_OF)
    monkeypatch.setattr(embedding, "MOST_PICTURES", 4)
    both = threading.Barrier(2)

    def run(_: int) -> Embedded:
        both.wait()
        return embed_new(warehouse, AS_OF, means())

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(run, range(2)))

    assert sum(each.embedded for each in done) >= 30
    assert [row[0] for row in read(KEPT)] == list(range(1, 31))
    assert [row[0] for row in read(REFUSED)] == list(range(31, 41))


def test_encoders_are_kept_apart(warehouse, post, read):
    post(1, 2)
    embed_new(warehouse, AS_OF, means("first"))
    post(3, known_from=NEXT)

    done = embed_new(
        warehouse, NEXT, means("second", lambda all: all.max(axis=(1, 2)).astype(np.float32) / 2)
    )

    assert done == Embedded(0, 3, 0)
    assert vectors(warehouse, NEXT, "first")["post_id"].tolist() == [1, 2]
    second = vectors(warehouse, NEXT, "second")
    assert second["post_id"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(np.stack(second["vector"])[:, 0], [0.5, 1, 1.5])
    assert vectors(warehouse, NEXT, "third").empty


def test_vectors_are_of_pictures_known_by_then_bit_by_bit(warehouse, post, read):
    post(1)
    post(2, known_to=NEXT)
    post(2, uri="new.png", known_from=NEXT)
    post(3, known_from=NEXT)
    odd = np.array([0.1, 1 / 3, np.pi], np.float32)
    encoder = means(call=lambda all: np.broadcast_to(odd, (len(all), 3)))

    assert embed_new(warehouse, AS_OF, encoder) == Embedded(0, 2, 0)
    assert embed_new(warehouse, NEXT, encoder) == Embedded(1, 2, 0)

    first, second = (vectors(warehouse, day, "means") for day in (AS_OF, NEXT))
    assert first[["post_id", "uri"]].values.tolist() == [[1, "1.png"], [2, "2.png"]]
    assert second[["post_id", "uri"]].values.tolist() == [
        [1, "1.png"],
        [2, "2.png"],
        [2, "new.png"],
        [3, "3.png"],
    ]
    made = np.stack(second["vector"])
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made[:, :3], np.broadcast_to(odd, (4, 3)))
    assert vectors(warehouse, date(2026, 2, 28), "means").columns.tolist() == [
        "post_id",
        "uri",
        "vector",
    ]


def test_without_roots_every_picture_waits_for_the_setting(warehouse, post, read, monkeypatch):
    post(1, 2)
    told = os.environ[decoding.SETTING]
    monkeypatch.setenv(decoding.SETTING, "")
    assert embed_new(warehouse, AS_OF, means()) == Embedded(0, 0, 2)
    assert {row[2] for row in read(REFUSED)} == {decoding.NO_ROOTS}

    monkeypatch.setenv(decoding.SETTING, told)

    assert embed_new(warehouse, AS_OF, means()) == Embedded(0, 2, 0)
    assert read(REFUSED) == []
