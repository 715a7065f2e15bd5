"""The walk of `tutelage certify FILE --left people` on a recorded set: the product's own promise and its own steps.

Only the ledger and the command line are left out: what is promised, which rows are put to people, how far the answers
carry and what is delivered are `agent.claim.finished`.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.claim import finished
from agent.data import Wanted, Whole, whole

AHEAD = 100
"""Answers at a time, as the queue is filled."""


def as_file(sure: NDArray[np.float64], wrong: NDArray[np.bool_], folder: str) -> Whole:
    """A file with these confidences. What is right or wrong does not stand in it: people are simulated."""
    path = Path(folder) / "labels.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", "confidence"])
        writer.writerows([f"row {i}", "ab"[i % 2], repr(float(c))] for i, c in enumerate(sure))
    assert len(wrong) == len(sure)
    return whole(str(path), Wanted())


def unseen_of(file: Whole, wrong: NDArray[np.bool_], eps: float, delta: float, seed: int) -> NDArray[np.bool_]:
    """(n,) rows that no person labels when all is done, in the order of the file."""
    made = finished.promised(file, finished.Terms(target=1 - eps, delta=delta, seed=seed, left="people"), "", 1)
    assert isinstance(made, finished.Paced)
    bad, heard = wrong[made.order], np.zeros(file.rows, bool)
    while True:
        now = finished.way(made, heard, bad, heard)
        if now.ended:
            break
        heard[now.ask[:AHEAD]] = True
    heard[now.accepted :] = True
    out = np.zeros(file.rows, bool)
    out[made.order[~heard]] = True
    return out


def runs(
    sure: NDArray[np.float64], wrong: NDArray[np.bool_], eps: float, delta: float, seeds: int
) -> NDArray[np.bool_]:
    """(seeds, n) `unseen_of` with seeds from 0 on."""
    with tempfile.TemporaryDirectory() as folder:
        file = as_file(sure, wrong, folder)
        return np.stack([unseen_of(file, wrong, eps, delta, seed) for seed in range(seeds)])
