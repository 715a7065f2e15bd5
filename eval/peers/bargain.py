"""BARGAIN (arXiv 2509.02896, PyPI `bargain`): its accuracy-target process on recorded answers, several seeds in a row.

Reads one JSON object from standard input: score (n), right (n, true or false), target, delta, seeds. Prints one line of
JSON: for every seed [share of records its proxy labels and nobody checked, share of wrong ones among all].
"""

from __future__ import annotations

import json
import os
import sys

os.environ["OPENAI_API_KEY"] = "none"
import numpy as np
from BARGAIN import BARGAIN_A, Oracle, Proxy


class Recorded(Proxy):
    """The machine's answer is always "label"; its score is the recorded confidence. Looked up, without its threads."""

    def __init__(self, score: np.ndarray) -> None:
        super().__init__(verbose=False)
        self.score = score

    def get_preds_and_scores(self, indxs: np.ndarray, data_records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The answers and how sure they are."""
        places = np.asarray(indxs, dtype=int)
        return np.full(len(places), "label", dtype=object), self.score[places]


class Person(Oracle):
    """Says whether the recorded answer is what people said."""

    def __init__(self, right: np.ndarray) -> None:
        super().__init__(verbose=False)
        self.right = right

    def is_answer_correct(self, data_indxs: np.ndarray, data_records: np.ndarray, said: np.ndarray) -> np.ndarray:
        """Right or not."""
        return self.right[np.asarray(data_indxs, dtype=int)]

    def get_pred(self, data_records: np.ndarray, indxs: np.ndarray) -> np.ndarray:
        """People's answers."""
        return np.where(self.right[np.asarray(indxs, dtype=int)], "label", "other").astype(object)


def one(data: dict[str, object], seed: int) -> list[float]:
    """Saved share and share of wrong labels with this seed."""
    right = np.array(data["right"], dtype=bool)
    noise = np.random.default_rng(seed).random(len(right))
    order = np.lexsort((noise, -np.array(data["score"])))
    # Equal scores stand in a random order, as for every method of the table.
    score = np.empty(len(right))
    score[order] = np.linspace(1, 0, len(right))
    process = BARGAIN_A(Recorded(score), Person(right), data["target"], data["delta"], verbose=False, seed=seed)
    _, asked = process.process([str(i) for i in range(len(right))], return_oracle_usage=True)
    unseen = ~np.array(asked)
    return [float(unseen.mean()), float((unseen & ~right).mean())]


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(json.dumps([one(given, seed) for seed in given["seeds"]]))
