"""The picture of docs/certificate.md: a paced walk over real answers: `python -m eval.certificate_picture [--out F]`.

GPT-4o's answers on stance (llm_pac_stance) in the order of their own confidence, people's labels as truth, ε = δ = .05,
seed 1. What the walk sees is drawn beside what nobody sees during it: how many wrong labels escaped the audit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.certify import paced
from agent.certify.plan import order_of
from eval import _ballots

EPS, DELTA, SEED = 0.05, 0.05, 1
OUT = Path(__file__).resolve().parent.parent / "docs" / "certificate.png"


def answers() -> tuple[NDArray[np.bool_], list[str]]:
    """Wrong or not, in the frozen order, and the ids in it."""
    ballot = _ballots.load("llm_pac_stance")
    ids = [str(i) for i in range(len(ballot.truth))]
    order = order_of(1 - ballot.sure[:, 0], ids, SEED)
    return (ballot.votes[:, 0] != ballot.truth)[order], [ids[i] for i in order.tolist()]


def draw(out: Path) -> None:
    """Walk, and draw it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    wrong, ids = answers()
    n = len(wrong)
    allowed = int(EPS * n)
    share, coin = paced.shares(allowed, DELTA), paced.coins(ids, SEED)
    length, audited = paced.walk(share, coin, wrong)
    seen = np.zeros(n, bool)
    seen[: len(audited)] = audited
    here = np.arange(1, n + 1)
    escaped, found = np.cumsum(wrong & ~seen), np.cumsum(wrong & seen)
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 5.2), sharex=True, height_ratios=(3, 1))
    above.axvspan(0, length, color="#e8f1e4", lw=0)
    above.plot(here, np.cumsum(wrong), color="#bbbbbb", lw=1, label="wrong labels, had nobody looked")
    above.plot(here[:length], escaped[:length], color="#2c6e49", lw=2, label="wrong labels that escaped the audit")
    above.plot(here[:length], found[:length], color="#c8553d", lw=2, label="errors found and mended")
    above.axhline(allowed, color="black", lw=1, ls="--")
    above.text(n, allowed, f"ε·N = {allowed}", ha="right", va="bottom", fontsize=9)
    above.text(length / 2, 0.93 * int(wrong.sum()), "delivered unseen", ha="center", fontsize=10, color="#2c6e49")
    above.text((length + n) / 2, 0.93 * int(wrong.sum()), "people label the rest", ha="center", fontsize=10)
    above.set_ylabel("labels")
    above.legend(loc="upper left", bbox_to_anchor=(0.39, 0.85), frameon=False, fontsize=9)
    state = np.minimum(found[:length], len(share) - 1)
    below.step(here[:length], share[state], color="#33658a", lw=1.5)
    below.vlines(np.flatnonzero(seen[:length]), 0, 0.06, color="#33658a", lw=0.4)
    below.set_ylabel("share audited")
    below.set_ylim(0, 0.7)
    below.set_xlabel(f"items, surest first (GPT-4o's own confidence); {int(seen[:length].sum())} of {length:,} audited")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(0, n)
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def main() -> None:
    """Writes the picture."""
    asked = argparse.ArgumentParser(
        prog="python -m eval.certificate_picture", description=(__doc__ or "").split("\n")[0]
    )
    asked.add_argument("--out", type=Path, default=OUT, help="where the picture goes")
    draw(asked.parse_args().out)


if __name__ == "__main__":
    main()
