"""Posts in the JSON files that VK's API answered with, as wall.get and newsfeed.get have them.

A file is ``{"response": {"items": [...]}}``, with or without ``profiles`` and ``groups``, or
``{"items": [...]}``, a list of posts, a list of such answers (execute), or any of these one after
another (JSON lines). Objects of the API: https://dev.vk.com/en/reference/objects/post
"""

import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NoReturn

from jobs.load.blocks import NotLoadable

FORMS = ("*.json", "*.jsonl")
# What tells VK's posts from any other JSON, among a file's first bytes.
OWNERS = ("owner_id", "source_id", "to_id", "from_id")
FIRST_BYTES = 1 << 16
# Each action of the feed, and the object whose ``count`` tells how often it was done.
COUNTS = {"view": "views", "like": "likes", "share": "reposts", "comment": "comments"}
# On a wall, but not posts that anybody was shown: comments, scheduled and suggested posts.
UNPUBLISHED = ("reply", "postpone", "suggest")
LARGEST = 2**31 - 1
# VK is of 2006: earlier seconds are no time of a post, and later ones may be milliseconds.
FIRST_DAY = date(2006, 1, 1)
SHOWN_LETTERS = 60
MENDED = "nothing was loaded. Mend the file, then load it again"

# With its semicolon: html.unescape alone also takes &copy=1 of an address for one.
_ENTITY = re.compile(r"&(?:#\d+|#x[\da-f]+|[a-z]+\d*);", re.IGNORECASE)
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Post:
    """One post.

    Attributes:
        owner: whose wall it is on: a user's number, or a community's with a minus.
        number: the post's on that wall.
        at: when it was published, in seconds since 1970.
        text: its text, then that of the post it repeats; may be empty.
        photo: name of its first photo's file, empty without one.
        counts: how often each of COUNTS was done, without those that VK does not tell.
    """

    owner: int
    number: int
    at: int
    text: str
    photo: str
    counts: dict[str, int]


@dataclass
class Posts:
    """What a folder's files have.

    Attributes:
        best: of each owner and number the post that was seen with most views, the last one of
            several: views only grow, so it is the newest.
        names: names of users and communities, by number as in ``Post.owner``.
        skipped: items that are no posts, by what they are.
        again: posts that were there already.
    """

    best: dict[tuple[int, int], Post] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    again: int = 0


def files(folder: Path) -> list[Path]:
    """Return the folder's JSON files in the order of their names."""
    return sorted(path for form in FORMS for path in folder.glob(form))


def is_of_posts(path: Path) -> bool:
    """Return whether a JSON file looks like VK's, by its beginning."""
    with path.open("rb") as content:
        first = content.read(FIRST_BYTES)
    return any(f'"{name}"'.encode() in first for name in OWNERS)


def read(paths: list[Path], today: date) -> Posts:
    """Return all posts of the files.

    Advertisements (``marked_as_ads``) are skipped, since their views are bought: their rates tell
    of whom they were shown to. So is what was deleted, and what is no post.

    Args:
        paths: JSON files.
        today: first day (UTC) that is not over.

    Raises:
        NotLoadable: naming file, item and field, what it is and what was expected.
    """
    found = Posts()
    for path in paths:
        items = 0
        for where, item in _items(path, found.names):
            items += 1
            if why := _no_post(item):
                found.skipped[why] += 1
                continue
            post = _post(where, item, today)
            key = (post.owner, post.number)
            known = found.best.get(key)
            found.again += known is not None
            if known is None or post.counts.get("view", -1) >= known.counts.get("view", -1):
                found.best[key] = post
        if not items:
            _refuse(str(path), "0 items", "posts")
    return found


