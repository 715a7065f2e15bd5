"""The promise about a file whose rest people will label: order, coins and shares of the walk. Hears nobody.

The walk is `agent.certify.paced`: up the order, surest first, denser the more errors it has found. Behind its end
people label everything. Rows that nobody labels in the end count as wrong; for these a few of the wrong labels that the
target bears are kept back (`spare`), so that one row that nobody can tell does not undo the work.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent import certify
from agent.certify import paced
from agent.claim.finished.terms import (
    Committed,
    Promise,
    Terms,
    commit,
    first_of,
    item_id,
    opening,
    units_of,
)
from agent.data import Whole
from agent.errors import DataError
from agent.types import Bools, Doubles, Ints

SPARE = 100
"""One in so many of the wrong labels that the target bears is kept for rows without anybody's answer."""
DIGITS = 1e6
"""Shares are rounded up to so many parts, so that another computer's arithmetic makes the same promise."""
RUNS, MOST = 200, 20_000_000
"""Simulated walks of a forecast; fewer, where rows times walks were more than the second number."""
TIMES = (1.0, 2.0)
"""How often labels may be wrong, against what their confidences say, in a forecast."""
FLAT = (1.5, 2.0, 4.0)
"""The same without confidences, against what the target bears."""


@dataclass(frozen=True)
class Paced(Promise):
    """order: rows, surest first. coin: (n,) of each place of it; share: (K + 1,) audited after 0, 1, … errors."""

    coin: Doubles
    share: Doubles

    @property
    def bears(self) -> int:
        """Wrong labels that may stay in what nobody looked at."""
        return int(self.body["allowed"]) - int(self.body["spare"])


@dataclass(frozen=True)
class Way:
    """How far the walk has come. ended: it goes no further, or is left. stands: the place it has come to. accepted:
    length of the part of the order that is delivered; audited: (n,) places audited on the way; ask: places to audit
    next, ascending, as far as can be told now."""

    ended: bool
    stands: int
    accepted: int
    audited: Bools
    ask: Ints


def promised(
    whole: Whole, terms: Terms, questions: str, look: int, earlier: Mapping[str, Any] | None = None
) -> Committed | Paced:
    """The promise of one look: of all labels as they are, or of a walk where people label the rest. As `commit`."""
    before = dict(earlier or {})
    if first_of(terms.left, before.get("left"), "open") == "people":
        return _walk(whole, terms, questions, look, before)
    if before.get("left") == "people":
        before.pop("test")
    return commit(whole, terms, questions, look, before)


def _walk(whole: Whole, terms: Terms, questions: str, look: int, before: Mapping[str, Any]) -> Paced:
    for name, given in (("test", terms.test), ("audit", terms.audit), ("class", terms.classes)):
        if given:
            raise DataError(
                f"--{name} does not go with --left people, where the walk decides whom to ask: leave it out"
            )
    if whole.cluster is not None:
        raise DataError("--cluster does not go with --left people, which asks about each row by itself: leave it out")
    target, delta = first_of(terms.target, before.get("target"), 0.95), first_of(terms.delta, before.get("delta"), 0.05)
    seed, spent = first_of(terms.seed, before.get("seed"), 0), certify.risk_of_look(delta, look)
    allowed = math.floor((1 - target) * whole.rows + 1e-9)
    units, ids = units_of(whole), [item_id(whole, row) for row in range(whole.rows)]
    order = certify.order_of(units.risk, ids, seed)
    # Another look has coins of its own: its terms may have been chosen with the answers to these in sight.
    coin = paced.coins([f"{ids[row]}/{look}" for row in order.tolist()], seed)
    share = np.ceil(paced.shares(allowed - allowed // SPARE, spent) * DIGITS) / DIGITS
    body = opening(whole, before, questions, delta, look, allowed) | {
        "target": target,
        "test": "walk",
        "left": "people",
        "seed": seed,
        "spare": allowed // SPARE,
        "shares": share.tolist(),
        "coins_sha256": hashlib.sha256(coin.astype("<f8").tobytes()).hexdigest(),
        "order_sha256": hashlib.sha256(order.astype("<i8").tobytes()).hexdigest(),
    }
    return Paced(body, units, order, coin, share)


def way(made: Paced, heard: Bools, wrong: Bools, spoken: Bools, early: bool = False) -> Way:
    """How far the answers carry the walk.

    Args: all (n,) by place. heard: there is a first answer; wrong: it says that the label is wrong, or that nobody can
        tell. spoken: a person's label is there now. early: leave the walk where it stands.
    """
    length, audited = paced.walk(made.share, made.coin, wrong & heard)
    ask = np.flatnonzero(audited & ~heard).astype(np.int64)
    stands = min(length, int(ask[0])) if len(ask) else length
    if len(ask):
        audited[stands:] = False
    # However wrong they are: as many as may stay wrong need nobody.
    free = int(np.searchsorted(np.cumsum(~spoken), made.bears, side="right"))
    return Way(early or not len(ask), stands, max(stands, free), audited, ask)


def forecast(made: Paced) -> dict[str, tuple[int, int]]:
    """People's answers in all: median and 90th of simulated walks, by how often labels are wrong."""
    risk, n = made.units.risk[made.order], len(made.order)
    if made.body["columns"]["confidence"]:
        cases = {
            "as the confidences say" if times == 1 else f"{times:g} times as often": risk * times for times in TIMES
        }
    else:
        eps = 1 - float(made.body["target"])
        shares = [min(eps * times, 1.0) for times in FLAT]
        cases = {f"{100 * share:.3g} % of them": np.full(n, share) for share in shares}
    runs = max(10, min(RUNS, MOST // n))
    out = {}
    for name, chances in cases.items():
        rng = np.random.default_rng(0)
        taken = [_answers(made, rng.random(n) < chances, rng) for _ in range(runs)]
        half, most = np.quantile(taken, [0.5, 0.9])
        out[name] = (int(half), int(most))
    return out


def _answers(made: Paced, wrong: Bools, rng: np.random.Generator) -> int:
    """Of one simulated walk: audits, and all that lies behind it."""
    length, audited = paced.walk(made.share, rng.random(len(wrong)), wrong)
    unseen = int((~audited[:length]).sum())
    return len(wrong) - max(unseen, min(made.bears, len(wrong)))
