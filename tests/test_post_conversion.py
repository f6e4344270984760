"""The job on a real Postgres and a real MLflow store: nights, reruns, what must change nothing."""

import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import post_worlds
import pyarrow as pa
import pytest
import transformers
from mlflow import MlflowClient
from PIL import Image
from sqlalchemy import Engine, text

from jobs import champion, evaluation
from jobs.calibration import NothingToLearnFrom
from jobs.checks import CheckFailed
from jobs.post_conversion import (
    boosting,
    hybrid,
    job,
    model,
    pictures,
    reading,
    rows,
    scores,
    slices,
)
from jobs.publish import NothingToPublish
from jobs.settings import BadSetting

DAY = timedelta(days=1)
NIGHT = post_worlds.FIRST_DAY + 80 * DAY
POSTS, DAYS = 360, 90
VERSION, SECOND = (f"post_conversion-{NIGHT}-{n}" for n in (1, 2))
SIDE = 32
INSERT = {
    "raw.post_text_df": "(post_id, text, topic, known_from) values"
    " (:post_id, :text, :topic, :known_from)",
    "raw.post_image": "(post_id, uri, known_from) values (:post_id, :uri, :known_from)",
    "feature.post_life": "(post_id, published_at, viewed, known_from) values"
    " (:post_id, :published_at, true, :known_from)",
    "feature.post_day": "(post_id, event_day, known_from, views, likes, shares, comments, hides,"
    " viewers) values (:post_id, :event_day, :known_from, :views, :likes, :shares, :comments,"
    " :hides, :views)",
}


