"""Which version serves on which day: every decision is a row of ops.promotion."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, text

from jobs import warehouse
from jobs.champion.gate import Gate, Said, judge
from jobs.champion.serving import require_allowed
from jobs.champion.tracking import described

GATED = ("promote", "keep", "refuse")
TAKEN = ("promote", "keep", "rollback")
MOVES = ("promote", "rollback")


class NoLiveVersion(LookupError):
    """No version was live on the day."""


class NothingToRollBackTo(LookupError):
    """There is no version that was live before the one live now."""


class DecisionNotAllowed(ValueError):
    """A decision by hand lacks what is kept with it, or is about a day too far ahead."""


@dataclass(frozen=True)
class Decision:
    """The outcome of a night at the gate.

    Attributes:
        decision: promote, keep, refuse (a past day) or wait (the next decision is not due yet;
            this one leaves no row).
        version: the version to publish for that day.
        reason: why, in words.
        figures: what it rests on.
        promotion_id: row of ops.promotion.
    """

    decision: str
    version: str
    reason: str
    figures: dict[str, Any]
    promotion_id: int | None


@dataclass(frozen=True)
class Change:
    """What a promotion or rollback by hand did.

    Attributes:
        from_version: version live before, on the day it takes effect.
        to_version: version live from then on.
        affected_days: published days whose rows another version made; score them again.
    """

    from_version: str | None
    to_version: str
    affected_days: list[date]


def live_version(connection: Connection, job: str, as_of: date) -> str | None:
    """Return the version live on ``as_of``, or None before the first decision."""
    live = _live(connection, job, as_of)
    return live["model_version"] if live else None


def decide(
    engine: Engine,
    gate: Gate,
    as_of: date,
    scores: pd.DataFrame,
    challenger: str,
    actor: str,
    retrained: bool = False,
    said: Said | None = None,
    guards: Mapping[str, pd.DataFrame] | None = None,
) -> Decision:
    """Decide whether ``challenger`` goes live on ``as_of``, and return what serves that day.

    - The same day and challenger again: the decision taken then, no new row.
    - A day before the newest published or decided one (a backfill): nothing goes live. A row
      'refuse' records it. The version live on that day serves it; where none was, or where the
      day was retrained on purpose, the winner among challenger and baselines serves that day only.
    - Before ``cadence_days`` have passed since the last decision (the gate's or by hand): wait.
    - Else the verdict of `jobs.champion.gate.judge` is recorded as 'promote' or 'keep'.

    Args:
        engine: the warehouse.
        gate: the job's settings.
        as_of: day of the run.
        scores: the gate's rows, see `jobs.champion.gate.judge`; every other column that names a
            baseline of ops.model_version is one.
        challenger: version trained for this day.
        actor: run or person.
        retrained: the operator asked for this day to be retrained.
        said: to whom each version says yes, for a job that says so.
        guards: what else must not become worse, see `jobs.champion.gate.judge`.

    Raises:
        UnknownVersion: if challenger is not registered.
        GateRowsUnfit: if the rows can't carry a decision, or lack the champion's scores.
    """
    with engine.begin() as connection:
        _lock(connection, gate.job)
        described(connection, challenger)
        history = _history(connection, gate.job)
        live = _live(connection, gate.job, as_of)
        champion = live["model_version"] if live else None
        if known := _known(history, as_of, challenger):
            return _again(known, live)

        newest = _newest(connection, gate.job)
        decided = [row["effective_as_of"] for row in history if row["decision"] in TAKEN]
        last = max(decided, default=None)
        newest_day = max([day for day in (newest["published"], last) if day], default=as_of)
        if as_of < newest_day:
            return _refuse(
                connection,
                gate,
                as_of,
                scores,
                challenger,
                actor,
                retrained,
                champion,
                newest_day,
                said,
                guards,
            )
        if champion and last and (as_of - last).days < gate.cadence_days:
            due = last + timedelta(days=gate.cadence_days)
            return Decision("wait", champion, f"next decision on {due}", {}, None)

        age = (as_of - described(connection, champion)["as_of"]).days if champion else 0
        baselines = _baselines(connection, scores, champion)
        verdict = judge(gate, scores, challenger, baselines, champion, age, said, guards)
        decision = "keep" if verdict.winner == champion else "promote"
        promotion_id = _record(
            connection,
            gate.job,
            as_of,
            actor,
            decision,
            verdict.reason,
            champion,
            verdict.winner,
            verdict.figures,
        )
        return Decision(decision, verdict.winner, verdict.reason, verdict.figures, promotion_id)


def promote(
    engine: Engine, job: str, model_version: str, effective_as_of: date, actor: str, reason: str
) -> Change:
    """Make ``model_version`` live from ``effective_as_of`` on, past decisions notwithstanding.

    Where it is live already, that is a decision as well: the gate's cadence starts anew.

    Raises:
        UnknownVersion: if the version does not exist.
        VersionNotAllowed: if it is another job's or knows what happened after that day.
        DecisionNotAllowed: if actor or reason is missing, or the day lies beyond what the platform
            has seen.
    """
    with engine.begin() as connection:
        _lock(connection, job)
        return _move(connection, job, "promote", model_version, effective_as_of, actor, reason)


def rollback(engine: Engine, job: str, effective_as_of: date, actor: str, reason: str) -> Change:
    """Make the version live before the present one live again, from ``effective_as_of`` on.

    A second rollback goes back one more.

    Raises:
        NothingToRollBackTo: if there was no version before.
        VersionNotAllowed, DecisionNotAllowed: as for `promote`.
    """
    with engine.begin() as connection:
        _lock(connection, job)
        lived = _lived(_history(connection, job))
        if len(lived) < 2:
            now = (
                f"{lived[0]} is the only version that was ever live" if lived else "nothing is live"
            )
            raise NothingToRollBackTo(
                f"{job}: no version to roll back to: {now}; python -m jobs versions {job} lists "
                f"all, python -m jobs promote {job} VERSION --from D --reason WHY makes one live"
            )
        return _move(connection, job, "rollback", lived[-2], effective_as_of, actor, reason)


def versions(engine: Engine, job: str) -> pd.DataFrame:
    """Return the job's versions, newest first: what each is, since when live, days it served.

    Columns: model_version, is_live (by the newest decision), kind, name, as_of, created_at,
    live_since, served_from, served_to, mlflow_run_id, served_days.
    """
    with engine.connect() as connection:
        found = warehouse.rows(connection, warehouse.sql_file("champion/versions.sql"), job=job)
        live = {live_version(connection, row["job"], date.max) for row in found}
    frame = pd.DataFrame(found)
    if found:
        frame = frame.drop(columns="job")
        frame.insert(1, "is_live", frame["model_version"].isin(live))
    return frame


def affected_days(connection: Connection, job: str, from_day: date) -> list[date]:
    """Return the published days from ``from_day`` on whose rows the live version did not make."""
    statement = warehouse.sql_file("champion/affected_days.sql")
    found = warehouse.rows(connection, statement, job=job, from_day=from_day)
    return [row["as_of"] for row in found]


def tuned(connection: Connection, job: str, as_of: date) -> tuple[date, dict[str, Any]] | None:
    """Return the newest tuned values not later than ``as_of`` and the day they were tuned for."""
    statement = warehouse.sql_file("champion/tuned.sql")
    found = warehouse.rows(connection, statement, job=job, as_of=as_of)
    return (found[0]["as_of"], found[0]["params"]) if found else None


def record_tuning(
    connection: Connection,
    job: str,
    as_of: date,
    params: dict[str, Any],
    trials: int,
    value: float | None,
) -> None:
    """Keep tuned values for runs of ``as_of`` and later; a day tuned already keeps its values."""
    warehouse.execute(
        connection,
        "champion/insert_tuning.sql",
        job=job,
        as_of=as_of,
        params=json.dumps(params),
        trials=trials,
        value=value,
    )


def _refuse(
    connection: Connection,
    gate: Gate,
    as_of: date,
    scores: pd.DataFrame,
    challenger: str,
    actor: str,
    retrained: bool,
    champion: str | None,
    newest_day: date,
    said: Said | None,
    guards: Mapping[str, pd.DataFrame] | None,
) -> Decision:
    """Record that a past day makes nothing live, and return what serves it."""
    past = f"{as_of} is a past day (the newest is {newest_day})"
    figures: dict[str, Any] = {"challenger": challenger}
    if champion and not retrained:
        serves, reason = champion, f"{past}: {champion}, live then, serves it"
    else:
        baselines = _baselines(connection, scores, None)
        verdict = judge(gate, scores, challenger, baselines, said=said, guards=guards)
        figures = verdict.figures
        serves = champion if champion and verdict.winner != challenger else verdict.winner
        reason = f"{past}: {serves} serves this day only; {verdict.reason}"
    figures = figures | {"serves": serves}
    promotion_id = _record(
        connection, gate.job, as_of, actor, "refuse", reason, champion, champion, figures
    )
    return Decision("refuse", serves, reason, figures, promotion_id)


def _again(known: dict[str, Any], live: dict[str, Any] | None) -> Decision:
    """Return a decision taken before; a promotion or rollback by hand since then holds."""
    version = known["figures"].get("serves")
    if live and (version is None or live["promotion_id"] > known["promotion_id"]):
        version = live["model_version"]
    return Decision(
        known["decision"], str(version), known["reason"], known["figures"], known["promotion_id"]
    )


def _known(history: list[dict[str, Any]], as_of: date, challenger: str) -> dict[str, Any] | None:
    """Return the gate's decision on this day and challenger, if it was taken before."""
    matching = [
        row
        for row in history
        if row["effective_as_of"] == as_of
        and row["figures"].get("challenger") == challenger
        and row["decision"] in GATED
    ]
    return matching[-1] if matching else None


def _move(
    connection: Connection,
    job: str,
    decision: str,
    to_version: str,
    effective_as_of: date,
    actor: str,
    reason: str,
) -> Change:
    """Record ``to_version`` as live from a day on and return what that changed."""
    if not actor.strip() or not reason.strip():
        raise DecisionNotAllowed(f"{job}: a {decision} needs an actor and a reason; both are kept")
    require_allowed(described(connection, to_version), job, effective_as_of)
    newest = _newest(connection, job)
    seen = max(day for day in (newest["published"], newest["trained"]) if day)
    if effective_as_of > seen + timedelta(days=1):
        raise DecisionNotAllowed(
            f"{job}: {effective_as_of} is beyond the day after the newest one seen ({seen}); "
            "a decision for the future would shut the gate until then"
        )
    before = live_version(connection, job, effective_as_of)
    # The last decision by (effective day, time) holds, so a later day's own decision would outlive
    # this one: say it again on each of those days.
    later = {
        row["effective_as_of"]
        for row in _history(connection, job)
        if row["decision"] in MOVES and row["effective_as_of"] > effective_as_of
    }
    for day in sorted({effective_as_of} | later):
        said = reason if day == effective_as_of else f"{reason} (from {effective_as_of} on)"
        live = live_version(connection, job, day)
        _record(connection, job, day, actor, decision, said, live, to_version, {})
    return Change(before, to_version, affected_days(connection, job, effective_as_of))


def _lived(history: list[dict[str, Any]]) -> list[str]:
    """Return the versions that can be gone back to, the one live now last.

    A promotion adds one; a rollback takes away all that came after the one it went back to.
    """
    lived: list[str] = []
    for row in history:
        if row["decision"] not in MOVES:
            continue
        version = row["to_version"]
        if row["decision"] == "rollback":
            while lived and lived[-1] != version:
                lived.pop()
        if not lived or lived[-1] != version:
            lived.append(version)
    return lived


def _baselines(
    connection: Connection, scores: pd.DataFrame, champion: str | None
) -> dict[str, str]:
    """Return version and name of each baseline that has a column in ``scores``."""
    found = warehouse.rows(
        connection,
        "select model_version, name from ops.model_version "
        "where kind = 'baseline' and model_version = any(:columns)",
        columns=[str(column) for column in scores.columns],
    )
    return {row["model_version"]: row["name"] for row in found if row["model_version"] != champion}


def _lock(connection: Connection, job: str) -> None:
    """Let one decision of a job at a time pass; the lock goes with the transaction."""
    connection.execute(
        text("select pg_advisory_xact_lock(hashtextextended('champion ' || :job, 0))"), {"job": job}
    )


def _live(connection: Connection, job: str, as_of: date) -> dict[str, Any] | None:
    statement = warehouse.sql_file("champion/live_version.sql")
    found = warehouse.rows(connection, statement, job=job, as_of=as_of)
    return found[0] if found else None


def _history(connection: Connection, job: str) -> list[dict[str, Any]]:
    return warehouse.rows(connection, warehouse.sql_file("champion/decisions.sql"), job=job)


def _newest(connection: Connection, job: str) -> dict[str, Any]:
    return warehouse.rows(connection, warehouse.sql_file("champion/newest_day.sql"), job=job)[0]


def _record(
    connection: Connection,
    job: str,
    effective_as_of: date,
    actor: str,
    decision: str,
    reason: str,
    from_version: str | None,
    to_version: str | None,
    figures: dict[str, Any],
) -> int:
    """Append one decision and return its promotion_id."""
    recorded = warehouse.rows(
        connection,
        warehouse.sql_file("champion/insert_decision.sql"),
        job=job,
        effective_as_of=effective_as_of,
        actor=actor,
        decision=decision,
        reason=reason,
        from_version=from_version,
        to_version=to_version,
        figures=json.dumps(figures, allow_nan=False),
    )
    return int(recorded[0]["promotion_id"])