def _items(path: Path, names: dict[int, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each item of a file with where it is; put the names met on the way into ``names``."""
    for where, document in _documents(path):
        yield from _within(where, document, names)


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each JSON value of a file, and where it begins, as a JSONPath."""
    decoder = json.JSONDecoder()
    try:
        text = path.read_text(encoding="utf-8-sig")
        at, line, ends = 0, 1, len(text.rstrip())
        while at < ends:
            begin = _space_ends(text, at)
            line += text.count("\n", at, begin)
            document, at = decoder.raw_decode(text, begin)
            yield (f"{path} $" if (line, at) == (1, ends) else f"{path} line {line} $"), document
            line += text.count("\n", begin, at)
    except (ValueError, RecursionError) as error:
        _refuse(str(path), f"broken JSON ({error})", "JSON in UTF-8 as VK's API returns it")


def _space_ends(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _within(
    where: str, document: Any, names: dict[int, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the items of an answer, of a list of answers or of a list of items."""
    if isinstance(document, list):
        for place, each in enumerate(document):
            yield from _within(f"{where}[{place}]", each, names)
    elif not isinstance(document, dict):
        _refuse(where, _shown(document), "a post, or an answer of VK's API with its items")
    elif "response" in document:
        yield from _within(f"{where}.response", document["response"], names)
    elif "items" in document:
        if not isinstance(document["items"], list):
            _refuse(f"{where}.items", _shown(document["items"]), "a list of posts")
        _name(document, names)
        yield from _within(f"{where}.items", document["items"], names)
    elif "error" in document:
        _refuse(f"{where}.error", _shown(document["error"]), "an answer of VK with items")
    else:
        yield where, document


def _name(answer: dict[str, Any], names: dict[int, str]) -> None:
    """Take the names of communities and users from an answer, as far as it has them."""
    for kind, sign, parts in (
        ("groups", -1, ("name",)),
        ("profiles", 1, ("first_name", "last_name")),
    ):
        listed = answer.get(kind)
        for each in listed if isinstance(listed, list) else []:
            if not isinstance(each, dict) or type(each.get("id")) is not int:
                continue
            words = [_plain(part) for name in parts if isinstance(part := each.get(name), str)]
            if name := " ".join(" ".join(words).split()):
                names[sign * each["id"]] = name


def _no_post(item: dict[str, Any]) -> str:
    """Return what an item is that is no post to be counted, empty for a post."""
    if item.get("type", "post") != "post":
        return f"type {item['type']}"
    if item.get("post_type") in UNPUBLISHED:
        return f"post_type {item['post_type']}"
    if item.get("marked_as_ads") or item.get("post_type") == "post_ads":
        return "advertisement"
    return "deleted" if item.get("is_deleted") else ""


def _post(where: str, item: dict[str, Any], today: date) -> Post:
    owner = next((name for name in OWNERS if item.get(name) is not None), OWNERS[0])
    # In the newsfeed a post's own number is post_id; elsewhere that is of a comment's post.
    is_news = "post_id" in item and ("source_id" in item or "id" not in item)
    number = "post_id" if is_news else "id"
    if not {"date", number, owner} & item.keys():
        _refuse(where, f"an object of {sorted(item)[:10]}", "a post with id, owner_id and date")
    history = _list(where, item, "copy_history")
    shown = [(where, item)] + [(f"{where}.copy_history[{n}]", each) for n, each in history]
    texts = [_text(place, each) for place, each in shown]
    repeated = next(filter(None, texts[1:]), "")
    return Post(
        owner=_whole(where, item, owner, -LARGEST, LARGEST, "a user's or community's number"),
        number=_whole(where, item, number, 1, LARGEST, "a whole number from 1"),
        at=_at(where, item, today),
        text="\n\n".join(filter(None, (texts[0], repeated))),
        photo=next(filter(None, (_photo(place, each) for place, each in shown)), ""),
        counts={
            action: count
            for action, name in COUNTS.items()
            if (count := _count(where, item, name)) is not None
        },
    )


def _at(where: str, item: dict[str, Any], today: date) -> int:
    first, end = (
        int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        for day in (FIRST_DAY, today)
    )
    expected = (
        f"seconds since 1970, from {FIRST_DAY} and before {today} 00:00 UTC (that day is not over "
        "by the product database's clock)"
    )
    return _whole(where, item, "date", first, end - 1, expected)


def _count(where: str, item: dict[str, Any], name: str) -> int | None:
    """Return ``item[name]["count"]``, None where VK does not tell it."""
    told = item.get(name)
    if told is None:
        return None
    if not isinstance(told, dict):
        _refuse(f"{where}.{name}", _shown(told), "an object with count")
    if told.get("count") is None:
        return None
    return _whole(f"{where}.{name}", told, "count", 0, LARGEST, "a whole number from 0")


def _text(where: str, item: dict[str, Any]) -> str:
    text = item.get("text")
    if text is not None and not isinstance(text, str):
        _refuse(f"{where}.text", _shown(text), "text")
    return _plain(text or "")


def _plain(text: str) -> str:
    """Return a text as people read it: no entities, and nothing that Postgres can't store."""
    text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    # Half of an emoji, where somebody cut a text.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _photo(where: str, item: dict[str, Any]) -> str:
    """Return the name of the file of the first photo, as VK's own addresses name it."""
    for place, each in _list(where, item, "attachments"):
        if each.get("type") == "photo":
            within = f"{where}.attachments[{place}]"
            photo = each.get("photo")
            if not isinstance(photo, dict):
                _refuse(f"{within}.photo", _shown(photo), "an object with owner_id and id")
            owner, number = (
                _whole(f"{within}.photo", photo, name, -(2**63), 2**63 - 1, "a whole number")
                for name in ("owner_id", "id")
            )
            return f"photo{owner}_{number}.jpg"
    return ""


def _list(where: str, item: dict[str, Any], name: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects of a list that may lack, each with its place."""
    listed = item.get(name) or []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        _refuse(f"{where}.{name}", _shown(listed), "a list of objects")
    return list(enumerate(listed))


def _whole(
    where: str, item: dict[str, Any], name: str, least: int, most: int, expected: str
) -> int:
    value = item.get(name)
    if type(value) is not int or not least <= value <= most:  # true is an int too
        found = _shown(value) if name in item else "nothing"
        _refuse(f"{where}.{name}", found, expected)
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]} ..."


def _refuse(where: str, found: str, expected: str) -> NoReturn:
    raise NotLoadable(f"{where}: found {found}, expected {expected}; {MENDED}")
