"""Posts of VK, from the JSON of its API (``jobs.load.vk_posts``), as a feed.

VK tells how often a post was viewed, liked, reposted and commented on, not by whom or when. So the
rows of feed_data stand for counts: view n of a post is user n's, at the post's own second, since
only the day of a view matters to a rate; the first users are those who also liked it, shared it,
commented on it. Users are numbers that exist for this alone: rates of posts mean something here,
likings of users do not.

- VK does not tell how often a post was hidden: there is no hide, and no other action that no post
  has a count of. As with any source, an action without a row is absent, and not done 0 times.
- A post without views.count (those of before 2017) has no denominator, and one that lacks a count
  that others have would be counted 0: they are kept, without events.
- More likes than views are as many as views: the counters are not of one moment.
- A post's topic is whose wall it is on, so that rates within a source can be compared.
- Its picture is named ``photo<owner>_<id>.jpg``, after its first photo. Nothing is downloaded: the
  files are looked up by that name under NIGHTSHIFT_IMAGE_ROOTS.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from itertools import chain
from pathlib import Path

from jobs.load import vk_posts
from jobs.load.blocks import Blocks, NotLoadable, clock, written
from jobs.load.vk_posts import COUNTS, MENDED, Post, Posts
from jobs.settings import source_tz

COLUMNS = {
    "user_data": ["id"],
    "post_text_df": ["id", "text", "topic"],
    "post_image": ["post_id", "uri"],
    "feed_data": ["timestamp", "user_id", "post_id", "action", "target"],
}
NUMBER_BITS = 31
ACTIONS = ("like", "share", "comment")
NEVER_TOLD = "hide"


def tables(
    folder: Path, today: date, report: Callable[[str], None]
) -> dict[str, tuple[list[str], Blocks]]:
    """Return the feed's tables made from the files; empty without JSON.

    Posts are held in memory, events are not: each is made when it is written.

    Args:
        folder: JSON files, read in the order of their names.
        today: first day (UTC) that is not over.
        report: is told what was found, and what of it is left out.

    Raises:
        NotLoadable: naming file, item and field, what it is and what was expected.
    """
    paths = vk_posts.files(folder)
    if not paths:
        return {}
    found = vk_posts.read(paths, today)
    posts = sorted(found.best.values(), key=lambda post: (post.at, post.owner, post.number))
    told = {action for post in posts if "view" in post.counts for action in post.counts}
    counted = [post for post in posts if "view" in post.counts and told == post.counts.keys()]
    most = max((post.counts["view"] for post in counted), default=0)
    if most == 0 or "like" not in told:
        raise NotLoadable(
            f"{folder}: {len(posts)} posts, none with a view to be counted; expected views.count "
            f"and likes.count; {MENDED}"
        )
    _tell(found, posts, counted, told, report)
    topics = _topics(found)
    rows: dict[str, Iterator[list[object]]] = {
        "user_data": ([user] for user in range(1, most + 1)),
        "post_text_df": ([key(post), post.text, topics[post.owner]] for post in posts),
        "feed_data": chain.from_iterable(map(_events, counted)),
    }
    if any(post.photo for post in posts):
        rows["post_image"] = ([key(post), post.photo] for post in posts if post.photo)
    return {table: (COLUMNS[table], written(each)) for table, each in rows.items()}


def key(post: Post) -> int:
    """Return a post's id in our tables: 31 bits of its owner, 31 of its number, 1 for communities.

    Two posts never share one, and both parts can be read from it: owner ``id >> 32``, number
    ``(id >> 1) % 2**31``.
    """
    return (abs(post.owner) << NUMBER_BITS | post.number) << 1 | (post.owner < 0)


def _events(post: Post) -> Iterator[list[object]]:
    """Yield a post's views, one of each user, and beside each what this user also did."""
    at, post_id, views = clock(post.at, source_tz()), key(post), post.counts["view"]
    done = {action: min(post.counts.get(action, 0), views) for action in ACTIONS}
    for user in range(1, views + 1):
        yield [at, user, post_id, "view", int(user <= done["like"])]
        for action, times in done.items():
            if user <= times:
                yield [at, user, post_id, action, ""]


def _topics(found: Posts) -> dict[int, str]:
    """Return each owner's name, with VK's short address where it has none or shares it."""
    owners = {owner for owner, _ in found.best}
    shared = Counter(found.names[owner] for owner in owners & found.names.keys())
    topics = {}
    for owner in owners:
        address = f"club{-owner}" if owner < 0 else f"id{owner}"
        name = found.names.get(owner, "")
        topics[owner] = f"{name} ({address})" if shared[name] > 1 else name or address
    return topics


def _tell(
    found: Posts,
    posts: list[Post],
    counted: list[Post],
    told: set[str],
    report: Callable[[str], None],
) -> None:
    """Report what was found, what of it is left out, and what VK does not tell."""
    owners = len({post.owner for post in posts})
    sums = {
        name: sum(min(post.counts[action], post.counts["view"]) for post in counted)
        for action, name in COUNTS.items()
        if action in told
    }
    report(
        f"VK: {len(posts):,} posts of {owners:,} owners; "
        + ", ".join(f"{count:,} {name}" for name, count in sums.items())
    )
    for what, times in sorted(found.skipped.items()):
        report(f"VK: {times:,} items skipped: {what}")
    if found.again:
        report(f"VK: {found.again:,} items are posts seen already: the one with most views counts")
    viewed = [post for post in posts if "view" in post.counts]
    if unknown := len(posts) - len(viewed):
        report(f"VK: {unknown:,} posts without views.count: kept, without events")
    if partial := len(viewed) - len(counted):
        lacking = {COUNTS[action] for post in viewed for action in told - post.counts.keys()}
        names = " or ".join(f"{name}.count" for name in sorted(lacking))
        report(f"VK: {partial:,} posts without {names}: kept, without events")
    for action in ACTIONS:
        more = sum(post.counts.get(action, 0) > post.counts["view"] for post in counted)
        if more:
            report(f"VK: {more:,} posts have more {COUNTS[action]} than views: counted as views")
    absent = [action for action in (*ACTIONS, NEVER_TOLD) if action not in told]
    report(f"VK: absent actions, which nothing counts: {', '.join(absent)}")
