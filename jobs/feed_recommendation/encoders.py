"""The text encoders there are: which one an arm has, and which one a version's folder holds."""

from pathlib import Path

from jobs.feed_recommendation import sentence, tfidf, two_tower
from jobs.feed_recommendation.sentence import Sentence
from jobs.feed_recommendation.tfidf import Tfidf
from jobs.feed_recommendation.two_tower import TwoTower

Encoder = Tfidf | TwoTower | Sentence


def save(encoder: Encoder, folder: Path) -> None:
    """Write an encoder into ``folder``."""
    if isinstance(encoder, Tfidf):
        tfidf.save(encoder, folder)
    elif isinstance(encoder, TwoTower):
        two_tower.save(encoder, folder)
    else:
        sentence.save(encoder, folder)


def load(folder: Path) -> Encoder:
    """Return the encoder that `save` wrote."""
    if (folder / f"{tfidf.FILE}.npz").exists():
        return tfidf.load(folder)
    if (folder / sentence.FILE).exists():
        return sentence.load(folder)
    return two_tower.load(folder)