@pytest.fixture(scope="module")
def drawn() -> pd.DataFrame:
    return post_worlds.draw(POSTS, DAYS)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """Return MLflow's database before anything is logged: making one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def files(drawn, tmp_path_factory):
    """Return a folder of pictures that are the brighter and warmer the more they appeal."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(4)
    for row in drawn[drawn["uri"].notna()].itertuples():
        tone = (
            128 + 90 * row.appeal * np.array([1.0, 0.4, -0.3]) + random.normal(0, 12, (24, 24, 3))
        )
        Image.fromarray(np.clip(tone, 0, 255).astype(np.uint8)).save(folder / row.uri)
    return folder


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch, empty_store, files) -> None:
    """Train as little as shows that it works, and keep models in a store of each test's own."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NIGHTSHIFT_IMAGE_ROOTS", str(files))
    monkeypatch.setenv("NIGHTSHIFT_IMAGE_WEIGHTS", "random")
    monkeypatch.setenv("NIGHTSHIFT_IMAGE_SIDE", str(SIDE))
    monkeypatch.setattr(hybrid, "EPOCHS", 3)
    monkeypatch.setitem(boosting.SETTINGS, "iterations", 40)
    monkeypatch.setattr(evaluation, "RESAMPLES", 200)


@pytest.fixture
def plain(monkeypatch) -> None:
    """No pictures of models, which take longer than the training."""

    def none(folder, *_) -> list:
        folder.mkdir(parents=True, exist_ok=True)
        return []

    monkeypatch.setattr(pictures, "draw", none)


@pytest.fixture
def feed(warehouse, drawn) -> Engine:
    """Fill the warehouse with the posts of DAYS, as if each day had been loaded the night after."""
    posts = [
        {
            "post_id": row.post_id,
            "text": row.text,
            "topic": row.topic,
            "uri": row.uri,
            "published_at": row.published_at,
            "known_from": row.published_at.date() + DAY,
        }
        for row in drawn.itertuples()
    ]
    days = [
        {
            "post_id": row.post_id,
            "event_day": row.published_at.date() + place * DAY,
            "known_from": row.published_at.date() + (place + 1) * DAY,
            "views": int(row.views[place]),
            **{column: int(getattr(row, column)[place]) for column in rows.ACTIONS.values()},
        }
        for row in drawn.itertuples()
        for place in range(len(row.views))
    ]
    with warehouse.begin() as connection:
        for table, told in INSERT.items():
            given = days if table.endswith("post_day") else posts
            if table == "raw.post_image":
                given = [each for each in posts if isinstance(each["uri"], str)]
            connection.execute(text(f"insert into {table} {told}"), given)
        connection.execute(text("analyze"))
    return warehouse


def read(engine: Engine, statement: str, **values: object) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def change(engine: Engine, *statements: str, **values: object) -> None:
    with engine.begin() as connection:
        for each in statements:
            asked = {name: value for name, value in values.items() if f":{name}" in each}
            connection.execute(text(each), asked)


def checksums(engine: Engine) -> list[tuple]:
    return read(
        engine, "select table_name, as_of, checksum from ops.publication order by publication_id"
    )


@pytest.mark.usefixtures("plain")
def test_a_night_publishes_rates_of_every_post_and_action(feed, drawn):
    published = job.run(feed, NIGHT)

    there = drawn[[each.date() < NIGHT for each in drawn["published_at"]]]
    assert published == 4 * len(there)
    found = pd.DataFrame(
        read(
            feed,
            "select post_id, action, predicted_rate, predicted_low, predicted_high, views,"
            " observed_rate, expected_rate, picture_added, model_version from bi.post_conversion",
        ),
        columns=["post_id", "action", "rate", "low", "high", "views", "observed", "expected",
                 "added", "version"],
    )  # fmt: skip
    assert set(found["version"]) == {VERSION}
    assert (found["low"] <= found["rate"]).all()
    assert (found["rate"] <= found["high"]).all()
    between = found[["rate", "observed"]].agg(["min", "max"], axis=1)
    assert (between["min"] - 1e-6 <= found["expected"]).all()
    assert (found["expected"] <= between["max"] + 1e-6).all()
    likes = found[found["action"] == "like"].set_index("post_id")
    truth = drawn.set_index("post_id").loc[likes.index, "like_rate"]
    assert np.corrcoef(likes["rate"], truth)[0, 1] > 0.5
    assert np.abs(likes["expected"] - truth).mean() < np.abs(likes["rate"] - truth).mean()
    kept = read(feed, "select count(*), count(distinct encoder_version) from"
                      " feature.post_image_embedding")  # fmt: skip
    assert kept == [(int(there["uri"].notna().sum()), 1)]


@pytest.mark.usefixtures("plain")
def test_the_experiments_are_kept_and_one_candidate_serves_each_action(feed):
    version = job.train(feed, NIGHT)

    table = read(
        feed,
        "select action, count(*), count(*) filter (where serves),"
        " count(picture_gain) filter (where with_pictures), count(distinct posts)"
        " from bi.post_conversion_experiments group by action order by action",
    )
    assert table == [(action, 14, 1, 6, 1) for action in ("comment", "hide", "like", "share")]
    quality = read(
        feed,
        "select name, metric from bi.model_quality where job = :job and stage = 'gate'"
        " order by name, metric",
        job=job.JOB,
    )
    metrics = sorted([*(f"{action}_log_loss" for action in rows.ACTIONS), "view_log_loss"])
    assert quality == [
        (name, metric) for name in ("global_rate", "model", "topic_rate") for metric in metrics
    ]
    decision, to_version = read(feed, "select decision, to_version from ops.promotion")[0]
    assert (decision, to_version) == ("promote", version)
    shown = read(feed, "select params from ops.model_version where model_version = :v", v=version)
    assert shown[0][0]["picture_version"].startswith("MobileNetV3Small")


@pytest.mark.usefixtures("plain")
def test_twice_is_once_in_any_number_of_parts(feed):
    job.run(feed, NIGHT)
    first = checksums(feed)

    job.run(feed, NIGHT)
    job.run(feed, NIGHT, shards=3)

    assert checksums(feed) == first


@pytest.mark.usefixtures("plain")
def test_what_came_at_and_after_midnight_or_was_known_later_changes_nothing(feed):
    job.run(feed, NIGHT)
    first = checksums(feed)
    said = (
        "select post_id, action, predicted_rate, views, observed_rate, expected_rate,"
        " picture_added from bi.post_conversion"
    )
    before = read(feed, f"{said} order by 1, 2")
    change(
        feed,
        "update feature.post_day set views = views + 900, likes = likes + 800"
        " where event_day >= :night",
        # A late row of a day before: the version of then is closed, another one holds.
        "update feature.post_day set known_to = :late where event_day = :before",
        "insert into feature.post_day select post_id, event_day, :late, 'infinity', views + 500,"
        " likes + 400, shares, comments, hides, viewers, first_view_at from feature.post_day"
        " where event_day = :before and known_to = :late",
        "update raw.post_text_df set known_to = :late where post_id % 3 = 0"
        " and known_from <= :night",
        "insert into raw.post_text_df select post_id, 'другой текст', 'changed', :late, 'infinity'"
        " from raw.post_text_df where known_to = :late",
        "insert into raw.post_image select post_id, 'nowhere.png', :late, 'infinity'"
        " from raw.post_text_df where post_id % 2 = 0 on conflict do nothing",
        night=NIGHT, late=NIGHT + DAY, before=NIGHT - 3 * DAY,
    )  # fmt: skip

    job.run(feed, NIGHT)
    assert checksums(feed) == first
    job.run(feed, NIGHT, retrain=True)

    again = read(feed, f"{said} order by 1, 2")
    assert again == before
    # Trained again, every candidate says what it said: nothing later was learned from either.
    table = "select * from bi.post_conversion_experiments where model_version = :version"
    one, other = (
        sorted(map(str, (row[1:] for row in read(feed, table, version=version))))
        for version in (VERSION, SECOND)
    )
    assert len(one) == 56
    assert one == other


@pytest.mark.usefixtures("plain")
def test_an_edit_within_the_window_is_not_learned_from(feed):
    """A post is learned from as it was the morning after it was published."""
    before = reading.posts(feed, NIGHT, at_publication=True)
    change(
        feed,
        "update raw.post_text_df set known_to = known_from + 2",
        "insert into raw.post_text_df select post_id, 'правка', 'edited', known_from + 2,"
        " 'infinity' from raw.post_text_df",
    )

    after = reading.posts(feed, NIGHT, at_publication=True)
    now = reading.posts(feed, NIGHT, at_publication=False)

    mature = after["mature"]
    assert after.loc[mature, "text"].tolist() == before.loc[mature, "text"].tolist()
    assert set(now.loc[now["mature"], "text"]) == {"правка"}


@pytest.mark.usefixtures("plain")
def test_the_learned_and_the_asked_do_not_share_a_window(feed):
    found = reading.posts(feed, NIGHT, at_publication=True)

    learned, asked = slices.learning_posts(found, NIGHT), slices.gate_posts(found, NIGHT)

    week = rows.WINDOW_DAYS * DAY
    assert max(learned["published_day"]) + week <= min(asked["published_day"])
    assert len(asked) > 40
    # Windows hold seven days and not the ones after, which are there.
    assert (found.loc[found["mature"], "views_all"] >= found.loc[found["mature"], "views"]).all()
    assert (learned["views_all"] > learned["views"]).all()


@pytest.mark.usefixtures("plain")
def test_pictures_that_cannot_be_read_are_set_aside_and_the_night_goes_on(feed, files):
    broken, missing, outside = (post_worlds.FIRST_ID + n for n in (1, 3, 5))
    change(
        feed,
        "update raw.post_image set uri = 'broken.png' where post_id = :broken",
        "update raw.post_image set uri = 'missing.png' where post_id = :missing",
        "update raw.post_image set uri = '../../etc/passwd' where post_id = :outside",
        broken=broken, missing=missing, outside=outside,
    )  # fmt: skip
    (files / "broken.png").write_text("no picture")

    job.run(feed, NIGHT)

    refused = read(feed, "select post_id from quarantine.post_picture order by 1")
    assert refused == [(broken,), (missing,), (outside,)]
    scored = read(
        feed,
        "select count(*), count(picture_added) from bi.post_conversion where post_id = any(:ids)",
        ids=[broken, missing, outside],
    )
    assert scored == [(12, 0)]


@pytest.mark.usefixtures("plain")
def test_posts_without_any_picture_are_normal(feed, monkeypatch):
    change(feed, "delete from raw.post_image")
    monkeypatch.setenv("NIGHTSHIFT_IMAGE_ENCODER", "nothing such")  # nobody asks for it

    assert job.run(feed, NIGHT) > 0

    told = read(feed, "select distinct with_pictures from bi.post_conversion_experiments")
    assert told == [(False,)]


@pytest.mark.usefixtures("plain")
def test_an_action_that_the_source_never_has_is_absent_and_not_zero(feed):
    change(feed, "update feature.post_day set hides = 0")

    job.run(feed, NIGHT)

    told = read(feed, "select distinct action from bi.post_conversion order by 1")
    assert told == [("comment",), ("like",), ("share",)]


@pytest.mark.usefixtures("plain")
def test_the_second_night_embeds_only_what_is_new(feed, monkeypatch):
    job.run(feed, NIGHT)
    embedded = []
    embed_new = job.embedding.embed_new

    def watched(*told):
        embedded.append(embed_new(*told))
        return embedded[-1]

    monkeypatch.setattr(job.embedding, "embed_new", watched)

    job.run(feed, NIGHT + DAY)

    new = read(
        feed,
        "select count(*) from raw.post_image where known_from = :known",
        known=NIGHT + DAY,
    )[0][0]
    assert sum(each.embedded for each in embedded) == new > 0


@pytest.mark.usefixtures("plain")
def test_a_version_goes_on_with_its_own_encoders_when_settings_change(feed, monkeypatch):
    version = job.train(feed, NIGHT)
    monkeypatch.setenv("NIGHTSHIFT_IMAGE_SIDE", "48")

    job.run(feed, NIGHT + DAY, model_version=version)

    kept = read(feed, "select count(distinct encoder_version) from feature.post_image_embedding")
    assert kept == [(1,)]
    assert read(feed, "select distinct model_version from bi.post_conversion") == [(version,)]


@pytest.mark.usefixtures("plain")
def test_what_was_published_is_compared_with_what_came(feed, drawn):
    job.run(feed, NIGHT - 7 * DAY)

    assert job.mature(feed, NIGHT - DAY) == 0
    assert job.mature(feed, NIGHT) == 1

    told = dict(
        read(
            feed,
            "select metric, value from bi.model_quality where stage = 'matured' and job = :job",
            job=job.JOB,
        )
    )
    first, last = NIGHT - 14 * DAY, NIGHT - 7 * DAY
    week = drawn[[first <= each.date() < last for each in drawn["published_at"]]]
    views = sum(each[: rows.WINDOW_DAYS].sum() for each in week["views"])
    likes = sum(each[: rows.WINDOW_DAYS].sum() for each in week["likes"])
    assert told["like_observed_rate"] == pytest.approx(likes / views)
    assert told["like_log_loss"] > 0
    assert job.mature(feed, NIGHT) == 0


@pytest.mark.usefixtures("plain")
def test_a_value_is_the_sum_of_expected_rates_by_weight_for_each_version(feed):
    job.run(feed, NIGHT)
    change(
        feed,
        "insert into ops.post_value_weight (weights_version, action, weight, reason)"
        " values (2, 'like', 2, 'test')",
    )

    told = read(
        feed,
        "select value.weights_version, value.value, sum(case action when 'like' then 1"
        " when 'share' then 5 when 'comment' then 3 else -10 end * expected_rate),"
        " 2 * sum(expected_rate) filter (where action = 'like')"
        " from bi.post_value as value join bi.post_conversion using (post_id)"
        " where post_id = :post group by 1, 2 order by 1",
        post=post_worlds.FIRST_ID,
    )

    assert [row[0] for row in told] == [1, 2]
    assert told[0][1] == pytest.approx(told[0][2])
    assert told[1][1] == pytest.approx(told[1][3])


def test_pictures_are_drawn_and_drawn_again(feed, tmp_path):
    job.train(feed, NIGHT)

    found = job.visualize(feed, NIGHT, tmp_path / "out")

    names = {path.name for path in found}
    assert names == {"foretold.png", "residuals.png", "picture_gain.png", "candidates.png"}
    assert all(path.stat().st_size > 10_000 for path in found)
    with pytest.raises(champion.NoLiveVersion, match="no version was live"):
        job.visualize(feed, NIGHT - DAY, tmp_path / "out")


@pytest.mark.usefixtures("plain")
def test_a_rate_that_is_none_is_not_published(feed, monkeypatch):
    version = job.train(feed, NIGHT)
    of_posts = job.scores.of_posts

    def broken(*told):
        table = of_posts(*told)
        ones = pa.array([1.0] * len(table), pa.float32())
        return table.set_column(2, "predicted_rate", ones)

    monkeypatch.setattr(job.scores, "of_posts", broken)
    job.score(feed, NIGHT, version, 0, 1)

    with pytest.raises(CheckFailed, match="predicted_rate"):
        job.publish(feed, NIGHT, version, 1)


@pytest.mark.usefixtures("plain")
def test_a_feed_without_posts_says_so(feed, warehouse):
    change(feed, "delete from feature.post_life where published_at >= :early",
           early=post_worlds.FIRST_DAY + 5 * DAY)  # fmt: skip

    with pytest.raises(NothingToLearnFrom, match="viewed posts"):
        job.train(feed, NIGHT)
    with pytest.raises((NothingToLearnFrom, NothingToPublish)):
        job.run(feed, post_worlds.FIRST_DAY - DAY)


@pytest.mark.usefixtures("plain")
def test_an_encoder_that_is_none_stops_the_training_and_names_the_setting(feed, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_IMAGE_ENCODER", "nothing such")

    with pytest.raises(BadSetting, match="NIGHTSHIFT_IMAGE_ENCODER"):
        job.train(feed, NIGHT)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("kind", ["letters", "transformer"])
def test_a_pretrained_text_encoder_has_its_rows_and_must_stay(feed, tmp_path, monkeypatch, kind):
    import tensorflow as tf

    class Letters(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            """Return how often each of some letters is in a text."""
            letters = ["к", "т", "и", "w", "d", "л", "c", "s"]
            counts = [
                tf.strings.length(texts)
                - tf.strings.length(tf.strings.regex_replace(texts, letter, ""))
                for letter in letters
            ]
            return tf.cast(tf.stack(counts, axis=1), tf.float32) + 0.1

    folder = tmp_path / "encoder"
    if kind == "letters":
        tf.saved_model.save(Letters(), str(folder))
    else:
        transformers.write(folder)
    monkeypatch.setenv("NIGHTSHIFT_SENTENCE_ENCODER", str(folder))

    version = job.train(feed, NIGHT)

    told = read(
        feed,
        "select distinct model from bi.post_conversion_experiments where text = 'sentence'"
        " order by 1",
    )
    assert told == [("catboost",), ("hybrid",), ("ridge",)]
    kept = read(feed, "select count(*), count(distinct encoder_version) from"
                      " feature.post_embedding")[0]  # fmt: skip
    assert kept[0] > 100
    assert kept[1] == 1
    used = job._load(feed, version)
    monkeypatch.setenv("NIGHTSHIFT_SENTENCE_ENCODER", "")
    if used.fitted.sentence_version:
        with pytest.raises(BadSetting, match="NIGHTSHIFT_SENTENCE_ENCODER names none"):
            job.score(feed, NIGHT, version, 0, 1)
    else:
        job.score(feed, NIGHT, version, 0, 1)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("ends", [False, True])
def test_an_action_that_begins_or_ends_stops_no_night(feed, ends):
    """The champion and the new version know different actions: both are asked about the new's."""
    later = "update feature.post_day set shares = case when :ends then 0 else views / 20 end"
    if not ends:
        change(feed, "update feature.post_day set shares = 0")
    job.run(feed, NIGHT)
    known = model.load(champion.load_model(feed, VERSION)).actions
    assert ("share" in known) == ends
    change(feed, later, ends=ends)

    job.run(feed, NIGHT + 8 * DAY)

    newer = f"post_conversion-{NIGHT + 8 * DAY}-1"
    assert ("share" in model.load(champion.load_model(feed, newer)).actions) != ends
    asked = read(
        feed,
        "select model_version, count(*) from ops.evaluation where as_of = :as_of and stage = 'gate'"
        " and metric like '%log_loss' and name in ('model', 'champion') group by 1",
        as_of=NIGHT + 8 * DAY,
    )
    # Of all that became of a view, and of each action.
    assert dict(asked) == dict.fromkeys([VERSION, newer], 4 if ends else 5)


