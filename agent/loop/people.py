"""What people are asked: the pilot and the audit at random, then what the machines are least sure of. Knows no machine.

Nothing here looks at an audit answer. The order of the draw, and the order of escalation, are walked from the front, so
what is revealed of the audit lies behind the point where the walk stops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent import claim, prompt
from agent.belief import Belief
from agent.board import PILOT
from agent.loop import valuing
from agent.loop.ground import Ground
from agent.route import ASK, Routes
from agent.types import Bools, Call, Stream


@dataclass(frozen=True)
class Share:
    """How the people's time is spent: numbers of questions."""

    total: int
    pilot: int
    audit: int

    @property
    def escalations(self) -> int:
        return max(self.total - self.pilot - self.audit, 0)


def share(ground: Ground) -> Share:
    """The run's share. With `--limit` there is no audit: a claim is about the whole pool or about nothing."""
    goal, seconds = ground.config.goal, float(ground.person.settings.seconds) if ground.person else 0.0
    audit = 0 if ground.n < len(ground.pool) else goal.audit
    return split(goal.person_minutes, seconds, goal.pilot, audit, ground.n)


def split(minutes: float, seconds: float, pilot: int | None, audit: int | None, n: int) -> Share:
    """From minutes to questions: a fifth to the pilot (20 to 100), two fifths to the audit (to 300), the rest repairs.

    At most a quarter of the pool is the pilot, and half of it the audit. `seconds` 0 means that there are no people.
    """
    if seconds <= 0:
        return Share(0, 0, 0)
    total = int(minutes * 60 / seconds)
    if pilot is None:
        pilot = min(max(20, total // 5), 100, total, max(n // 4, 1))
    if audit is None:
        audit = min(max(30, total * 2 // 5), 300, max(total - pilot, 0), max(n // 2, 1))
    pilot = min(pilot, n)
    audit = min(audit, n - pilot)
    return Share(max(total, pilot + audit), pilot, audit)


def purposes(ground: Ground) -> Counter[str]:
    """About how many items people were asked, by stream; a question put once more counts once."""
    given = {(call.item, call.purpose) for call in ground.store.asked(ground.person_recipe)}
    return Counter(purpose for _, purpose in given)


def asked(ground: Ground) -> Bools:
    """(n,) a person has been asked, whatever came of it."""
    out = np.zeros(ground.n, bool)
    for call in ground.store.asked(ground.person_recipe):
        where = ground.pool.position(call.item)
        if where < ground.n:
            out[where] = True
    return out


def open_cards(ground: Ground) -> list[Call]:
    """Today's questions that wait for a person. Those under older labels wait for nobody."""
    return [
        call
        for call in ground.store.open_calls(annotator="person")
        if call.recipe == ground.person_recipe and ground.pool.position(call.item) < ground.n
    ]


def may_be_asked(ground: Ground) -> Bools:
    """(n,) may people still be asked about the item: there is time left, or it lies in the queue to repair."""
    if share(ground).total - purposes(ground).total() > 0:
        return np.ones(ground.n, bool)
    return queued(ground)


def queued(ground: Ground) -> Bools:
    """(n,) the item lies in people's queue to repair it. Audit cards do not count: nothing may depend on which items
    are audited."""
    out = ground.board.opened & ~ground.board.audit.unsure
    for call in open_cards(ground):
        if call.purpose != "audit":
            out[ground.pool.position(call.item)] = True
    return out


def questions(ground: Ground, rows: Sequence[int], purpose: Stream, chance: float, turn: int) -> list[Call]:
    """Questions to people; each is a card in the review queue once it is reserved."""
    ids = ground.pool.ids
    return [
        Call(
            key=prompt.key(ground.person_recipe, ids[i], 0),
            recipe=ground.person_recipe,
            item=ids[i],
            annotator="person",
            purpose=purpose,
            probability=min(chance, 1.0),
            turn=turn,
        )
        for i in rows
    ]


def random_streams(ground: Ground, turn: int) -> list[Call]:
    """Pilot and audit: the first items of the seeded order that nobody was asked about, as many as are still missing.

    A pilot question that people could not tell is replaced. Where the pool has grown, items that fell before the last
    audited one are audited first: an audit passes nobody over.
    """
    if ground.person is None or any(c["look"] < 0 for c in ground.store.commitments()):
        return []  # once the rest goes to people, nothing is measured any more
    plan, given, n = share(ground), purposes(ground), ground.n
    been = asked(ground)
    lost = min(int((ground.board.people.unsure & (ground.board.people.stream == PILOT)).sum()), plan.pilot // 2)
    order = ground.order.tolist()
    free = [i for i in order if not been[i]]
    passed_over = _passed_over(ground, order, been) if plan.audit else []
    before = set(passed_over)
    audit = passed_over + [i for i in free if i not in before][: max(plan.audit - given["audit"], 0)]
    if not given["audit"]:  # the very beginning: the pilot comes first in the draw, the audit after it
        audit = free[max(plan.pilot - given["pilot"], 0) :][: plan.audit]
    taken = set(audit)
    pilot = [i for i in free if i not in taken][: max(plan.pilot + lost - given["pilot"], 0)]
    calls = [
        *questions(ground, pilot, "pilot", plan.pilot / n, turn),
        *questions(ground, audit, "audit", plan.audit / n, turn),
    ]
    if twice := ground.config.goal.audit_twice:
        audited = set(_audited(ground)) | taken
        ids = [ground.pool.ids[i] for i in order if i in audited][:twice]
        calls += [call for call in claim.second_questions(ground.person_recipe, ids, turn) if not given["audit"]]
    return twice_over(ground, calls)


def twice_over(ground: Ground, calls: Sequence[Call]) -> list[Call]:
    """The same questions, and for a share of their items (`review.overlap`) one to a second person."""
    share, seed, recipe = ground.config.review.overlap, ground.config.run.seed, ground.person_recipe
    chosen = [call for call in calls if call.recipe == recipe and claim.overlapped(seed, call.item, share)]
    again = [claim.second_questions(recipe, [call.item], call.turn, call.purpose)[0] for call in chosen]
    return list({call.key: call for call in (*calls, *again)}.values())


def _passed_over(ground: Ground, order: list[int], been: Bools) -> list[int]:
    """Items before the last audited one of the order that nobody was asked about."""
    audited = set(_audited(ground))
    last = max((rank for rank, i in enumerate(order) if i in audited), default=-1)
    return [i for i in order[: last + 1] if not been[i]]


def escalate(ground: Ground, routes: Routes, belief: Belief, turn: int) -> int:
    """Ask people where an answer is worth most, half of what is left at once, so that the rest can learn from it.

    Returns how many cards became useful.
    """
    if any(call.purpose != "audit" for call in open_cards(ground)):
        return 0  # people are still at the last ones, and what they say will change the order
    people = len(ground.config.rung) - 1
    waiting = np.flatnonzero((routes.action == ASK) & (routes.rung == people))
    left = share(ground).total - purposes(ground).total()
    want = min(left, max(40, (left + 1) // 2))
    return put(ground, valuing.in_turn(ground, belief, waiting, want), want, turn)


def put(ground: Ground, order: Sequence[int], want: int, turn: int) -> int:
    """Put the first `want` items of `order` that nobody was asked about to people, to repair.

    On the way audit items are opened: their card is in the queue already, so they cost nothing, and measure no more.
    The order may depend on nothing that an audit said. The openings are written with the questions, in one
    transaction. Returns how many cards became useful.
    """
    been, audited = asked(ground), set(_audited(ground))
    chosen: list[int] = []
    opened: list[int] = []
    for i in order:
        if len(chosen) >= want:
            break
        if not been[i]:
            chosen.append(i)
        elif i in audited and not ground.board.opened[i]:
            opened.append(i)
    ids = ground.pool.ids
    calls = twice_over(ground, questions(ground, chosen, "escalation", 1.0, turn))
    ground.store.escalate(calls, ground.person_recipe, [ids[i] for i in opened], turn)
    ground.board.opened[opened] = True
    return len(chosen) + sum(bool(ground.board.audit.answered[i] | ground.board.audit.unsure[i]) for i in opened)


def _audited(ground: Ground) -> list[int]:
    cards = ground.store.asked(ground.person_recipe)
    return [i for i in (ground.pool.position(c.item) for c in cards if c.purpose == "audit") if i < ground.n]


async def answer(ground: Ground) -> int:
    """Let recorded people, when this run has such, answer every open card; how many did."""
    if ground.answerer is None:
        return 0
    cards = open_cards(ground)
    second = prompt.second_recipe(ground.person_recipe)
    again = [call for call in ground.store.open_calls(annotator="person") if call.recipe == second]
    for call in (*cards, *again):
        item = ground.pool.item(ground.pool.position(call.item))
        await ground.store.record(call.key, ground.answerer(item, call.sample))
    return len(cards)
