"""JSON of VK's API, through `make load`, down to what posts' days count."""

import json
import os
import subprocess
import sys
import tracemalloc
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import text

from jobs.load import job, vk
from jobs.load.blocks import NotLoadable
from jobs.settings import ROOT
from jobs.warehouse import adbc_uri

NOON = 1_709_294_400  # 2024-03-01 12:00 UTC
DAY = 86_400
CLUB_7 = (123 << 32) + (7 << 1) + 1
USER_9 = (55 << 32) + (9 << 1)
EVENTS = "select post_id, views, likes, shares, comments, hides from feature.post_day order by 1, 2"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def load(app, as_role, warehouse, said):
    return lambda folder: job.load(as_role("simulator"), app, warehouse, folder, report=said.append)


@pytest.fixture
def ask(warehouse):
    def answer(statement: str) -> list[tuple]:
        with warehouse.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    return answer


def post(number: int = 7, owner: int = -123, **more: object) -> dict:
    """Return a post of a wall with 5 views, 2 likes, 1 repost and 3 comments; None leaves out."""
    made = {
        "id": number,
        "owner_id": owner,
        "from_id": owner,
        "date": NOON,
        "marked_as_ads": 0,
        "post_type": "post",
        "text": "Привет",
        **counts(5, 2, 1, 3),
        **more,
    }
    return {name: value for name, value in made.items() if value is not None}


def counts(views: int, likes: int, reposts: int, comments: int) -> dict:
    return {
        "views": {"count": views},
        "likes": {"count": likes, "user_likes": 0},
        "reposts": {"count": reposts},
        "comments": {"count": comments, "can_post": 1},
    }


def news(number: int, owner: int, **more: object) -> dict:
    """Return the same post as the newsfeed has it."""
    made = {"type": "post", "source_id": owner, "post_id": number, **post(number, owner, **more)}
    return {name: value for name, value in made.items() if name not in ("id", "owner_id")}


def photo(number: int, owner: int = -123) -> dict:
    sizes = [{"type": "x", "url": "https://sun9-1.userapi.com/x.jpg", "width": 604, "height": 403}]
    return {"type": "photo", "photo": {"id": number, "owner_id": owner, "sizes": sizes}}


def written(folder, *documents: object, name: str = "wall.json"):
    (folder / name).write_text("\n".join(map(json.dumps, documents)))
    return folder


def test_a_walls_posts_and_counts_are_a_feed(load, ask, said, tmp_path):
    link = {"type": "link", "link": {"url": "https://vk.com"}}
    written(
        tmp_path,
        {
            "response": {
                "count": 2,
                "items": [
                    post(attachments=[link, photo(456), photo(457)]),
                    post(9, 55, text="", date=NOON + 2 * DAY, **counts(3, 3, 0, 1)),
                ],
                "profiles": [{"id": 55, "first_name": "Анна", "last_name": "Иванова"}],
                "groups": [{"id": 123, "name": "Наука  и\nжизнь", "screen_name": "science"}],
            }
        },
    )

    days = load(tmp_path)

    assert days == (date(2024, 3, 1), date(2024, 3, 3))
    assert ask(
        "select post_id, event_day::text, views, likes, shares, comments, hides, viewers"
        " from feature.post_day order by 2"
    ) == [
        (CLUB_7, "2024-03-01", 5, 2, 1, 3, 0, 5),
        (USER_9, "2024-03-03", 3, 3, 0, 1, 0, 3),
    ]
    assert ask("select post_id, text, topic from raw.post_text_df order by 1") == [
        (USER_9, None, "Анна Иванова"),
        (CLUB_7, "Привет", "Наука и жизнь"),
    ]
    assert ask("select post_id, uri from raw.post_image") == [(CLUB_7, "photo-123_456.jpg")]
    assert ask("select user_id, age from raw.user_data order by 1") == [
        (user, None) for user in range(1, 6)
    ]
    assert ask(
        "select user_id, action, target from raw.feed_data where event_day = '2024-03-01'"
        " order by user_id, action desc"
    ) == [
        (1, "view", 1), (1, "share", None), (1, "like", None), (1, "comment", None),
        (2, "view", 1), (2, "like", None), (2, "comment", None),
        (3, "view", 0), (3, "comment", None),
        (4, "view", 0),
        (5, "view", 0),
    ]  # fmt: skip
    assert ask("select distinct timestamp::text from raw.feed_data order by 1") == [
        ("2024-03-01 12:00:00+00",),
        ("2024-03-03 12:00:00+00",),
    ]
    assert ask("select count(*) from quarantine.feed_data") == [(0,)]
    assert said[:2] == [
        "VK: 2 posts of 2 owners; 8 views, 5 likes, 1 reposts, 4 comments",
        "VK: absent actions, which nothing counts: hide",
    ]


