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
    """The machine's answer is always "label"; its score is the recorded confidence."""

    def __init__(self, score: list[float]) -> None:
        super().__init__(verbose=False, max_workers=1)
        self.score = score

    def proxy_func(self, record: str) -> tuple[str, float]:
        """The answer and how sure it is."""
        return "label", self.score[int(record)]


class Person(Oracle):
    """Says whether the recorded answer is what people said."""

    def __init__(self, right: list[bool]) -> None:
        super().__init__(verbose=False, max_workers=1)
        self.right = right

    def oracle_func(self, record: str, proxy_output: str) -> tuple[bool, str]:
        """Right or not, and the person's answer."""
        right = self.right[int(record)]
        return right, "label" if right else "other"


def one(data: dict[str, object], seed: int) -> list[float]:
    """Saved share and share of wrong labels with this seed."""
    right = np.array(data["right"], dtype=bool)
    noise = np.random.default_rng(seed).random(len(right))
    order = np.lexsort((noise, -np.array(data["score"])))
    # Equal scores stand in a random order, as for every method of the table.
    score = np.empty(len(right))
    score[order] = np.linspace(1, 0, len(right))
    process = BARGAIN_A(
        Recorded(score.tolist()), Person(right.tolist()), data["target"], data["delta"], verbose=False, seed=seed
    )
    _, asked = process.process([str(i) for i in range(len(right))], return_oracle_usage=True)
    unseen = ~np.array(asked)
    return [float(unseen.mean()), float((unseen & ~right).mean())]


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(json.dumps([one(given, seed) for seed in given["seeds"]]))
