"""Crowd-kit's aggregators on votes handed over in a file. Runs in the environment of its own; knows nothing of ours.

    .venv-peer-crowdkit/bin/python eval/peers/crowd.py VOTES.npz OUT.npz METHOD

`votes` (n, J) with -1 where silent in; `labels` (n,) with -1 where it said nothing, and `seconds` of CPU out.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
from crowdkit.aggregation import GLAD, MACE, DawidSkene

METHODS = {"ds": lambda: DawidSkene(n_iter=100), "mace": lambda: MACE(random_state=0), "glad": lambda: GLAD(n_iter=100)}


def main(source: str, out: str, method: str) -> None:
    """Fit once, with the library's own settings, and write what it says of every item."""
    votes = np.load(source)["votes"]
    task, worker = np.nonzero(votes >= 0)
    frame = pd.DataFrame({"task": task, "worker": worker, "label": votes[task, worker]})
    begun = time.process_time()
    said = METHODS[method]().fit_predict(frame)
    seconds = time.process_time() - begun
    labels = np.full(len(votes), -1)
    labels[said.index.to_numpy(int)] = said.to_numpy(int)
    np.savez(out, labels=labels, seconds=seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
