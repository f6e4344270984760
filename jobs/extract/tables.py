"""The source tables we copy, and all that is particular about each: a new one is added here."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """What the copying of one source table needs to know.

    Attributes:
        key: column of what a row is about (a client, a user, a post); no row may lack it.
        sample: columns that tell a row in a message.
        features: tables under feature that its days are added up in, in this order; the SQL file
            of each has the same name.
        counts: temporary tables that its features are made from, in this order; the SQL file that
            makes each is under sql/feature too.
        lives: whether its rows change feature.client_life.
        snapshot: the source holds only its present state, a row for each key: kept by version
            (jobs/extract/versions.py), not by day.
        refers_to: table that must know what a column names, by that column.
        with_key: columns that tell a row together with ``key``, where a table kept by version has
            several rows for one.
        optional: the owner may not have it. It is absent then without being declared so, and where
            it is there it may be empty.
    """

    key: str
    sample: tuple[str, ...]
    features: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    lives: bool = False
    snapshot: bool = False
    refers_to: dict[str, str] = field(default_factory=dict)
    with_key: tuple[str, ...] = ()
    optional: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the columns that tell a row of a table kept by version."""
        return (self.key, *self.with_key)


TABLES = {
    "apparel_messages": Table(
        "client_id", ("client_id", "message_id", "event"), ("message_day", "step_day"), lives=True
    ),
    "apparel_purchases": Table(
        "client_id", ("client_id", "date", "price"), ("purchase_day", "step_day"), lives=True
    ),
    "client_event": Table("client_id", ("client_id", "event_time", "event_type"), ("step_day",)),
    "user_data": Table("user_id", ("user_id",), snapshot=True),
    "post_text_df": Table("post_id", ("post_id", "topic"), snapshot=True),
    "post_image": Table("post_id", ("post_id", "uri"), snapshot=True),
    # Posts that a user must not be shown: the user's own, those of blocked authors ...
    "feed_exclusion": Table(
        "user_id", ("user_id", "post_id"), snapshot=True, with_key=("post_id",), optional=True
    ),
    "feed_data": Table(
        "user_id",
        ("user_id", "post_id", "timestamp", "action"),
        # A post's life is read from its days.
        ("user_topic_day", "post_day", "user_hour_day", "user_post_day", "post_life"),
        # So that they read raw once, not each.
        counts=("feed_user_change", "feed_post_change", "feed_count"),
        refers_to={"user_id": "user_data", "post_id": "post_text_df"},
    ),
}
# Each family in the order it is loaded: purchases look up the message they are tied to, events of
# the feed the user and the post.
SHOP = ("apparel_messages", "apparel_purchases", "client_event")
SOCIAL = ("user_data", "post_text_df", "post_image", "feed_exclusion", "feed_data")
OPTIONAL = tuple(name for name, table in TABLES.items() if table.optional)
# Columns that name a person who can be erased (jobs/forget.py), and what such a person is called.
PEOPLE = {"client_id": "client", "user_id": "user"}
# An optional table that had no more rows than these may lose all of them: that is people's wish.
FEW_ROWS = 20


def may_be_empty(table: str, standing: int) -> bool:
    """Return whether a source without a row of the table is in order.

    Args:
        table: one of TABLES.
        standing: keys of it that stand.
    """
    return TABLES[table].optional and standing <= FEW_ROWS
