"""Recorded LLM votes as arrays, for the evaluations of aggregation. Knows files, nothing of the package.

A set is `<folder>/<name>/items.parquet` (people's or the source's label) and `votes.parquet`; each model with each of
its prompts is one annotator. Where a model answered an item in several runs, its first answer counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval._sets import data_folder

PROMPTS = {"llm_babe": ("zero-shot", "4-shot")}
"""Of 107 models × prompts the two plainest prompts of each model: 26 annotators."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """`votes`: (n, J) label numbers, -1 where none; `truth`: (n,); `sure`: (n, J) stated confidence, NaN where none.

    `texts`: n texts; in a set without texts, what stands in their place.
    """

    name: str
    labels: tuple[str, ...]
    annotators: tuple[str, ...]
    votes: NDArray[np.int64]
    truth: NDArray[np.int64]
    sure: NDArray[np.float64]
    texts: tuple[str, ...]


def load(name: str) -> Ballot:
    """The items of a set that anybody voted on.

    Raises:
        FileNotFoundError: the set does not lie in the data folder.
    """
    import pyarrow.parquet as pq

    folder = data_folder() / name
    if not (folder / "votes.parquet").is_file():
        raise FileNotFoundError(f"{folder} holds no votes.parquet: set TUTELAGE_DATA to the folder that has {name}/")
    file = "items.parquet" if (folder / "items.parquet").is_file() else "data.parquet"
    items = pq.read_table(folder / file, columns=["id", "label", "text"]).to_pydict()
    truth = dict(zip(items["id"], items["label"], strict=True))
    texts = dict(zip(items["id"], items["text"], strict=True))
    wanted = PROMPTS.get(name)
    cast: dict[tuple[str, str], dict[int, tuple[int, str | None, float | None]]] = {}
    columns = ["id", "model", "prompt", "run", "label", "confidence"]
    for row in zip(*pq.read_table(folder / "votes.parquet", columns=columns).to_pydict().values(), strict=True):
        item, model, prompt, run, label, sure = row
        if item in truth and (wanted is None or prompt in wanted):
            mine = cast.setdefault((model, prompt), {})
            if item not in mine or run < mine[item][0]:
                mine[item] = (run, label, sure)
    labels = tuple(sorted(set(truth.values())))
    number = {label: i for i, label in enumerate(labels)}
    ids = sorted({item for mine in cast.values() for item in mine})
    where = {item: i for i, item in enumerate(ids)}
    votes, sures = np.full((len(ids), len(cast)), -1, np.int64), np.full((len(ids), len(cast)), np.nan)
    for j, key in enumerate(sorted(cast)):
        for item, (_, label, sure) in cast[key].items():
            votes[where[item], j] = -1 if label is None else number.get(label, -1)
            sures[where[item], j] = np.nan if sure is None else sure
    names = tuple(f"{model} / {prompt}" for model, prompt in sorted(cast))
    known = np.array([number[truth[i]] for i in ids])
    return Ballot(name, labels, names, votes, known, sures, tuple(str(texts[i]) for i in ids))


def majority(votes: NDArray[np.int64], choices: int) -> NDArray[np.float64]:
    """Chance of each label under a majority vote whose ties are drawn, (n, choices)."""
    counts = np.stack([(votes == k).sum(axis=1) for k in range(choices)], axis=1)
    top = counts == counts.max(axis=1, keepdims=True)
    out: NDArray[np.float64] = top / top.sum(axis=1, keepdims=True)
    return out
