"""A simulated feed's world, planned: who is there, who and what arrives on which day."""

from datetime import date

import numpy as np

from jobs.simulate.clock import DAY_US, Columns, concatenate, day_number, stream
from jobs.simulate.social import posts
from jobs.simulate.social.users import coefficients, traits
from jobs.simulate.social.world import EXISTING_POSTS, EXISTING_USERS, NEW_POSTS, NEW_USERS, World

REFERENCE_DAYS = 90  # after which there are as many users and posts as the world was asked for
NEW_USER_SHARE = 0.15  # of the users arrive in the REFERENCE_DAYS, at an even pace, and so on
OLD_POST_SHARE = 1 / 3  # of the posts are there at the start
POSTS_AT = (6_000, 1_200)  # users, posts: a small product ...
POSTS_AT_LARGE = (163_205, 7_023)  # ... and a large one; between and beyond, a power of the users


def plan(seed: int, users: int, start: date, days: int) -> World:
    """Return the world of ``days`` days from ``start``.

    Args:
        seed: what tells one world from another.
        users: how many there are after REFERENCE_DAYS; NEW_USER_SHARE of them arrive evenly in
            that time, and at the same pace ever after. Posts follow from it (``posts_for``).
        start: the first day with rows.
        days: days planned; a longer plan adds newcomers and posts and changes nothing else.
    """
    if users < 1 or days < 0:
        raise ValueError(f"users {users}, days {days}: expected at least 1 and 0")
    first, number = day_number(start), posts_for(users)
    effects = coefficients(seed)
    newcomers, new_posts = int(users * NEW_USER_SHARE), number - int(number * OLD_POST_SHARE)
    rng = stream(seed, EXISTING_USERS)
    found: list[Columns] = [traits(rng, np.full(users - newcomers, first, dtype=np.int32), effects)]
    rng = stream(seed, EXISTING_POSTS)
    written: list[Columns] = [posts.old(rng, int(number * OLD_POST_SHARE), first * DAY_US)]
    for day in range(first, first + days):
        born = arrived(newcomers, day - first + 1) - arrived(newcomers, day - first)
        births = np.full(born, day, dtype=np.int32)
        found.append(traits(stream(seed, NEW_USERS, day), births, effects))
        came = arrived(new_posts, day - first + 1) - arrived(new_posts, day - first)
        written.append(posts.new(stream(seed, NEW_POSTS, day), came, day))
    post = concatenate(written)
    post["picture_appeal"] = posts.appeals(seed, post["picture"])
    return World(seed, users, first, first + days, **concatenate(found), **post)


def posts_for(users: int) -> int:
    """Return how many posts a product with so many users has after REFERENCE_DAYS."""
    (small, few), (large, many) = POSTS_AT, POSTS_AT_LARGE
    power = np.log(many / few) / np.log(large / small)
    return max(30, round(float(few * (users / small) ** power)))


def arrived(total: int, days: int) -> int:
    """Return how many of ``total`` newcomers in REFERENCE_DAYS are there after some days."""
    return total * days // REFERENCE_DAYS
