"""The simulated feed's world: its users and posts, planned for some days."""

from dataclasses import dataclass

import numpy as np

from jobs.simulate.clock import DAY_US, Array
from jobs.simulate.social.words import FACTORS

# purposes of random streams, see clock.stream
(
    COEFFICIENTS,
    EXISTING_USERS,
    NEW_USERS,
    MOVES,
    EXISTING_POSTS,
    NEW_POSTS,
    TEXTS,
    SESSIONS,
    BASE_POLICY,
    LISTS,
    LIKES,
    DEFECTS,
    AUTHORS,
    APPEALS,
    PICTURES,
) = range(100, 115)

FIRST_USER_ID, FIRST_POST_ID = 100_000, 1
DIMENSIONS = len(FACTORS)

COUNTRIES = (
    *("Russia", "Ukraine", "Belarus", "Kazakhstan", "Turkey", "Finland", "Azerbaijan", "Estonia"),
    *("Latvia", "Cyprus"),
)
COUNTRY_SHARE = np.array([0.78, 0.05, 0.05, 0.04, 0.03, 0.015, 0.01, 0.01, 0.01, 0.005])
# city, its country's place in COUNTRIES, its hours ahead of UTC, its weight in the country
CITIES = (
    *(("Moscow", 0, 3, 22), ("Saint Petersburg", 0, 3, 12), ("Kazan", 0, 3, 5)),
    *(("Nizhny Novgorod", 0, 3, 5), ("Rostov-on-Don", 0, 3, 4), ("Voronezh", 0, 3, 4)),
    *(("Krasnodar", 0, 3, 4), ("Volgograd", 0, 3, 3), ("Tula", 0, 3, 2), ("Smolensk", 0, 3, 2)),
    *(("Samara", 0, 4, 5), ("Izhevsk", 0, 4, 3), ("Yekaterinburg", 0, 5, 6), ("Perm", 0, 5, 4)),
    *(("Chelyabinsk", 0, 5, 4), ("Ufa", 0, 5, 4), ("Omsk", 0, 6, 3), ("Novosibirsk", 0, 7, 5)),
    *(("Krasnoyarsk", 0, 7, 3), ("Irkutsk", 0, 8, 2), ("Vladivostok", 0, 10, 2)),
    *(("Kyiv", 1, 2, 5), ("Kharkiv", 1, 2, 3), ("Odesa", 1, 2, 3), ("Minsk", 2, 3, 6)),
    *(("Gomel", 2, 3, 2), ("Brest", 2, 3, 2), ("Almaty", 3, 5, 4), ("Astana", 3, 5, 3)),
    *(("Istanbul", 4, 3, 5), ("Ankara", 4, 3, 2), ("Antalya", 4, 3, 2), ("Helsinki", 5, 2, 3)),
    *(("Tampere", 5, 2, 1), ("Baku", 6, 4, 3), ("Ganja", 6, 4, 1), ("Tallinn", 7, 2, 3)),
    *(("Tartu", 7, 2, 1), ("Riga", 8, 2, 3), ("Liepaja", 8, 2, 1), ("Limassol", 9, 2, 2)),
    ("Nicosia", 9, 2, 1),
)
CITY_COUNTRY = np.array([city[1] for city in CITIES])
CITY_OFFSET = np.array([city[2] for city in CITIES])
CITY_SHARE = np.array([city[3] for city in CITIES], dtype=float)
CITY_SHARE /= np.bincount(CITY_COUNTRY, CITY_SHARE)[CITY_COUNTRY]
SYSTEMS, SOURCES, GROUPS = ("Android", "iOS"), ("ads", "organic"), 5


@dataclass(frozen=True)
class World:
    """Users and posts: place i is user_id FIRST_USER_ID + i, and post_id FIRST_POST_ID + i.

    Days are day numbers, times are microseconds since 1970. A world planned for more days begins
    with the same users and posts.
    """

    seed: int
    users: int
    start: int
    end: int  # the first day it is not planned for
    # one for each user
    birth: Array  # the day of registration
    age: Array  # at registration or at the start, whichever is later
    birthday: Array  # a day of 365
    gender: Array
    city: Array  # at first; see users.moves
    os: Array
    source: Array
    exp_group: Array
    no_city: Array  # whether the source does not know the city
    rate: Array  # sessions a day
    peak: Array  # local hour around which most sessions begin
    generous: Array  # how readily the user likes anything
    topic_taste: Array  # by topic
    taste: Array  # by latent factor
    # one for each post
    published: Array  # time
    topic: Array  # what it is about
    no_topic: Array  # whether the source does not know it
    english: Array
    words: Array  # length of the text; 0 is an empty one
    picture: Array
    picture_appeal: Array  # what its content does for likes, -1 to 1; 0 without a picture
    quality: Array  # of all but the picture
    factors: Array  # its place in the latent factors, what its words betray
    edited: Array  # the day on which the text changes; 0 is never
    removed: Array  # the day on which the post goes


def born_by(world: World, day: int) -> int:
    """Return how many users there are on a day: those at places below this number."""
    return int(np.searchsorted(world.birth, day, side="right"))


def there(world: World, day: int) -> Array:
    """Return the places of the posts published before the end of ``day`` and not removed."""
    came = int(np.searchsorted(world.published, (day + 1) * DAY_US))
    return np.flatnonzero(world.removed[:came] > day)
