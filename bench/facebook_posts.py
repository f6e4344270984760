"""Models of post_conversion on real posts: the tables of docs/facebook-posts.md.

Needs no database. ``python -m bench.facebook_posts FOLDER [REPEATS]`` reads dataset_Facebook.csv
(UCI Facebook metrics, Moro 2016: 500 posts of one page), fits every candidate as a night would on
four fifths of the posts and asks about the rest, for each fifth of each random cut; then once on
the earlier posts, asking about the later ones.
"""

import sys
from calendar import monthrange
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import md5
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import evaluation
from jobs.feed_recommendation import tfidf
from jobs.post_conversion import model, rates, rows, training
from jobs.post_conversion.model import GLOBAL, TOPIC, Fitted
from jobs.post_conversion.rows import Rows
from jobs.post_conversion.training import Trained

FILE = "dataset_Facebook.csv"
# Columns that are read, as UCI calls them and as copies do.
COLUMNS = {
    "Type": "Type",
    "Category": "Category",
    "Post Month": "Month",
    "Post Weekday": "Weekday",
    "Post Hour": "Hour",
    "Paid": "Paid",
    "Lifetime Post Total Impressions": "T_Impression",
    "comment": "comment",
    "like": "like",
    "share": "share",
}
COUNTS = {"T_Impression": "views", "like": "likes", "share": "shares", "comment": "comments"}
LIMITS = {"Category": (1, 3), "Month": (1, 12), "Weekday": (1, 7), "Hour": (0, 23), "Paid": (0, 1)}
MAY_LACK = ("Paid", *COUNTS)
# The file has no year: Moro (2016) names it, and no weekday of the file contradicts it.
YEAR = 2014
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
CATEGORIES = ("action", "product", "inspiration")
HOURS = ("night", "morning", "afternoon", "evening")

ACTIONS = ("like", "share", "comment")
ALL = "all"
FOLDS, REPEATS, LATER_SHARE = 5, 10, 0.25
SEED = 7
CHOSEN = "chosen"
BASELINE = str(TOPIC)
# Models that are compared with one another: the first minus the second.
PAIRS = (
    (CHOSEN, str(GLOBAL)),
    ("ridge on tfidf", str(GLOBAL)),
    ("catboost on svd", str(GLOBAL)),
    ("ridge on tfidf", "linear on tfidf"),
    ("ridge on tfidf", "forest on tfidf"),
    ("ridge on svd", "catboost on svd"),
    ("ridge on svd", "hybrid on svd"),
)
# Figure -> its head, what it is multiplied by, digits, whether a fold counts by its views.
HEADS = {
    "log_loss": ("log-loss of 1,000 views", 1_000, 3, True),
    "absolute_error": ("absolute error, points", 100, 4, True),
    "spearman": ("Spearman", 1, 3, False),
    "spearman_within": ("Spearman within type", 1, 3, False),
    "top_decile_lift": ("top-decile lift", 1, 2, False),
}

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]


class BadFile(ValueError):
    """The file isn't what it should be."""


class Fold(NamedTuple):
    """Posts that were held back from one training, and what it chose.

    Attributes:
        held: their places, in random order, so that posts of one prediction rank by chance.
        chosen: by action, the candidate that the night would have served.
        strength: by action, how many views its prediction was taken to be worth.
    """

    held: Places
    chosen: Mapping[str, str]
    strength: Mapping[str, float]


