"""When machines' answers no longer earn what they cost. Measures what a turn changed; asks nobody.

A label that an answer changes is worth at most what a person would take to mend it. Over the last turns together, as
many changes as could hide behind those seen (three more, by the rule of three) are held against what the answers cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent import aggregate
from agent.belief import Belief
from agent.loop import worth
from agent.loop.decisions import Last
from agent.loop.ground import Ground

SECONDS = 8.0
"""What a person takes to mend a label, where the ladder has no person to go by."""

UNSEEN = 3
"""Changes that may have been missed by chance, at 95 %, where none was seen (Hanley & Lippman-Hand 1983)."""


def mend_usd(ground: Ground) -> float:
    """Dollars that a person takes to mend a label."""
    if ground.person is not None:
        return worth.person_price(ground)
    return ground.config.goal.person_usd_per_hour * SECONDS / 3600


def spent(ground: Ground) -> float:
    """Dollars that machines' answers cost so far, the computer's time with them."""
    took = ground.board.took.values()
    hourly = worth.MACHINE_USD_PER_HOUR / 3600
    return float(sum(t.usd if t.usd > 0 else t.seconds * hourly for t in took))


def moved(ground: Ground, belief: Belief, last: Last) -> dict[str, Any]:
    """What the answers since the last turn did: labels that changed, of how many that there were; and what they cost.

    `stable`: the share of labels that stayed (stabilised predictions: Bloodgood & Vijay-Shanker 2009).
    """
    known = (last.choice >= 0).all(axis=1)
    best = aggregate.choices(belief.posterior, ground.layout)
    changed = int((best[known] != last.choice[known]).any(axis=1).sum())
    answers = sum(took.answers for took in ground.board.took.values())
    before = ground.yard.took
    ground.yard.took = answers, spent(ground)
    if before is None or not known.any() or answers == before[0]:
        return {}
    stable = 1 - changed / int(known.sum())
    usd = ground.yard.took[1] - before[1]
    return {"changed": changed, "by_answers": answers - before[0], "for_usd": round(usd, 6), "stable": round(stable, 6)}


def enough(ground: Ground, told: Mapping[str, Any]) -> str:
    """Why machines need not be asked any more; empty where they do. `told`: what `moved` said of this turn."""
    patience, turns = ground.config.run.patience, _moves(ground)
    if told:
        turns.append(dict(told))
    if not patience or len(turns) < patience or not told:
        return ""
    return _words(turns[-patience:], mend_usd(ground))


def _moves(ground: Ground) -> list[dict[str, Any]]:
    """What each turn's answers changed, earlier runs' too; grows in place."""
    if ground.yard.moves is None:
        names = ("changed", "by_answers", "for_usd")
        told = [o for o in ground.store.outcomes() if "changed" in o and not o.get("final")]
        ground.yard.moves = [{name: one[name] for name in names} for one in told]
    return ground.yard.moves


def _words(turns: Sequence[Mapping[str, Any]], mend: float) -> str:
    changed, answers, usd = (sum(turn[name] for turn in turns) for name in ("changed", "by_answers", "for_usd"))
    if (changed + UNSEEN) * mend >= usd:
        return ""
    return (
        f"expected gain below price: {answers:,} answers of the last {len(turns)} turns changed {changed:,} labels and "
        f"cost ${usd:,.2f}, more than people would take to mend as many (${changed * mend:,.2f}; run.patience)"
    )
