"""The simulated pictures: of all kinds, the same everywhere, and only likes follow their appeal."""

import hashlib
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import date
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from jobs import settings
from jobs.simulate.clock import DAY_US, concatenate
from jobs.simulate.social import feed, images, truth
from jobs.simulate.social.feed import COMMENT, HIDE, LIKE, RARE, SHARE, VIEW
from jobs.simulate.social.likes import PICTURE_WEIGHT, chance, logit, pictured
from jobs.simulate.social.plan import plan
from jobs.simulate.social.world import FIRST_POST_ID, FIRST_USER_ID, World

START = date(2025, 12, 1)
DAYS = 60
DAY = date(2026, 1, 20)
SOME = 400


@cache
def world() -> World:
    return plan(7, 6_000, START, 91)


@cache
def with_pictures() -> np.ndarray:
    return np.flatnonzero(world().picture)


@cache
def drawn() -> dict[int, bytes]:
    """Return the files of the first posts with pictures."""
    return {post: images.draw(world(), post) for post in with_pictures()[:SOME].tolist()}


@cache
def views() -> pd.DataFrame:
    """Return the views of many days with what came of them, and the chances they had."""
    days = [feed.play(world(), world().start + day).events for day in range(DAYS)]
    events = pd.DataFrame(concatenate(days))
    found = events[events["action"] == VIEW].reset_index(drop=True)
    user, post, at = (found[name].to_numpy() for name in ("user", "post", "at"))
    day = found["at"] // DAY_US
    for action in (LIKE, *RARE):
        of = events[events["action"] == action]
        # a post is viewed once a day; what follows the view may fall on the day after
        lag = pd.concat([of["at"] // DAY_US - back for back in (0, 1)])
        key = pd.MultiIndex.from_arrays([[*of["user"]] * 2, [*of["post"]] * 2, lag])
        views_of = pd.MultiIndex.from_arrays([user, post, day])
        found[feed.ACTIONS[action]] = views_of.isin(key)
    found["like"] = found["target"] == 1
    plain = logit(world(), user, post, at)
    found["appeal"] = world().picture_appeal[post]
    found["chance_like"] = chance(plain + pictured(world(), post))
    liked = chance(plain)
    for action in RARE:
        yes, no = (feed.rare_chance(world(), action, post, np.full(len(post), x)) for x in (1, 0))
        found[f"chance_{feed.ACTIONS[action]}"] = liked * yes + (1 - liked) * no
    return found


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ---- the files


def test_a_picture_has_the_same_bytes_in_whatever_order_it_is_asked_for():
    some = list(drawn())[:60]

    again = {post: images.draw(world(), post) for post in reversed(some)}
    longer = plan(7, 6_000, START, 200)
    other = plan(8, 6_000, START, 91)

    assert all(again[post] == drawn()[post] for post in some)
    assert all(images.draw(longer, post) == drawn()[post] for post in some[:10])
    assert images.draw(other, some[0]) != drawn()[some[0]]
    assert len({checksum(content) for content in drawn().values()}) == SOME


def test_pictures_are_of_all_formats_modes_sizes_and_orientations():
    kinds, sides, shapes, turned = Counter(), [], Counter(), Counter()

    for post, content in drawn().items():
        image = Image.open(BytesIO(content))
        image.load()
        kinds[image.format, image.mode] += 1
        suffix = images.SUFFIX[image.format]
        assert images.uri(world(), post) == f"images/{FIRST_POST_ID + post}.{suffix}"
        turned[image.getexif().get(images.ORIENTATION)] += 1
        width, height = ImageOps.exif_transpose(image).size
        sides.append(max(width, height))
        shapes[(width > height) - (width < height)] += 1
        assert min(width, height) >= 360
        if image.mode == "RGBA":
            assert image.getchannel("A").getextrema() == (0, 255)

    for kind, share in images.KINDS:
        assert kinds[kind] / SOME == pytest.approx(share, abs=0.08), kind
        assert kinds[kind] > 0
    assert set(sides) == set(images.LONG_SIDES)
    assert set(turned) == {None, 3, 6, 8}
    assert min(shapes[which] for which in (-1, 0, 1)) > 0.08 * SOME


def test_what_pictures_show_goes_with_their_appeal_and_no_number_tells_all():
    found = []
    for post, content in drawn().items():
        image = ImageOps.exif_transpose(Image.open(BytesIO(content))).convert("RGB")
        pixels = np.asarray(image.resize((48, 48), Image.Resampling.BOX), dtype=float) / 255
        red, blue = pixels[..., 0], pixels[..., 2]
        spread = pixels.max(axis=2) - pixels.min(axis=2)
        appeal = world().picture_appeal[post]
        found.append([appeal, (red - blue).mean(), pixels.mean(), spread.mean()])

    warmth, brightness, vividness = np.corrcoef(np.transpose(found))[0, 1:]

    assert 0.55 < warmth < 0.8
    assert 0.45 < brightness < 0.75
    assert 0.4 < vividness < 0.8


# ---- the folder


def test_pictures_that_are_there_are_not_drawn_again(tmp_path):
    some = list(drawn())[:12]

    assert images.write(world(), some[:8], tmp_path) == 8
    stays = tmp_path / images.uri(world(), some[0])
    written = stays.stat().st_mtime_ns
    assert images.write(world(), some, tmp_path) == 4

    assert stays.stat().st_mtime_ns == written
    for post in some:
        assert (tmp_path / images.uri(world(), post)).read_bytes() == drawn()[post]


def test_the_pictures_of_another_feed_are_not_taken_for_this_ones(tmp_path):
    images.write(world(), [], tmp_path)

    with pytest.raises(ValueError, match=r"holds seed 7, 6000 users .* asked for seed 8, 60 users"):
        images.write(plan(8, 60, START, 3), [], tmp_path)


def test_a_kill_leaves_whole_files_and_the_next_call_the_others(tmp_path):
    posts = list(drawn())[:150]
    script = (
        "from datetime import date; from pathlib import Path\n"
        "from jobs.simulate.social import images; from jobs.simulate.social.plan import plan\n"
        f"world = plan(7, 6_000, date({START.year}, {START.month}, {START.day}), 91)\n"
        f"images.write(world, {posts}, Path({str(tmp_path)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=settings.ROOT) as drawing:
        deadline = time.monotonic() + 120
        while len(pictures(tmp_path)) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        drawing.send_signal(signal.SIGKILL)

    by_the_kill = pictures(tmp_path)
    images.write(world(), posts, tmp_path)

    assert drawing.returncode == -signal.SIGKILL
    assert 20 <= len(by_the_kill) < 150
    expected = {images.uri(world(), post): checksum(drawn()[post]) for post in posts}
    assert by_the_kill.items() <= expected.items()
    assert pictures(tmp_path) == expected
    assert not list(tmp_path.rglob("*.new"))


def pictures(folder: Path) -> dict[str, str]:
    """Return the checksum of each picture in a folder, by its uri."""
    return {
        f"images/{path.name}": checksum(path.read_bytes())
        for path in (folder / "images").glob("*")
        if path.suffix[1:] in images.SUFFIX.values()
    }


# ---- the planted effect


def test_appeal_moves_the_logit_of_a_like_about_as_much_as_quality():
    planned, pictured_posts = world(), with_pictures()
    ids = FIRST_POST_ID + np.arange(len(planned.published))

    appeal = truth.picture_appeal(planned, ids)

    assert (appeal[~planned.picture] == 0).all()
    assert -1 <= appeal.min() < -0.95
    assert 0.95 < appeal.max() <= 1
    effect = PICTURE_WEIGHT * appeal[pictured_posts]
    assert effect.std() / planned.quality.std() == pytest.approx(0.97, abs=0.1)
    # no other trait of a post goes with it
    others = [planned.quality, planned.words, planned.english, *planned.factors.T]
    for other in others:
        error = 4 / np.sqrt(len(pictured_posts))
        assert abs(np.corrcoef(appeal[pictured_posts], other[pictured_posts])[0, 1]) < error
    longer = plan(7, 6_000, START, 200)
    assert (longer.picture_appeal[: len(appeal)] == planned.picture_appeal).all()
    with pytest.raises(ValueError, match="the world has 1 to"):
        truth.picture_appeal(planned, np.array([0]))


def test_a_day_without_pictures_differs_in_likes_alone():
    number = world().start + 40
    nothing = np.zeros_like(world().picture)
    bare = replace(world(), picture=nothing, picture_appeal=nothing.astype(np.float32))

    with_, without = (pd.DataFrame(feed.play(of, number).events) for of in (world(), bare))

    for action in (VIEW, SHARE, COMMENT, HIDE):
        one, two = (
            of.loc[of["action"] == action, ["at", "user", "post"]].reset_index(drop=True)
            for of in (with_, without)
        )
        assert len(one) > 50
        pd.testing.assert_frame_equal(one, two)
    pairs = [of[of["action"] == LIKE].set_index(["user", "post"]).index for of in (with_, without)]
    assert len(pairs[0].symmetric_difference(pairs[1])) > 100


def test_the_true_rates_of_likes_follow_appeal_and_of_other_actions_not_at_all():
    planned = world()
    ids = truth.available(planned, DAY)
    users = FIRST_USER_ID + np.arange(0, 5_000, 7)

    for who in (None, users):
        with_, without = (truth.rates(planned, DAY, ids, shown, who) for shown in (True, False))
        assert list(with_) == ["post_id", "like", "share", "comment", "hide"]
        assert with_["post_id"].tolist() == ids.tolist()
        for name in ("share", "comment", "hide"):
            assert (with_[name] == without[name]).all()
            assert with_[name].between(0.0001, 0.1).all()
        appeal = truth.picture_appeal(planned, ids)
        high, low = appeal > 0.5, appeal < -0.5
        lift = with_["like"] / without["like"]
        assert lift[high].min() > 1.2 > 1 > lift[low].max()
        assert (lift[appeal == 0] == 1).all()
    # of the views of users they are the mean; what can't be seen has none
    by_pair = truth.expected_likes(planned, DAY, users, np.tile(ids, (len(users), 1)), 12)
    assert np.allclose(with_["like"], by_pair.mean(axis=0), atol=1e-6)
    gone = FIRST_POST_ID + np.flatnonzero(planned.published > (planned.start + 60) * DAY_US)[:3]
    for who in (None, users):
        assert (truth.rates(planned, DAY, gone, True, who).drop(columns="post_id") == 0).all(None)


def test_counts_are_those_of_the_chances_for_high_and_for_low_appeal():
    found = views()
    high, low = found["appeal"] > 0.4, found["appeal"] < -0.4

    for action in ("like", "share", "comment", "hide"):
        chances = found[f"chance_{action}"]
        for which in (high, low, ~high & ~low):
            error = np.sqrt((chances * (1 - chances))[which].sum())
            assert abs(found[action][which].sum() - chances[which].sum()) < 4 * error, action
    assert found[high]["like"].mean() > 1.4 * found[low]["like"].mean()


def test_views_alike_but_for_their_picture_differ_in_likes_and_not_in_shares():
    found = views()
    # each post's rates beside what its words, quality and viewers alone would bring
    plain = chance(logit(world(), *(found[name].to_numpy() for name in ("user", "post", "at"))))
    by_post = found.assign(plain=plain).groupby("post").sum(numeric_only=True)
    size = found.groupby("post").size()
    some = by_post.index[(size > 100) & world().picture[by_post.index]]
    appeal = world().picture_appeal[some]

    def slope(action: str, expected: str) -> tuple[float, float]:
        """Return how the log of the rate goes with appeal, and its standard error."""
        usual = by_post.loc[some, expected]
        excess = by_post.loc[some, action] / usual - 1
        spread = usual / usual.sum()
        center = appeal - (spread * appeal).sum()
        information = (usual * center**2).sum()
        return (usual * center * excess).sum() / information, 1 / np.sqrt(information)

    liked, error = slope("like", "plain")
    assert 0.3 < liked < PICTURE_WEIGHT + 4 * error
    for action in ("share", "comment", "hide"):
        found_slope, error = slope(action, f"chance_{action}")
        assert error < 0.1
        assert abs(found_slope) < 4 * error, action


def test_the_pictures_of_a_large_product_are_drawn_within_two_minutes():
    posts = with_pictures()[:100].tolist()

    begun = time.perf_counter()
    for post in posts:
        images.draw(world(), post)
    took = (time.perf_counter() - begun) / len(posts)

    assert took < 0.035  # two minutes for 7,000 posts; .009 s on an idle core