def test_what_vk_does_not_count_is_absent_not_zero(load, ask, said, tmp_path):
    written(tmp_path, [post(reposts=None, comments={"can_post": 0})])

    load(tmp_path)

    assert ask("select distinct action from raw.feed_data order by 1") == [("like",), ("view",)]
    assert ask("select views, likes, shares, comments, hides from bi.feed_day") == [
        (5, 2, None, None, None)
    ]
    assert ask(
        "select expectation from ops.validation where not success and severity = 'info' order by 1"
    ) == [(f"action {action} is absent",) for action in ("comment", "hide", "share")]
    assert ask("select table_name, reason from ops.absent_table order by 1") == [
        (table, f"no file for it in {tmp_path.name}")
        for table in ("apparel_messages", "apparel_purchases", "client_event", "post_image")
    ]
    assert "VK: absent actions, which nothing counts: share, comment, hide" in said


FORMS = {
    "an answer": [{"response": {"count": 2, "items": [post(7), post(8)]}}],
    "a part of one": [{"items": [post(7), post(8)], "next_from": "2"}],
    "a list of posts": [[post(7), post(8)]],
    "posts by id": [{"response": [post(7), post(8)]}],
    "answers of execute": [{"response": [{"items": [post(7)]}, {"items": [post(8)]}]}],
    "a list of answers": [[{"response": {"items": [post(7)]}}, {"response": {"items": [post(8)]}}]],
    "posts by line": [post(7), post(8)],
    "answers by line": [{"response": {"items": [post(7)]}}, {"items": [post(8)], "groups": []}],
    "newsfeed": [{"response": {"items": [news(7, -123), news(8, -123)], "next_from": "x"}}],
    "of old": [
        [
            post(7, owner_id=None, to_id=-123, from_id=55),
            post(8, owner_id=None),
        ]
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_answer_is_read(load, ask, tmp_path, form):
    load(written(tmp_path, *FORMS[form]))

    assert ask(EVENTS) == [(CLUB_7, 5, 2, 1, 3, 0), (CLUB_7 + 2, 5, 2, 1, 3, 0)]
    assert ask("select distinct topic from raw.post_text_df") == [("club123",)]


def test_several_files_are_one_feed_and_names_may_be_in_another(load, ask, tmp_path):
    written(tmp_path, [post(7)], name="a.json")
    names = {"items": [post(8), news(8, 123)], "groups": [{"id": 123, "name": "Наука"}]}
    (tmp_path / "b.jsonl").write_text("\n" + json.dumps(names, indent=2), encoding="utf-8-sig")

    load(tmp_path)

    # A community and a user of the same number are two owners.
    assert ask("select post_id, topic from raw.post_text_df order by 1") == [
        (CLUB_7, "Наука"),
        (CLUB_7 + 1, "id123"),
        (CLUB_7 + 2, "Наука"),
    ]


def test_owners_of_one_name_stay_apart(load, ask, tmp_path):
    groups = [{"id": 123, "name": "Наука"}, {"id": 124, "name": "Наука"}, {"id": 125, "name": " "}]
    written(tmp_path, {"items": [post(), post(7, -124), post(7, -125)], "groups": groups})

    load(tmp_path)

    assert ask("select topic from raw.post_text_df order by post_id") == [
        ("Наука (club123)",),
        ("Наука (club124)",),
        ("club125",),
    ]


def test_a_repost_has_the_text_and_the_photo_of_what_it_repeats(load, ask, tmp_path):
    first = {"id": 1, "owner_id": -5, "text": "Первый", "attachments": [photo(11, -5)]}
    history = [{"id": 2, "owner_id": -6, "text": ""}, first]
    written(
        tmp_path,
        [
            post(7, text="", copy_history=history),
            post(8, text="Смотрите", copy_history=[first], attachments=[photo(12)]),
        ],
    )

    load(tmp_path)

    assert ask("select text from raw.post_text_df order by post_id") == [
        ("Первый",),
        ("\n\n".join(["Смотрите", "Первый"]),),
    ]
    assert ask("select uri from raw.post_image order by post_id") == [
        ("photo-5_11.jpg",),
        ("photo-123_12.jpg",),
    ]


def test_texts_arrive_as_people_read_them(load, ask, tmp_path):
    strange = 'Том &amp; &#128163;, "ещё"\r\n\\.\r\0 \ud83d ?a=1&copy=2'
    written(tmp_path, [post(text=strange)])

    load(tmp_path)

    assert ask("select text from raw.post_text_df") == [
        ('Том & 💣, "ещё"\n\\.\n \ufffd ?a=1&copy=2',)
    ]


def test_a_post_without_a_count_is_kept_and_its_events_are_left_out(load, ask, said, tmp_path):
    written(
        tmp_path,
        [post(), post(8, views=None), post(9, views={}, date=NOON - 3_000 * DAY),
         post(10, comments=None)],
    )  # fmt: skip

    days = load(tmp_path)

    assert days == (date(2024, 3, 1),) * 2
    assert ask(EVENTS) == [(CLUB_7, 5, 2, 1, 3, 0)]
    assert ask("select count(*) from raw.post_text_df") == [(4,)]
    assert said[:3] == [
        "VK: 4 posts of 1 owners; 5 views, 2 likes, 1 reposts, 3 comments",
        "VK: 2 posts without views.count: kept, without events",
        "VK: 1 posts without comments.count: kept, without events",
    ]


def test_of_a_post_seen_twice_the_one_with_more_views_counts(load, ask, said, tmp_path):
    written(tmp_path, [post(), post(8, text="old")], name="a.json")
    written(
        tmp_path,
        [
            post(text="newest", **counts(9, 4, 1, 3)),
            news(7, -123, text="in between", **counts(6, 4, 1, 3)),
            post(text="no views", views=None),
            post(8, text="edited"),
        ],
        name="b.json",
    )

    load(tmp_path)

    assert ask(EVENTS) == [(CLUB_7, 9, 4, 1, 3, 0), (CLUB_7 + 2, 5, 2, 1, 3, 0)]
    assert ask("select text from raw.post_text_df order by post_id") == [("newest",), ("edited",)]
    assert "VK: 4 items are posts seen already: the one with most views counts" in said


def test_more_likes_than_views_are_as_many(load, ask, said, tmp_path):
    written(tmp_path, [post(**counts(3, 4, 1, 7)), post(8, **counts(0, 1, 0, 0)), post(9)])

    load(tmp_path)

    assert ask(EVENTS) == [(CLUB_7, 3, 3, 1, 3, 0), (CLUB_7 + 4, 5, 2, 1, 3, 0)]
    assert "VK: 2 posts have more likes than views: counted as views" in said
    assert "VK: 1 posts have more comments than views: counted as views" in said


def test_what_is_no_post_is_skipped_and_counted(load, ask, said, tmp_path):
    written(
        tmp_path,
        {
            "items": [
                post(),
                post(8, marked_as_ads=1),
                post(9, post_type="post_ads"),
                post(10, is_deleted=True),
                post(11, post_type="postpone", date=4_102_444_800),
                {"type": "friend", "source_id": 5, "date": NOON, "friends": {"count": 1}},
                {"type": "friend", "source_id": 6, "date": NOON, "friends": {"count": 1}},
            ]
        },
    )

    load(tmp_path)

    assert ask("select post_id from raw.post_text_df") == [(CLUB_7,)]
    assert said[1:5] == [
        "VK: 2 items skipped: advertisement",
        "VK: 1 items skipped: deleted",
        "VK: 1 items skipped: post_type postpone",
        "VK: 2 items skipped: type friend",
    ]


def test_the_day_is_the_posts_in_utc_wherever_the_source_is(load, ask, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_TZ", "Asia/Vladivostok")
    midnight = NOON + DAY // 2
    written(tmp_path, [post(7, date=midnight - 1), post(8, date=midnight)])

    load(tmp_path)

    assert ask("select event_day::text, first_view_at::text from feature.post_day order by 1") == [
        ("2024-03-01", "2024-03-01 23:59:59+00"),
        ("2024-03-02", "2024-03-02 00:00:00+00"),
    ]


def test_the_largest_numbers_fit_and_none_meet():
    ends = (1, 2, 2**31 - 2, 2**31 - 1)
    posts = [
        vk.Post(sign * owner, number, NOON, "", "", {})
        for owner in ends
        for number in ends
        for sign in (1, -1)
    ]

    keys = [vk.key(each) for each in posts]

    assert len(set(keys)) == len(posts)
    assert 0 < min(keys) < max(keys) == 2**63 - 1
    assert [(key >> 32, (key >> 1) % 2**31) for key in keys] == [
        (abs(each.owner), each.number) for each in posts
    ]


def test_events_of_a_large_post_are_never_held(tmp_path):
    written(tmp_path, [post(**counts(150_000, 100_000, 10, 0))])
    _, blocks = vk.tables(tmp_path, date(2024, 3, 2), lambda line: None)["feed_data"]

    tracemalloc.start()
    lines = sum(block.count(b"\n") for block in blocks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert lines == 250_010
    assert peak < 4_000_000


WRONG = {
    "broken": ('{"response": {"items": [', r"wall\.json: found broken JSON \(.*line 1 column 25"),
    "a broken line": (f"{json.dumps(post())}\n{{'id'}}", r"wall\.json: found broken JSON.*line 2"),
    "no UTF-8": (json.dumps(post(), ensure_ascii=False).encode("cp1251"), "broken JSON .*utf-8"),
    "empty": ("", r"wall\.json: found 0 items, expected posts"),
    "no items": ('{"response": {"count": 0, "items": []}}', r"wall\.json: found 0 items"),
    "a number": ("17", r"wall\.json \$: found 17, expected a post, or an answer"),
    "another form": ('{"a": 1, "b": []}', r"\$: found an object of \['a', 'b'\], expected a post"),
    "items that are none": ('{"items": {"id": 1}}', r"\$\.items: found \{\"id\": 1\}, expected a"),
    "a failed call": (
        {"response": [{"items": [post()]}, False]},
        r"\$\.response\[1\]: found false, expected a post, or an answer of VK's API",
    ),
    "a refusal": (
        {"error": {"error_code": 15, "error_msg": "Access denied"}},
        r"\$\.error: found \{\"error_code\": 15, .*Access denied.*, expected an answer",
    ),
    "a negative count": (
        {"response": {"items": [post(), post(8, likes={"count": -1})]}},
        r"wall\.json \$\.response\.items\[1\]\.likes\.count: found -1, expected a whole number",
    ),
    "words": (
        [post(views={"count": "12K"})],
        r"\$\[0\]\.views\.count: found \"12K\", expected a whole number from 0",
    ),
    "a bare count": ([post(views=12)], r"\$\[0\]\.views: found 12, expected an object with count"),
    "half a view": ([post(views={"count": 1.5})], r"\.views\.count: found 1\.5"),
    "true": ([post(reposts={"count": True})], r"\.reposts\.count: found true"),
    "no date": ([post(date=None)], r"\$\[0\]\.date: found nothing, expected seconds since 1970"),
    "a date in words": ([post(date="2024-03-01")], r"\.date: found \"2024-03-01\", expected sec"),
    "milliseconds": ([post(date=NOON * 1_000)], r"\.date: found 1709294400000, expected seconds"),
    "the future": ([post(date=4_102_444_800)], r"\.date: found 4102444800, .*before 20\d\d-.*over"),
    "no owner": ([post(owner_id=None, from_id=None)], r"\.owner_id: found nothing, expected a"),
    "no number": ([post(id=None)], r"\$\[0\]\.id: found nothing, expected a whole number from 1"),
    "a huge owner": ([post(owner=-(2**31))], r"\.owner_id: found -2147483648, expected"),
    "no text": ([post(text=["x"])], r"\.text: found \[\"x\"\], expected text"),
    "a photo's number": (
        [post(attachments=[{"type": "doc"}, {"type": "photo", "photo": {"owner_id": 1}}])],
        r"\$\[0\]\.attachments\[1\]\.photo\.id: found nothing, expected a whole number",
    ),
    "attachments": ([post(attachments="photo1_2")], r"\.attachments: found \"photo1_2\", expected"),
    "no view": ([post(views=None)], r"1 posts, none with a view .*views\.count and likes"),
    "no likes": ([post(likes=None)], r"1 posts, none with a view .*views\.count and likes"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_and_nothing_is_loaded(load, as_role, tmp_path, case):
    content, complaint = WRONG[case]
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    (tmp_path / "wall.json").write_bytes(content.encode() if isinstance(content, str) else content)
    written(tmp_path, [post(views=None)], name="a.json")

    with pytest.raises(NotLoadable, match=f"(?s){complaint}.*nothing was loaded"):
        load(tmp_path)

    with as_role("simulator").connect() as connection:
        assert connection.execute(text("select count(*) from post_text_df")).scalar_one() == 0


def test_a_post_of_a_day_that_is_not_over_is_refused_and_one_of_yesterday_is_not(
    load, ask, tmp_path
):
    (midnight,) = ask("select extract(epoch from date_trunc('day', now(), 'UTC'))::bigint")[0]
    written(tmp_path, [post(date=midnight)])
    with pytest.raises(NotLoadable, match=rf"\$\[0\]\.date: found {midnight}, expected .* before"):
        load(tmp_path)

    first, last = load(written(tmp_path, [post(date=midnight - 1)]))

    assert first == last == datetime.fromtimestamp(midnight - 1, UTC).date()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("CDNOW_master.txt", " 00001 19970101  2   23.54\n"),
        ("u.data", "1\t10\t5\t878000000\n"),
        ("user-data.csv", "id,age\n1,30\n"),
        ("log.csv", "1,2,3,pv,1511544070\n"),
    ],
)
def test_posts_beside_another_source_are_refused(load, tmp_path, name, content):
    written(tmp_path, [post()])
    (tmp_path / name).write_text(content)

    with pytest.raises(
        NotLoadable, match=rf"wall\.json \(posts of VK\) beside {name}; expected one"
    ):
        load(tmp_path)


def test_other_json_beside_another_source_is_left_alone(load, ask, tmp_path):
    (tmp_path / "u.data").write_text("1\t10\t5\t878000000\n")
    (tmp_path / "dataset-metadata.json").write_text('{"title": "MovieLens", "id": "grouplens/ml"}')

    load(tmp_path)

    assert ask("select views, likes from feature.post_day") == [(1, 1)]


def test_the_command_says_what_was_found(app, as_role, warehouse, tmp_path):
    def typed() -> subprocess.CompletedProcess[str]:
        owner, source, ours = (adbc_uri(each) for each in (as_role("simulator"), app, warehouse))
        return subprocess.run(
            [sys.executable, "-m", "jobs", "load", str(tmp_path)],
            cwd=ROOT,
            env={
                **os.environ,
                "NIGHTSHIFT_SIMULATOR_URL": owner,
                "AIRFLOW_CONN_APP": source,
                "AIRFLOW_CONN_WAREHOUSE": ours,
            },
            capture_output=True,
            text=True,
        )

    written(tmp_path, [post(likes={"count": "2"})])
    refused = typed()
    written(tmp_path, [post()])
    loaded = typed()

    assert refused.returncode == 1
    assert refused.stderr == (
        f'NotLoadable: {tmp_path}/wall.json $[0].likes.count: found "2", expected a whole number '
        "from 0; nothing was loaded. Mend the file, then load it again\n"
    )
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.startswith("VK: 1 posts of 1 owners; 5 views, 2 likes, 1 reposts, 3 com")
    assert "loaded 2024-03-01 to 2024-03-01" in loaded.stdout
