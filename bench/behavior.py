"""Client behavior at 500,000 and 20 million events: reading, fitting, scoring everybody."""

import multiprocessing
import resource
from datetime import date
from multiprocessing.connection import Connection

import pandas as pd
from sqlalchemy import Engine, text

from bench.ground import Ground, seconds
from jobs.client_behavior import (
    comparing,
    lstm_training,
    markov,
    reading,
    scores,
    training,
    transitions,
)
from jobs.client_behavior.comparing import Asked
from jobs.client_behavior.labels import HORIZON, marks
from jobs.client_behavior.reading import WINDOW, microseconds
from jobs.client_behavior.sequences import DAY_US, Sequences, with_churn
from jobs.client_behavior.training import HELD_PERCENT, Past, Trained
from jobs.client_scores.slices import percent
from jobs.warehouse import engine

AS_OF = date(2026, 3, 1)
DAYS, EVENTS_A_DAY, DAYS_A_CLIENT = 180, 5, 8
SILENCE_DAYS = 30
SIZES = (500_000, 20_000_000)
# A visit of five steps on each of a client's days; buyers end theirs with a purchase.
FILL = """
insert into feature.step_day
select client, day, 'client_event', day + 1, 'infinity',
    array['view', 'view', (array['view', 'cart', 'favorite'])[1 + client % 3],
        (array['view', 'cart', 'open', 'click'])[1 + cast(day - date '2000-01-01' as integer) % 4],
        case when abs(hashint8(client * 1000 + visit)) % 12 = 0 then 'purchase' else 'view' end],
    array[day + time '10:00', day + time '10:01', day + time '10:03', day + time '10:04',
        day + time '10:09'] :: timestamptz[]
from generate_series(1, :clients) as client
cross join generate_series(1, :visits) as visit
cross join lateral (
    select cast(:as_of as date) - 1
        - cast(abs(hashint8(client * 100 + visit)) % :days as integer) as day
) as days
"""


def measure(databases: Ground) -> str:
    """Return the figures of both sizes, each in a process of its own."""
    url = databases.warehouse.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    lines = []
    for size in SIZES:
        fill(databases.warehouse, size)
        receiver, sender = context.Pipe()
        process = context.Process(target=night, args=(url, sender))
        process.start()
        lines += receiver.recv()
        process.join()
    return "\n".join(lines)


def fill(warehouse: Engine, events: int) -> None:
    """Fill feature.step_day with so many events of the DAYS before AS_OF."""
    clients = events // (EVENTS_A_DAY * DAYS_A_CLIENT)
    with warehouse.begin() as connection:
        connection.execute(text("truncate feature.step_day"))
        connection.execute(
            text(FILL), {"clients": clients, "visits": DAYS_A_CLIENT, "days": DAYS, "as_of": AS_OF}
        )
        connection.execute(text("analyze feature.step_day"))


def gate(trained: Trained, whole: Sequences) -> None:
    """Ask every candidate, and what would serve, about the newest days."""
    cutoff = AS_OF - HORIZON
    first, end = microseconds(cutoff), microseconds(AS_OF)
    lived = whole.where(whole.state < len(whole.states) - 1)
    known, later = lived.between(0, first), lived.between(first, end)
    asked = Asked(known, later, cutoff, AS_OF, SILENCE_DAYS, pd.DataFrame())
    comparing.table(trained, asked)
    comparing.losses(trained.fitted, asked)
    comparing.head_losses(trained.fitted, asked)


def night(url: str, answer: Connection) -> None:
    """Do each part of a night once; send its lines."""
    warehouse = engine(url)
    found = []

    def read() -> None:
        steps = reading.steps(warehouse, AS_OF - WINDOW, AS_OF, AS_OF)
        found.append(with_churn(steps, SILENCE_DAYS * DAY_US, microseconds(AS_OF)))

    took = {"read": seconds(read)}
    whole = found[0]
    held = percent(whole.clients) < HELD_PERCENT
    took["chains"] = seconds(lambda: markov.fit(whole, held))
    took["transitions"] = seconds(
        lambda: transitions.of_day(whole, SILENCE_DAYS * DAY_US, microseconds(AS_OF))
    )
    known = marks(whole, [microseconds(AS_OF - HORIZON)])
    took["epoch"] = seconds(lambda: lstm_training.fit(whole, known, held, 1))
    trained = []
    past = Past(whole.between(0, microseconds(AS_OF)), AS_OF, SILENCE_DAYS)
    took["train"] = seconds(lambda: trained.append(training.fit_all(past, epochs=1)))
    took["gate"] = seconds(lambda: gate(trained[0], whole))
    fitted = trained[0].fitted["model"]
    took["score"] = seconds(lambda: scores.of_clients(fitted, whole, microseconds(AS_OF)))
    events, clients = len(whole.state), len(whole.clients)

    def line(words: str, part: str, count: int = 0, unit: str = "events") -> str:
        rate = f" {count / took[part]:>14,.0f} {unit}/s" if count else ""
        return f"  {words:<28}{took[part]:>10.1f} s{rate}"

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.send(
        [
            f"{events:,} events of {clients:,} clients",
            line("sequences", "read", events),
            line("Markov chains, orders 0 to 3", "chains", events),
            line("transitions, 3 segments", "transitions", events),
            line("LSTM, one epoch", "epoch", events),
            line("all candidates, one epoch", "train"),
            line("all of them at the gate", "gate"),
            line("scoring", "score", clients, "clients"),
            f"  serves: {fitted.name}",
            f"  peak memory (goal 6144)     {peak:>10,.0f} MB",
        ]
    )