@pytest.mark.usefixtures("plain")
def test_vectors_that_are_gone_when_the_day_is_scored_are_made_again(feed):
    job.run(feed, NIGHT)
    before = checksums(feed)
    change(feed, "delete from feature.post_image_embedding where post_id % 4 = 1")
    assert job.run(feed, NIGHT)
    assert checksums(feed) == before
    version = job.train(feed, NIGHT, model_version=VERSION)
    change(feed, "delete from feature.post_image_embedding")

    job.score(feed, NIGHT, version, 0, 1)
    job.publish(feed, NIGHT, version, 1)

    assert checksums(feed) == before


@pytest.mark.usefixtures("plain")
def test_a_part_without_a_post_is_no_reason_to_stop(feed):
    change(feed, *(f"delete from {table} where post_id % 2 = 1" for table in INSERT))

    published = job.run(feed, NIGHT, shards=2)

    assert published == read(feed, "select count(*) from bi.post_conversion")[0][0] > 0


@pytest.mark.usefixtures("plain")
def test_posts_that_were_deleted_since_do_not_change_their_topics_past(feed):
    job.train(feed, NIGHT)
    used = job._load(feed, VERSION)

    def past() -> np.ndarray:
        found = reading.posts(feed, NIGHT, at_publication=False)
        history = reading.posts(feed, NIGHT, at_publication=True)
        part = found[found["post_id"] % 3 == 0]
        return job._rows(feed, NIGHT, used, part, history).layout

    job.score(feed, NIGHT, VERSION, 0, 1)
    before, staged = past(), rates_staged(feed)
    change(
        feed,
        "update raw.post_text_df set known_to = :night where post_id % 3 = 1"
        " and known_from < cast(:night as date) - 40",
        night=NIGHT,
    )
    job.score(feed, NIGHT, VERSION, 0, 1)

    assert (past() == before).all()
    after = rates_staged(feed)
    assert set(after) < set(staged)
    assert after


