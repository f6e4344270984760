"""Encoders of pictures: any Keras application or TFLite file, the same numbers every time."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from test_post_pictures import SIDE, WHITE, photo

from jobs.post_conversion import image_encoders, image_networks, image_statistics, image_tflite
from jobs.post_conversion.decoding import opened, resized
from jobs.settings import ROOT, BadSetting

KIND = {"weights": image_networks.WEIGHTS_SETTING, "side": image_networks.SIDE_SETTING}
KIND |= {"encoder": image_networks.ENCODER_SETTING}


@pytest.fixture
def configure(monkeypatch):
    """Return a function that sets encoder, weights and side, and nothing else."""

    def set_only(**values: object) -> None:
        for kind, name in KIND.items():
            monkeypatch.delenv(name, raising=False)
            if kind in values:
                monkeypatch.setenv(name, str(values[kind]))

    return set_only


def noise(count: int, side: int = SIDE) -> np.ndarray:
    return np.stack([resized(np.asarray(photo(seed)), side) for seed in range(count)])


@pytest.mark.parametrize("application", ["MobileNetV3Small", "ResNet50", "VGG16"])
def test_a_picture_is_the_same_numbers_in_any_company(configure, application):
    configure(encoder=application, weights="random", side=SIDE)
    encoder = image_encoders.configured()
    pictures = noise(image_networks.BATCH * 2 + 3)

    made = encoder.embed(pictures)

    assert (made.shape, made.dtype) == ((len(pictures), encoder.dimensions), np.float32)
    np.testing.assert_array_equal(encoder.embed(pictures), made)
    np.testing.assert_array_equal(encoder.embed(pictures[5:6]), made[5:6])
    np.testing.assert_array_equal(encoder.embed(pictures[::-1]), made[::-1])
    others = np.zeros_like(pictures)
    others[9] = pictures[9]
    np.testing.assert_array_equal(encoder.embed(others)[9], made[9])
    assert encoder.embed(pictures[:0]).shape == (0, encoder.dimensions)
    assert len(np.unique(made, axis=0)) == len(pictures)
    # A random network's numbers would be as small as 1e-9 by themselves.
    assert 0.01 < made[:, : encoder.network.dimensions].std(axis=0).mean() < 10


def test_an_encoder_asks_for_its_own_size(configure):
    configure(weights="random", side=SIDE)
    encoder = image_encoders.configured()

    with pytest.raises(ValueError, match=r"got uint8 of \(1, 64, 64, 3\); expected uint8"):
        encoder.embed(noise(1, 64))
    with pytest.raises(ValueError, match="got float64"):
        encoder.embed(noise(1).astype(float))


ELSEWHERE = """
import hashlib, sys
sys.path.insert(0, "tests")
from test_post_encoders import noise
from jobs.post_conversion.image_encoders import configured
encoder = configured()
print(encoder.version, hashlib.sha256(encoder.embed(noise(5)).tobytes()).hexdigest())
"""


def test_random_weights_are_the_same_in_every_process(configure):
    configure(weights="random", side=SIDE)
    here = image_encoders.configured()

    said = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()

    assert said == [here.version, hashlib.sha256(here.embed(noise(5)).tobytes()).hexdigest()]
    assert here.version.startswith("MobileNetV3Small-32-")
    assert here.name == "MobileNetV3Small at 32 pixels, random weights"
    assert here.dimensions == 576 + len(image_statistics.NAMES)


def test_each_application_gets_its_pictures_as_it_was_trained():
    black = np.zeros((1, 2, 2, 3), np.float32)

    def first(application: str) -> list[float]:
        prepare = image_networks.applications()[application]
        return np.asarray(prepare(black.copy()))[0, 0, 0].tolist()

    assert first("MobileNetV3Small") == first("EfficientNetB0") == [0, 0, 0]
    assert first("MobileNetV2") == first("ResNet50V2") == [-1, -1, -1]
    # Blue, green, red, each less its mean over ImageNet.
    for application in ("VGG16", "VGG19", "ResNet50", "ResNet152"):
        np.testing.assert_allclose(first(application), [-103.939, -116.779, -123.68], rtol=1e-6)
    np.testing.assert_allclose(first("DenseNet121"), [-2.1179, -2.0357, -1.8044], rtol=1e-4)
    assert len(image_networks.applications()) >= 40


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, Path]:
    """Return files with the same weights of MobileNetV3Small, by their kind."""
    made = tmp_path_factory.mktemp("weights")
    model = image_networks._built("MobileNetV3Small", SIDE)
    files = {kind: made / f"own{kind}" for kind in (".weights.h5", ".h5", ".keras")}
    model.save_weights(files[".weights.h5"])
    model.save(files[".h5"])
    model.save(files[".keras"])
    other = image_networks._built("MobileNetV3Large", SIDE)
    files["other"] = made / "other.weights.h5"
    other.save_weights(files["other"])
    files["nan"] = made / "nan.weights.h5"
    first, *rest = model.get_weights()
    model.set_weights([first * np.where(first == first.max(), np.nan, 1), *rest])
    model.save_weights(files["nan"])
    return files


def test_weights_of_a_file_are_used_whatever_its_kind(configure, weights):
    found = {}
    for kind in (".weights.h5", ".h5", ".keras"):
        configure(weights=weights[kind], side=SIDE)
        found[kind] = image_encoders.configured()

    first, *others = found.values()
    for other in others:
        assert other.version == first.version
        np.testing.assert_array_equal(other.embed(noise(3)), first.embed(noise(3)))
    configure(weights="random", side=SIDE)
    assert image_encoders.configured().version != first.version


def test_weights_by_name_are_fetched_by_keras(configure, weights, monkeypatch):
    from keras.src.utils import file_utils

    image_networks.pretrained.cache_clear()
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(weights[".h5"]))
    configure(side=SIDE)
    named = image_encoders.configured()
    image_networks.pretrained.cache_clear()

    configure(weights=weights[".h5"], side=SIDE)

    assert named.name == "MobileNetV3Small at 32 pixels, imagenet weights"
    assert named.version == image_encoders.configured().version


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": "vgg16"}, "ENCODER is 'vgg16'; expected the path of a .tflite file, or a Ker"),
        ({"encoder": "x.tflite"}, "ENCODER is 'x.tflite', and there is no such file"),
        ({"side": "big"}, "SIDE is 'big'; expected pixels, 32 to 1024"),
        ({"side": "-96"}, "SIDE is '-96'; expected pixels, 32 to 1024"),
        ({"side": "5000"}, "SIDE is '5000'; expected pixels, 32 to 1024"),
        (
            {"encoder": "InceptionV3", "side": 64, "weights": "random"},
            "SIDE is 64, which InceptionV3 can't take: .*at least 75x75",
        ),
        (
            {"encoder": "InceptionV3", "side": 64},
            "SIDE is 64, which InceptionV3 can't take: .*at least 75x75",
        ),
        ({"weights": "imagenet1k"}, "WEIGHTS is 'imagenet1k'; expected 'imagenet', 'random', or"),
        ({"weights": "x.weights.h5"}, "WEIGHTS is 'x.weights.h5'; expected 'imagenet', 'random'"),
        (
            {},
            "WEIGHTS is 'imagenet', and the weights of MobileNetV3Small can't be downloaded here: "
            "URL fetch failure.* Set it to a file with weights .*, or to 'random'",
        ),
        ({"weights": "{other}"}, "WEIGHTS is '.*other.weights.h5', which holds no weights of Mob"),
        ({"weights": "{broken}"}, "WEIGHTS is '.*broken.h5', which holds no weights of MobileNetV"),
        ({"weights": "{nan}"}, "makes NaN or infinity of plain pictures"),
        ({"encoder": "{lite}"}, "ENCODER: .*broken.tflite can't encode pictures: it can't be load"),
    ],
)
def test_a_bad_setting_is_said_with_what_to_do(
    configure, weights, tmp_path, monkeypatch, values, message
):
    from keras.src.utils import file_utils

    def no_network(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on https://...: None -- Name or service not known")

    broken, lite = tmp_path / "broken.h5", tmp_path / "broken.tflite"
    for path in (broken, lite):
        path.write_bytes(b"no weights at all")
    files = {"other": weights["other"], "nan": weights["nan"], "broken": broken, "lite": lite}
    monkeypatch.setattr(file_utils, "get_file", no_network)
    image_networks.pretrained.cache_clear()
    configure(**{"side": SIDE} | {kind: str(v).format(**files) for kind, v in values.items()})
    if "encoder" in values and "lite" in values["encoder"]:
        monkeypatch.delenv(KIND["side"])

    with pytest.raises(BadSetting, match=f"NIGHTSHIFT_IMAGE_.*{message}"):
        image_encoders.configured()


@pytest.mark.parametrize("application", ["MobileNetV3Small", "InceptionV3"])
def test_a_version_ships_its_encoder(configure, tmp_path, application):
    configure(encoder=application, weights="random", side=96)
    encoder = image_encoders.configured()
    made = encoder.embed(noise(3, 96))

    image_encoders.save(encoder, tmp_path)
    configure(encoder="neither this", weights="nor that")
    loaded = image_encoders.load(tmp_path)

    assert loaded == encoder
    assert loaded.network is not encoder.network
    np.testing.assert_array_equal(loaded.embed(noise(3, 96)), made)
    assert image_encoders.load(tmp_path).network is loaded.network


def lite(path: Path, kind: str = "float") -> Path:
    """Write a network that makes the mean of red, green and blue, in one of several ways."""
    import tensorflow as tf

    high, wide = (4, 8) if kind == "flat" else (16, 16)
    inputs = tf.keras.Input((high, wide, 3), batch_size=1)
    pool = tf.keras.layers.AveragePooling2D(4) if kind == "map" else None
    made = (pool or tf.keras.layers.GlobalAveragePooling2D())(inputs)
    outputs = [made, made * 2] if kind == "two" else made
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(inputs, outputs))
    if kind in ("uint8", "int8"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [np.full((1, high, wide, 3), level, np.float32)] for level in (-1, 0, 1)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    path.write_bytes(converter.convert())
    return path


@pytest.mark.parametrize("kind", ["float", "map", "uint8", "int8"])
def test_a_tflite_network_is_asked_in_its_own_numbers(configure, tmp_path, kind):
    configure(encoder=lite(tmp_path / "means.tflite", kind))
    encoder = image_encoders.configured()
    pictures = np.zeros((3, 16, 16, 3), np.uint8)
    pictures[1], pictures[2, :8] = (255, 128, 0), (255, 255, 255)

    made = encoder.embed(pictures)

    wanted = [[-1, -1, -1], [1, 0, -1], [0, 0, 0]]
    np.testing.assert_allclose(made[:, :3], wanted, atol=0.02)
    np.testing.assert_array_equal(encoder.embed(pictures[1:2]), made[1:2])
    assert encoder.version.startswith("means-16-")
    assert encoder.name == "means.tflite at 16 pixels"
    assert encoder.dimensions == 3 + len(image_statistics.NAMES)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("two", {}, "it has 1 inputs and 2 outputs; expected 1 each"),
        ("flat", {}, r"it takes \[1, 4, 8, 3\]; expected \[1, side, side, 3\]"),
        ("float", {"weights": "x.h5"}, "WEIGHTS is 'x.h5', but .* brings its own weights; un"),
        ("float", {"side": 96}, "SIDE is 96, but .* takes pictures of 16 x 16 pixels only; unset"),
    ],
)
def test_a_tflite_file_that_does_not_fit_is_a_bad_setting(
    configure, tmp_path, kind, values, message
):
    configure(encoder=lite(tmp_path / "means.tflite", kind), **values)

    with pytest.raises(BadSetting, match=f"NIGHTSHIFT_IMAGE_.*{message}"):
        image_encoders.configured()


def test_statistics_say_what_the_eye_sees():
    plain = np.zeros((6, 16, 16, 3), np.uint8)
    plain[1], plain[2], plain[3], plain[4] = WHITE, (255, 128, 0), (0, 128, 255), (100, 100, 100)
    plain[5, :, ::2] = WHITE

    made = image_statistics.statistics(plain)
    by_name = dict(zip(image_statistics.NAMES, made.T, strict=True))

    assert made.dtype == np.float32
    np.testing.assert_allclose(by_name["lightness"], [0, 1, 0.602, 0.406, 0.392, 0.5], atol=0.01)
    np.testing.assert_allclose(by_name["contrast"], [0, 0, 0, 0, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(by_name["lightness_range"], [0, 0, 0, 0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(by_name["dark_share"], [1, 0, 0, 0, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(by_name["bright_share"], [0, 1, 0, 0, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(by_name["saturation"], [0, 0, 1, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(by_name["warmth"], [0, 0, 1, -1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(by_name["edge_share"], [0, 0, 0, 0, 0, 1], atol=1e-6)
    assert (by_name["colourfulness"][[2, 3]] > 0.2).all()
    assert (by_name["colourfulness"][[0, 1, 4, 5]] == 0).all()
    np.testing.assert_array_equal(image_statistics.statistics(plain[2:3]), made[2:3])
    assert image_statistics.statistics(plain[:0]).shape == (0, len(image_statistics.NAMES))


# Real weights and photos --------------------------------------------------------------------------


@pytest.fixture
def real() -> Path:
    folder = Path(os.environ.get("NIGHTSHIFT_DATA", "/nowhere")) / "images"
    if not folder.is_dir():
        pytest.skip("real data: NIGHTSHIFT_DATA names no folder with images/")
    return folder


def alike(path: Path, count: int, seed: int, side: int) -> np.ndarray:
    """Return versions of a photo: cut, mirrored, tinted, lighter or darker."""
    random = np.random.default_rng(seed)
    image = Image.open(path).convert("RGB")
    made = []
    for turn in range(count):
        wide, high = (int(length * random.uniform(0.6, 0.95)) for length in image.size)
        left = random.integers(image.width - wide + 1)
        top = random.integers(image.height - high + 1)
        cut = image.crop((left, top, left + wide, top + high))
        cut = ImageOps.mirror(cut) if turn % 2 else cut
        cut = ImageEnhance.Color(cut).enhance(random.uniform(0.3, 1.7))
        cut = ImageEnhance.Brightness(cut).enhance(random.uniform(0.6, 1.4))
        tinted = np.asarray(cut) * random.uniform(0.8, 1.2, 3)
        made.append(resized(np.clip(tinted, 0, 255).astype(np.uint8), side))
    return np.stack(made)


def test_versions_of_a_photo_are_nearer_to_it_than_to_others(configure, real):
    configure(encoder=real / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite")
    encoder = image_encoders.configured()
    photos = sorted(real.glob("*.jpg"))
    assert len(photos) == 4
    count = 8
    pictures = np.concatenate(
        [alike(path, count, seed, encoder.side) for seed, path in enumerate(photos)]
    )

    made = encoder.embed(pictures)[:, : encoder.network.dimensions]

    assert encoder.dimensions == 1024 + len(image_statistics.NAMES)
    unit = made / np.linalg.norm(made, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, np.nan)
    own = np.repeat(np.arange(len(photos)), count)
    by_photo = np.stack([np.nanmean(near[:, own == each], axis=1) for each in range(4)], axis=1)
    assert (by_photo.argmax(axis=1) == own).all()
    np.fill_diagonal(near, -1)
    assert (own[near.argmax(axis=1)] == own).all()
    np.testing.assert_array_equal(encoder.embed(pictures[3:4])[:, :1024], made[3:4])


def test_a_version_ships_real_weights(configure, real, tmp_path):
    configure(encoder=real / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite")
    encoder = image_encoders.configured()
    pictures = resized(opened("owl.jpg", [real], encoder.side), encoder.side)[None]

    image_encoders.save(encoder, tmp_path)
    loaded = image_encoders.load(tmp_path)
    (tmp_path / image_tflite.FILE).unlink()
    image_encoders.save(loaded, tmp_path)

    assert loaded == encoder == image_encoders.load(tmp_path)
    np.testing.assert_array_equal(loaded.embed(pictures), encoder.embed(pictures))
