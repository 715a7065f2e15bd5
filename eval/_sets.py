"""The data sets of the evaluations as plain rows. Knows nothing of the package; finds data, never fetches it.

A set is read from `<folder>/<name>/data.parquet` (columns text, label, split), where the folder is `$TUTELAGE_DATA` or
`../shared/data` beside the repository. `news4` is four groups of `20newsgroups`, those a person tells apart at a
glance. Wording is chosen on train only.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

NEWS = ("rec.autos", "rec.sport.hockey", "sci.med", "sci.space")


@dataclass(frozen=True, slots=True)
class Row:
    """A text and its true label."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Set:
    """A data set: labels in a fixed order, and rows."""

    name: str
    labels: tuple[str, ...]
    train: list[Row]
    test: list[Row]


def data_folder() -> Path:
    """Where the data sets lie: `$TUTELAGE_DATA`, else `shared/data` beside the repository."""
    return Path(os.environ.get("TUTELAGE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def load(name: str) -> Set:
    """The data set called `name`.

    Raises:
        FileNotFoundError: it does not lie in the data folder.
    """
    if name == "news4":
        return _groups(_parquet("20newsgroups"))
    return _parquet(name)


def _groups(every: Set) -> Set:
    train, test = ([row for row in rows if row.label in NEWS] for rows in (every.train, every.test))
    return Set("news4", NEWS, train, test)


def _parquet(name: str) -> Set:
    import pyarrow.parquet as pq

    path = data_folder() / name / "data.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent: set TUTELAGE_DATA to the folder that holds {name}/data.parquet")
    table = pq.read_table(path, columns=["text", "label", "split"]).to_pylist()
    train, test = ([Row(r["text"], r["label"]) for r in table if r["split"] == s] for s in ("train", "test"))
    return Set(name, tuple(sorted({row.label for row in train})), train, test)


def sample(rows: list[Row], size: int, seed: int) -> list[Row]:
    """`size` rows drawn at random without replacement (all of them where there are fewer)."""
    return random.Random(seed).sample(rows, min(size, len(rows)))


def shorter(row: Row, longest: int) -> Row:
    """The row with white space evened out and at most `longest` characters of its text."""
    text = " ".join(row.text.split())
    return Row(text if len(text) <= longest else text[: longest + 1].rsplit(" ", 1)[0][:longest], row.label)


def examples(data: Set, count: int, seed: int, longest: int = 300) -> list[Row]:
    """`count` train rows, as evenly over the labels as can be, in a random order; texts up to `longest` characters."""
    draw = random.Random(seed)
    rows = [row for row in data.train if len(row.text) <= longest]
    draw.shuffle(rows)
    taken: list[Row] = []
    for number in range(count):
        label = data.labels[number % len(data.labels)]
        taken.append(next(row for row in rows if row.label == label and row not in taken))
    draw.shuffle(taken)
    return taken