def rates_staged(feed: Engine) -> list[tuple]:
    table = f"staging.post_conversion_{NIGHT:%Y%m%d}_0of1"
    return read(feed, f"select post_id, action, predicted_rate from {table} order by 1, 2")


@pytest.mark.usefixtures("plain")
def test_a_row_says_which_post_it_is_and_whether_it_was_learned_from(feed, drawn):
    job.run(feed, NIGHT)

    told = read(
        feed,
        "select post_id, topic, published_at, is_learned_from from bi.post_conversion"
        " where action = 'like' order by 1",
    )

    begin = slices.gate_begin(NIGHT)
    known = drawn.set_index("post_id")
    assert [(post, topic, at) for post, topic, at, _ in told] == [
        (post, known.loc[post, "topic"], known.loc[post, "published_at"]) for post, *_ in told
    ]
    learned = {post for post, *_, is_learned in told if is_learned}
    assert learned == {
        post for post, _, at, _ in told if at.date() + rows.WINDOW_DAYS * DAY <= begin
    }
    assert 0 < len(learned) < len(told)


def test_a_text_that_is_known_later_is_not_read_and_late_views_are_not_on_time(feed):
    post = read(feed, "select min(post_id) from raw.post_text_df")[0][0]
    other = post + 1
    change(
        feed,
        "update raw.post_text_df set known_from = :later where post_id = :post",
        "update feature.post_day set known_from = event_day + 3 where post_id = :other"
        " and event_day = (select min(event_day) from feature.post_day where post_id = :other)",
        later=NIGHT + 3 * DAY,
        post=post,
        other=other,
    )

    for at_publication in (True, False):
        found = reading.posts(feed, NIGHT, at_publication).set_index("post_id")
        assert post not in found.index
        assert 0 < found.loc[other, "views_on_time"] < found.loc[other, "views"]
    rest = found.drop(index=other)
    rest = rest[rest["mature"]]
    assert (rest["views_on_time"] == rest["views"]).all()