@dataclass(frozen=True)
class Told:
    """What was foretold of posts that were held back.

    Attributes:
        posts: rows of posts.sql.
        repeats: the folds of each cut.
        rate: by model, repeats x posts x actions; NaN of posts that no fold held.
    """

    posts: pd.DataFrame
    repeats: Sequence[Sequence[Fold]]
    rate: Mapping[str, Numbers]

    @property
    def views(self) -> Numbers:
        """Return the views of each post."""
        return np.asarray(self.posts["views"], float)

    def count(self, action: str) -> Numbers:
        """Return how many views of each post ended in an action."""
        return np.asarray(self.posts[rows.ACTIONS[action]], float)

    def told(self, name: str, action: str) -> Numbers:
        """Return what a model said of an action: repeats x posts."""
        return np.asarray(self.rate[name][:, :, ACTIONS.index(action)])

    def lost(self, name: str, action: str) -> Numbers:
        """Return the loss of each post's views, mean over repeats; of ALL, the sum over actions."""
        each = ACTIONS if action == ALL else (action,)
        lost = [rates.loss(self.count(one), self.views, self.told(name, one)) for one in each]
        return np.asarray(np.sum(lost, axis=0).mean(axis=0))


# The file -----------------------------------------------------------------------------------------


def read(folder: Path) -> tuple[pd.DataFrame, int]:
    """Return the posts as rows of posts.sql, oldest first, and how many were left out.

    Left out are posts without one of the counts. What the file says of a post is its text.
    ``post_id`` counts lines from the last one, which is the oldest post.

    Raises:
        BadFile: naming the file, the line and what is wrong.
    """
    path = folder / FILE
    said = _table(path)
    number = {name: _numbers(path, said[name], *LIMITS[name]) for name in LIMITS}
    number |= {name: _numbers(path, said[name], 0, 10**9) for name in COUNTS}
    whole = {name: each.astype(int) for name, each in number.items() if name not in MAY_LACK}
    days = _days(path, whole["Month"], whole["Weekday"])
    moments = [
        datetime.combine(day, time(hour), UTC)
        for day, hour in zip(days, whole["Hour"], strict=True)
    ]
    topics = said["Type"].str.strip().str.lower()
    paid = number["Paid"].map({0: "unpaid", 1: "paid"})
    told = zip(topics, whole["Category"], paid, whole["Weekday"], whole["Hour"], strict=True)
    texts = [
        " ".join(
            [
                kind,
                CATEGORIES[category - 1],
                *([word] if isinstance(word, str) else []),
                WEEKDAYS[weekday - 1],
                HOURS[hour // 6],
            ]
        )
        for kind, category, word, weekday, hour in told
    ]
    counts = {
        f"{column}{suffix}": number[name]
        for suffix in ("", "_all", "_on_time")
        for name, column in COUNTS.items()
    }
    posts = pd.DataFrame(
        {
            "post_id": np.arange(len(said), 0, -1),
            "published_at": pd.to_datetime(moments),
            "published_day": days,
            "text": texts,
            "text_md5": [md5(text.encode()).hexdigest() for text in texts],
            "topic": topics,
            "uri": None,
            "mature": True,
            **counts,
        }
    )
    kept = posts.dropna(subset=[*counts]).astype(dict.fromkeys(counts, "int64"))
    return kept.sort_values("post_id", ignore_index=True), len(posts) - len(kept)


def _table(path: Path) -> pd.DataFrame:
    """Return the file's cells as they are written, by the names that copies use."""
    if not path.is_file():
        raise BadFile(f"{path}: no such file; the folder must hold UCI's {FILE}")
    try:
        said = pd.read_csv(path, sep=";", dtype=str).rename(columns=COLUMNS)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as why:
        raise BadFile(f"{path}: {why}") from why
    if missing := [name for name in COLUMNS.values() if name not in said]:
        raise BadFile(
            f"{path}: no column {', '.join(missing)}, found {', '.join(map(str, said))[:200]}; "
            "expected are UCI's columns, separated by semicolons"
        )
    if said.empty:
        raise BadFile(f"{path}: no posts below the header")
    for name in COLUMNS.values():
        if name not in MAY_LACK and said[name].isna().any():
            raise BadFile(f"{path} line {said[name].isna().argmax() + 2}: {name} is empty")
    return said


def _numbers(path: Path, said: pd.Series, low: float, high: float) -> pd.Series:
    """Return a column's numbers, NaN where its cell is empty."""
    found = pd.to_numeric(said, errors="coerce")
    wrong = said.notna() & ~(found.between(low, high) & (found % 1 == 0))
    if wrong.any():
        line = int(wrong.argmax())
        raise BadFile(
            f"{path} line {line + 2}: {said.name} is {said[line]!r}, expected a whole number from "
            f"{low} to {high}"
        )
    return found.astype(float)


def _days(path: Path, months: Iterable[int], weekdays: Iterable[int]) -> list[date]:
    """Return each post's day: the last of its month and weekday that isn't after the line above's.

    So it is right unless the page was silent for a week or more within a month.
    """
    day, found = date(YEAR, 12, 31), []
    for line, (month, weekday) in enumerate(zip(months, weekdays, strict=True), start=2):
        day = min(day, date(YEAR, month, monthrange(YEAR, month)[1]))
        # The file's 1 is Sunday, Python's 0 is Monday.
        day -= timedelta(days=(day.weekday() - (weekday - 2)) % 7)
        if (day.year, day.month) != (YEAR, month):
            raise BadFile(
                f"{path} line {line}: month {month} of {YEAR} has no weekday {weekday} (1 is "
                "Sunday) on or before the day of the line above; expected are posts from the "
                "newest down"
            )
        found.append(day)
    return found


# What models say of posts that they did not see ---------------------------------------------------


def fitted_on(posts: pd.DataFrame, learned: Places, held: Places) -> tuple[Trained, Rows]:
    """Return what is fitted on some posts, and others as it reads them.

    Everything comes from ``learned``: the words and their axes, the models and their maps, and the
    past rates of types, those that held posts are given too.
    """
    known = posts.iloc[np.sort(learned)]
    encoder = tfidf.fit(known["text"].tolist())

    def given(part: pd.DataFrame) -> Rows:
        vectors = {"svd": encoder.embed(part["text"].tolist())}
        return rows.build(part, ACTIONS, vectors, rows.no_pictures(), history=known)

    return training.fit_all(given(known)), given(posts.iloc[held])


def versions(trained: Trained) -> dict[str, Fitted]:
    """Return every candidate, by name, for all actions; and CHOSEN, which the night would serve."""
    alone = {str(each): dict.fromkeys(ACTIONS, each) for each in trained.models}
    best = {action: trained.best(action) for action in ACTIONS}
    return {name: trained.serving(serves) for name, serves in {**alone, CHOSEN: best}.items()}


def ask(posts: pd.DataFrame, cuts: Sequence[Sequence[tuple[Places, Places]]]) -> Told:
    """Return what is foretold, for each cut, of the second posts of each pair from the first."""
    rate: dict[str, Numbers] = {}
    repeats = []
    for turn, cut in enumerate(cuts):
        folds = []
        for learned, held in cut:
            trained, asked = fitted_on(posts, learned, held)
            for name, one in versions(trained).items():
                blank = np.full((len(cuts), len(posts), len(ACTIONS)), np.nan)
                rate.setdefault(name, blank)[turn, held] = model.predicted(one, asked)
            chosen = {action: str(trained.best(action)) for action in ACTIONS}
            folds.append(Fold(held, chosen, trained.strengths))
        repeats.append(folds)
        print(f"cut {turn + 1} of {len(cuts)}", file=sys.stderr, flush=True)
    return Told(posts, repeats, rate)


def random_cuts(posts: int, repeats: int) -> list[list[tuple[Places, Places]]]:
    """Return, for each repeat, FOLDS pairs of places: all others, and those held back."""
    cuts = []
    for turn in range(repeats):
        order = np.random.default_rng([SEED, turn]).permutation(posts)
        cuts.append([(np.setdiff1d(order, held), held) for held in np.array_split(order, FOLDS)])
    return cuts


def cut_in_time(posts: pd.DataFrame) -> list[list[tuple[Places, Places]]]:
    """Return one pair: posts whose windows were over before the later posts, and those."""
    days = pd.to_datetime(posts["published_day"])
    begin = days.sort_values().iloc[len(posts) - int(len(posts) * LATER_SHARE)]
    held = np.random.default_rng(SEED).permutation(np.flatnonzero(days >= begin))
    return [[(np.flatnonzero(days + pd.Timedelta(days=rows.WINDOW_DAYS) <= begin), held)]]


# Figures ------------------------------------------------------------------------------------------


def figures(told: Told) -> pd.DataFrame:
    """Return action, model, repeat and the figures of HEADS, which are means over folds.

    Losses and errors are of a view, so a fold counts by its views; ranks are compared within folds.
    """
    found = []
    groups = told.posts["topic"].to_numpy()
    for turn, folds in enumerate(told.repeats):
        for fold in folds:
            seen = told.views[fold.held]
            for action in ACTIONS:
                for name in told.rate:
                    rate = told.told(name, action)[turn, fold.held]
                    of_fold = rates.figures(
                        told.count(action)[fold.held], seen, rate, groups[fold.held]
                    )
                    found.append({"action": action, "model": name, "repeat": turn,
                                  "views": seen.sum(), **of_fold})  # fmt: skip
    frame = pd.DataFrame(found)
    by_views = [name for name, (*_, weighed) in HEADS.items() if weighed]
    frame[by_views] = frame[by_views].mul(frame["views"], axis=0)
    folds_of = frame.groupby(["action", "model", "repeat"], sort=False)
    means, sums = folds_of[[*HEADS]].mean(), folds_of[[*by_views, "views"]].sum()
    means[by_views] = sums[by_views].div(sums["views"], axis=0)
    return means.reset_index()


def differences(told: Told, action: str, other: str = BASELINE) -> dict[str, evaluation.Interval]:
    """Return by how much more each model loses than another, of a view; below 0 is better.

    A post's loss is its mean over repeats; the intervals are of posts drawn with replacement, each
    with all its views, the same draws for every model.
    """
    lost = {name: told.lost(name, action) for name in told.rate}
    asked = np.isfinite(lost[other])
    views, posts = told.views[asked], int(asked.sum())
    random = np.random.default_rng(SEED)
    drawn = random.multinomial(posts, np.full(posts, 1 / posts), evaluation.RESAMPLES)
    found = {}
    for name, each in lost.items():
        gap = (each - lost[other])[asked]
        low, high = np.quantile(drawn @ gap / (drawn @ views), [rates.TAIL, 1 - rates.TAIL])
        found[name] = evaluation.Interval(gap.sum() / views.sum(), float(low), float(high))
    return found


def spread(told: Told) -> pd.DataFrame:
    """Return how far posts differ, a row for each action; means over repeats, or trainings.

    Columns: rate (of all views); global_strength, baseline_strength, chosen_strength (how many
    views a prediction is worth, by how far held posts lie from it); coverage (share of held posts
    whose count lies within the 95 % interval of CHOSEN, as its training knew its strength);
    most_chosen (the candidate chosen most often, and in how many trainings).
    """
    found = []
    asked = np.isfinite(told.lost(BASELINE, ALL))
    views = told.views[asked]
    for action in ACTIONS:
        count = told.count(action)
        strengths = {
            f"{column}_strength": np.mean(
                [
                    rates.strength(count[asked], views, rate[asked])
                    for rate in told.told(name, action)
                ]
            )
            for column, name in {
                "global": str(GLOBAL),
                "baseline": BASELINE,
                "chosen": CHOSEN,
            }.items()
        }
        covered, chosen = [], []
        for folds, rate in zip(told.repeats, told.told(CHOSEN, action), strict=True):
            for held, serves, known in folds:
                chosen.append(serves[action])
                covered.append(
                    rates.coverage(count[held], told.views[held], rate[held], known[action])
                )
        name, times = Counter(chosen).most_common(1)[0]
        found.append(
            {
                "action": action,
                "rate": count[asked].sum() / views.sum(),
                **strengths,
                "coverage": np.mean(covered),
                "most_chosen": f"{name} ({times} of {len(chosen)})",
            }
        )
    return pd.DataFrame(found).set_index("action")


# Tables -------------------------------------------------------------------------------------------


def compared(told: Told) -> Iterator[str]:
    """Yield the lines of two tables: models against BASELINE, and PAIRS; of 1,000 views."""
    yield from _head([f"minus {BASELINE}", *ACTIONS, ALL])
    of = {action: differences(told, action) for action in (*ACTIONS, ALL)}
    for name in told.rate:
        if name != BASELINE:
            yield _line(name, [_gap(of[action][name]) for action in of])
    yield ""
    yield from _head(["", *ACTIONS, ALL])
    for one, other in PAIRS:
        gaps = [differences(told, action, other)[one] for action in (*ACTIONS, ALL)]
        yield _line(f"{one} minus {other}", [_gap(each) for each in gaps])


def described(told: Told) -> Iterator[str]:
    """Yield the lines of a table for each action, means with the lowest and highest repeat."""
    means = figures(told)
    for action in ACTIONS:
        yield f"\n### {action}\n"
        yield from _head(["", *(head for head, *_ in HEADS.values())])
        for name in told.rate:
            of = means[(means["action"] == action) & (means["model"] == name)]
            cells = []
            for figure, (_, times, digits, _) in HEADS.items():
                low, mean, high = (
                    f"{times * each:.{digits}f}"
                    for each in (of[figure].min(), of[figure].mean(), of[figure].max())
                )
                cells.append(f"{mean} ({low} to {high})")
            yield _line(name, cells)


def strengths(told: Told) -> Iterator[str]:
    """Yield the lines of the table of `spread`."""
    yield from _head(["", "rate", f"strength around {GLOBAL}", f"around {BASELINE}",
                      f"around {CHOSEN}", "coverage", "chosen most often"])  # fmt: skip
    for action, row in spread(told).iterrows():
        known = [f"{row[f'{name}_strength']:,.0f}" for name in ("global", "baseline", "chosen")]
        yield _line(
            str(action),
            [f"{row['rate']:.3%}", *known, f"{row['coverage']:.3f}", row["most_chosen"]],
        )


def _gap(gap: evaluation.Interval) -> str:
    value, low, high = (1_000 * each for each in (gap.value, gap.low, gap.high))
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _head(heads: Sequence[str]) -> Iterator[str]:
    yield _line(heads[0], heads[1:])
    yield "|" + "---|" * len(heads)


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def main(arguments: Sequence[str]) -> None:
    """Print the tables of a folder's file, from so many repeats."""
    if not 1 <= len(arguments) <= 2:
        raise SystemExit("python -m bench.facebook_posts FOLDER [REPEATS]")
    posts, dropped = read(Path(arguments[0]))
    repeats = int(arguments[1]) if len(arguments) > 1 else REPEATS
    most, views = posts["views"].nlargest(10).sum(), posts["views"].sum()
    print(f"{len(posts)} posts, {dropped} without a count left out; {views:,} views")
    print(f"The ten most viewed posts have {most / views:.1%} of the views")
    print(posts["topic"].value_counts().to_string())
    told = ask(posts, random_cuts(len(posts), repeats))
    print(f"\n## {repeats} x {FOLDS} folds at random\n")
    print("\n".join([*compared(told), *described(told), "", *strengths(told)]), flush=True)
    cut = cut_in_time(posts)
    learned, held = cut[0][0]
    told = ask(posts, cut)
    print(f"\n## The newest {len(held)} posts from {len(learned)} earlier ones\n")
    print("\n".join([*compared(told), "", *strengths(told)]))


if __name__ == "__main__":
    main(sys.argv[1:])
