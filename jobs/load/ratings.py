"""Ratings, a line ``user item rating timestamp`` each: MovieLens in its three forms, and others.

A rating is a view; one of LIKED stars or more is also a like, a second later. Items are posts: the
title and genres are the text, the first genre is the topic. Users and items have only what the
files beside the ratings say of them.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from jobs.load.blocks import Blocks, NotLoadable, clock, written
from jobs.settings import source_tz

LIKED = 4.0
NO_GENRE = {"", "unknown", "(no genres listed)"}
GENDERS = {"F": 0, "M": 1}
# The genres of u.item's flags, in their order, as u.genre has them.
FLAGS = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
COLUMNS = {
    "user_data": ["id", "age", "gender"],
    "post_text_df": ["id", "text", "topic"],
    "feed_data": ["timestamp", "user_id", "post_id", "action", "target"],
}

Fields = list[str]
Read = Callable[[Path], Iterator[Fields]]


def tables(folder: Path) -> dict[str, tuple[list[str], Blocks]]:
    """Return user_data, post_text_df and feed_data made from the files; empty without ratings.

    Raises:
        NotLoadable: naming the line that is not ``user item rating timestamp``.
    """
    for name, split, users_name, items_name in (
        ("u.data", _split("\t"), "u.user", "u.item"),
        ("ratings.dat", _split("::"), "users.dat", "movies.dat"),
        ("ratings.csv", _csv, "users.csv", "movies.csv"),
    ):
        path = folder / name
        if not path.is_file():
            continue
        users, items = _ids(path, split)
        people = dict.fromkeys(users, ("", "")) | _people(folder / users_name)
        titles = dict.fromkeys(items, ("", "")) | _titles(folder / items_name)
        return {
            table: (COLUMNS[table], written(rows))
            for table, rows in (
                ("user_data", ([key, *about] for key, about in sorted(people.items()))),
                ("post_text_df", ([key, *about] for key, about in sorted(titles.items()))),
                ("feed_data", _events(path, split)),
            )
        }
    return {}


def _events(path: Path, split: Read) -> Iterator[list[object]]:
    """Yield a view for each rating, and a like a second later for a high one."""
    zone = source_tz()
    for user, item, rating, seconds in _ratings(path, split):
        liked = rating >= LIKED
        yield [clock(seconds, zone), user, item, "view", int(liked)]
        if liked:
            yield [clock(seconds + 1, zone), user, item, "like", ""]


def _ids(path: Path, split: Read) -> tuple[set[int], set[int]]:
    """Return all users and all items that ratings name; the whole file is read once for it."""
    users, items = set(), set()
    for user, item, *_ in _ratings(path, split):
        users.add(user)
        items.add(item)
    return users, items


def _ratings(path: Path, split: Read) -> Iterator[tuple[int, int, float, int]]:
    for number, fields in enumerate(split(path), start=1):
        if number == 1 and path.suffix == ".csv":
            continue  # the columns' names
        try:
            user, item, rating, seconds = fields
            yield int(user), int(item), float(rating), int(float(seconds))
        except ValueError:
            raise NotLoadable(
                f"{path} line {number}: {' '.join(fields)[:100]}; expected four numbers (user, "
                "item, rating, seconds since 1970); nothing was loaded. Mend the file, then load "
                "it again"
            ) from None


def _people(path: Path) -> dict[int, tuple[str, str]]:
    """Return age and gender (0 F, 1 M) of each user in u.user or users.dat; empty without one."""
    if not path.is_file() or path.suffix == ".csv":
        return {}
    found = {}
    for fields in _split("::" if path.suffix == ".dat" else "|")(path):
        if len(fields) < 3:
            raise NotLoadable(f"{path}: {fields}; expected user, age and gender (any order)")
        letter = next((field for field in fields[1:3] if field in GENDERS), "")
        age = next((field for field in fields[1:3] if field.isdecimal()), "")
        found[_key(path, fields)] = (age, str(GENDERS[letter]) if letter else "")
    return found


def _titles(path: Path) -> dict[int, tuple[str, str]]:
    """Return text and topic of each item in u.item, movies.dat or movies.csv; empty without one."""
    if not path.is_file():
        return {}
    split = {".item": _split("|"), ".dat": _split("::"), ".csv": _csv}[path.suffix]
    found = {}
    for fields in split(path):
        if fields[0] == "movieId":
            continue
        if len(fields) < 3:
            raise NotLoadable(f"{path}: {fields}; expected item, title and genres")
        if path.suffix == ".item":
            flags = fields[-len(FLAGS) :]
            genres = [genre for genre, flag in zip(FLAGS, flags, strict=False) if flag == "1"]
        else:
            genres = fields[2].split("|")
        genres = [genre for genre in genres if genre not in NO_GENRE]
        found[_key(path, fields)] = (" ".join([fields[1], *genres]), genres[0] if genres else "")
    return found


def _key(path: Path, fields: Fields) -> int:
    try:
        return int(fields[0])
    except ValueError:
        raise NotLoadable(
            f"{path}: {fields}; expected a number first; nothing was loaded. Mend the file, then "
            "load it again"
        ) from None


def _split(separator: str) -> Read:
    def read(path: Path) -> Iterator[Fields]:
        # The oldest of these files are in Latin-1, where every byte is a letter.
        with path.open(encoding=_encoding(path)) as lines:
            for line in lines:
                if line.strip():
                    yield line.rstrip("\r\n").split(separator)

    return read


def _csv(path: Path) -> Iterator[Fields]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        yield from csv.reader(lines)


def _encoding(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as lines:
            for _ in lines:
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"