@pytest.mark.usefixtures("plain")
def test_what_is_scored_is_recent_and_read_as_it_is_now(feed, monkeypatch):
    """Also a post with more likes than views, as counters that are not of one moment tell."""
    asked, seen = [], []
    decide, of_posts = champion.decide, scores.of_posts

    def watched(*told, **more):
        asked.append(set(more["guards"]))
        return decide(*told, **more)

    def scored(fitted, part):
        seen.append(part.posts[["post_id", "text", "published_day"]])
        return of_posts(fitted, part)

    monkeypatch.setattr(champion, "decide", watched)
    monkeypatch.setattr(scores, "of_posts", scored)
    monkeypatch.setattr(job, "SCORED_DAYS", 30)
    monkeypatch.setattr(job, "BLOCK", 50)
    last = (
        "(select max(post_id) from feature.post_life where published_at < cast(:night as date) - 2)"
    )
    change(
        feed,
        f"update raw.post_text_df set known_to = :night where post_id = {last}",
        "insert into raw.post_text_df (post_id, text, topic, known_from)"
        f" select post_id, 'edited', topic, :night from raw.post_text_df where post_id = {last}",
        f"update feature.post_day set likes = 3 * views where post_id = {last}",
        night=NIGHT,
    )

    job.run(feed, NIGHT)

    assert asked == [{f"{action}_log_loss" for action in rows.ACTIONS}]
    assert max(map(len, seen)) <= 50
    found = pd.concat(seen)
    assert found["post_id"].is_unique
    assert pd.to_datetime(found["published_day"]).min() >= pd.Timestamp(NIGHT - 30 * DAY)
    assert (found["text"] == "edited").sum() == 1
    rate = read(
        feed,
        f"select observed_rate, expected_rate from bi.post_conversion where post_id = {last}"
        " and action = 'like'",
        night=NIGHT,
    )
    assert rate[0][0] == 1
    assert rate[0][1] < 1
