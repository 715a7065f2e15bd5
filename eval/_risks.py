"""Real labels of machines with a predicted risk each, for evaluations of audits. Knows files, not the package.

A set gives the label of one machine for every item, whether it is wrong, and the risk that a logistic regression
predicts from what else was voted (or from the machine's own confidence). The regression is fitted on one half, drawn
with seed 0; only the other half is given out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval import _sets

# set: (file of items, the machine whose labels are delivered)
MADE = {
    "banking77": ("data", ("gpt-4", "fewshot_nonrep")),
    "llm_babe": ("items", ("gpt_4", "zero-shot")),
    "llm_fpb": ("items", ("gpt-4", "zeroshot")),
    "pac_imagenetv2": ("items", ("image classifier of the source", "")),
    "llm_pac_stance": ("items", ("gpt-4o", "pac")),
}


@dataclass(frozen=True, slots=True)
class Labels:
    """risk: (n,) predicted chance of error. wrong: (n,) label differs from gold. auroc: of the risk."""

    name: str
    risk: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    auroc: float


def load(name: str) -> Labels:
    """The half of a set that the risks were not fitted on.

    Raises:
        FileNotFoundError: the set does not lie in the data folder.
    """
    import pyarrow.parquet as pq
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    file, machine = MADE[name]
    folder = _sets.data_folder() / name
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is absent: set TUTELAGE_DATA to the folder that holds {name}")
    table = pq.read_table(folder / f"{file}.parquet", columns=["id", "label"]).to_pydict()
    gold = dict(zip(table["id"], table["label"], strict=True))
    votes: dict[tuple[str, str], dict[int, tuple[str | None, float | None]]] = {}
    for row in pq.read_table(
        folder / "votes.parquet", columns=["id", "model", "prompt", "label", "confidence"]
    ).to_pylist():
        votes.setdefault((row["model"], row["prompt"]), {})[row["id"]] = (row["label"], row["confidence"])
    given = votes[machine]
    ids = sorted(i for i in given if i in gold)
    others = [v for source, v in sorted(votes.items()) if source != machine and sum(i in v for i in ids) > len(ids) / 2]
    if name == "llm_babe":
        others = [v for source, v in sorted(votes.items()) if source != machine and source[1] == "zero-shot"]
    columns = [[float(v[i][0] == given[i][0]) if i in v else 0.5 for i in ids] for v in others]
    sure = np.clip([given[i][1] if given[i][1] is not None else 0.5 for i in ids], 1e-4, 1 - 1e-4)
    x = np.column_stack([*columns, np.log(sure / (1 - sure))])
    wrong = np.array([given[i][0] != gold[i] for i in ids])
    half = np.random.default_rng(0).random(len(ids)) < 0.5
    risk = LogisticRegression(max_iter=1000).fit(x[half], wrong[half]).predict_proba(x[~half])[:, 1]
    return Labels(name, risk, wrong[~half], float(roc_auc_score(wrong[~half], risk)))
