"""Feature tables filled by SQL: clients with a life, messages and purchases over many days."""

from datetime import date

from sqlalchemy import Engine, text

AS_OF = date(2026, 3, 1)

# A client is messaged every 60 days or so and, if a buyer, buys every 90; a life version per
# purchase. Daily volumes do not depend on how many days there are.
STATEMENTS = (
    """
    insert into feature.message_day
    select client, cast(:as_of as date) - 1 - age,
        (array['email', 'mobile_push', 'sms'])[1 + client % 3],
        cast(:as_of as date) - age, 'infinity', 1,
        cast(abs(hashint8(client * 1000 + age)) % 4 = 0 as integer),
        cast(abs(hashint8(client * 1000 + age)) % 12 = 0 as integer), 0, 0, 0, 0, 0, 0
    from generate_series(:days - 1, 0, -1) as age
    cross join lateral generate_series(1 + (age * 7919) % 60, :clients, 60) as client
    """,
    """
    insert into feature.purchase_day
    select client, cast(:as_of as date) - 1 - age, cast(:as_of as date) - age, 'infinity', 1, 1,
        10 + client % 50, 10 + client % 50, 10 + client % 50, 10 + client % 50,
        array[cast(client % 40 as text)], 0, '{}', '{}'
    from generate_series(:days - 1, 0, -1) as age
    cross join lateral generate_series(1 + (age * 101) % 90 * 50, :clients, 4500) as client
    """,
    """
    insert into feature.client_life (client_id, valid_from, valid_to, first_seen_day,
        first_message_day, first_purchase_day, last_purchase_day, purchase_days, lines, quantity,
        spent, price_sum, gap_days, gap_days_squared, max_gap)
    select client_id, known_from, lead(known_from, 1, 'infinity') over client,
        min(event_day) over client - 30, min(event_day) over client - 30,
        min(event_day) over client, event_day,
        row_number() over client, row_number() over client, row_number() over client,
        sum(spent) over client, sum(spent) over client, event_day - min(event_day) over client,
        power(event_day - min(event_day) over client, 2), 90
    from feature.purchase_day
    window client as (partition by client_id order by event_day)
    """,
    """
    insert into feature.client_life (client_id, valid_from, first_seen_day, first_message_day,
        purchase_days, lines, quantity, spent, price_sum, gap_days, gap_days_squared, max_gap)
    select client, cast(:as_of as date) - :days, cast(:as_of as date) - :days - 1,
        cast(:as_of as date) - :days - 1, 0, 0, 0, 0, 0, 0, 0, 0
    from generate_series(1, :clients) as client
    where not exists (select from feature.client_life where client_id = client)
    """,
    "analyze feature.message_day",
    "analyze feature.purchase_day",
    "analyze feature.client_life",
)


def fill(warehouse: Engine, clients: int, days: int) -> None:
    """Fill the feature tables for ``clients`` over the ``days`` before AS_OF."""
    with warehouse.begin() as connection:
        connection.execute(
            text("truncate feature.message_day, feature.purchase_day, feature.client_life")
        )
        for statement in STATEMENTS:
            names = {"as_of": AS_OF, "clients": clients, "days": days}
            used = {name: value for name, value in names.items() if f":{name}" in statement}
            connection.execute(text(statement), used)
