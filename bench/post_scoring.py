"""Rates of 100,000 posts: texts read, candidates fitted, every post scored; each once."""

import multiprocessing
import os
import resource
import tempfile
from datetime import date, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from sqlalchemy import Engine, text

from bench.ground import Ground, seconds
from jobs.feed_recommendation import tfidf
from jobs.post_conversion import job, layout, reading, words
from jobs.warehouse import engine

AS_OF = date(2026, 3, 1)
POSTS, DAYS, WORDS = 100_000, 170, 60
# Half of the posts have a picture; its vector is drawn, as if it had been embedded before.
FILL = (
    """
insert into raw.post_text_df (post_id, text, topic, known_from)
select
    post,
    (
        select string_agg(
            (array['игра', 'матч', 'команда', 'movie', 'film', 'actor', 'рецепт', 'суп', 'onion',
                'market', 'price', 'город', 'house', 'window', 'weather', 'ветер', 'friend',
                'story', 'новость', 'обзор'])[1 + abs(hashint8(post * 131 + word)) % 20]
            || case
                when word % 3 = 0 then chr(97 + cast(abs(hashint8(post + word)) % 26 as integer))
                else ''
            end,
            ' '
        )
        from generate_series(1, :words) as word
    ),
    'topic ' || post % 12,
    cast(:as_of as date) - cast(post * :days / :posts as integer)
from generate_series(1, :posts) as post
""",
    """
insert into feature.post_life (post_id, published_at, viewed, known_from)
select post_id, (known_from - 1 + time '10:00') at time zone 'UTC', true, known_from
from raw.post_text_df
""",
    """
insert into feature.post_day (post_id, event_day, known_from, views, likes, shares, comments, hides,
    viewers)
select
    post_id, known_from - 1 + day, known_from + day, views,
    cast(views * (5 + post_id % 12) / 100 as integer), views / 60, views / 50, views / 90, views
from raw.post_text_df
cross join generate_series(0, 6) as day
cross join lateral (
    select 20 + abs(hashint8(post_id * 7 + day)) % 300 as views
) as drawn
""",
)


def measure(databases: Ground) -> str:
    """Return the figures, of a process of its own."""
    fill(databases.warehouse)
    url = databases.warehouse.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe()
    process = context.Process(target=night, args=(url, sender))
    process.start()
    lines: list[str] = receiver.recv()
    process.join()
    return "\n".join(lines)


def fill(warehouse: Engine) -> None:
    """Fill the warehouse with POSTS posts of the DAYS before AS_OF and seven days of each."""
    known = {"posts": POSTS, "days": DAYS, "words": WORDS, "as_of": AS_OF}
    with warehouse.begin() as connection:
        for statement in FILL:
            asked = {name: value for name, value in known.items() if f":{name}" in statement}
            connection.execute(text(statement), asked)
        connection.execute(text("analyze"))


def night(url: str, answer: Connection) -> None:
    """Do each part of a night once; send its lines."""
    warehouse = engine(url)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        os.environ["NIGHTSHIFT_STATE"] = str(Path(folder) / "state")
        found = []
        took = {"read": seconds(lambda: found.append(reading.posts(warehouse, AS_OF, False)))}
        texts = found[0]["text"].tolist()[:20_000]
        took["layout"] = seconds(lambda: layout.layout(texts))
        known = words.fit(texts[:5_000])
        took["tfidf"] = seconds(lambda: known.table(texts))
        own = tfidf.fit(texts[:5_000])
        took["svd"] = seconds(lambda: own.embed(texts))
        version = []
        took["train"] = seconds(lambda: version.append(job.train(warehouse, AS_OF)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        took["score"] = seconds(lambda: job.score(warehouse, AS_OF, version[0], 0, 1))
        took["publish"] = seconds(lambda: job.publish(warehouse, AS_OF, version[0], 1))
        took["second"] = seconds(lambda: job.run(warehouse, AS_OF + timedelta(days=1)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def line(said: str, part: str, count: int = 0, unit: str = "posts") -> str:
        rate = f" {count / took[part]:>12,.0f} {unit}/s" if count else ""
        return f"  {said:<34}{took[part]:>9.1f} s{rate}"

    answer.send(
        [
            f"{POSTS:,} posts of {WORDS} words, four actions",
            line("posts and their counts, read", "read", POSTS),
            line("how texts look", "layout", len(texts), "texts"),
            line("TF-IDF of words and letters", "tfidf", len(texts), "texts"),
            line("TF-IDF, reduced", "svd", len(texts), "texts"),
            line("all candidates, gate", "train"),
            line("scoring with reasons", "score", POSTS),
            line("checking and publishing", "publish", POSTS),
            line("the next night, whole", "second"),
            f"  peak memory: training {before:,.0f} MB, whole night {peak:,.0f} MB",
        ]
    )
