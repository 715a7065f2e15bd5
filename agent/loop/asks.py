"""Who is asked about what next: the random streams first, then the machines' picks, then people for what is left.

Nothing here looks at an audit answer. Inclusion probabilities are recorded with every call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent import plugins, prompt
from agent.belief import Belief
from agent.loop.ground import Ground, Machine
from agent.route import ASK, Routes, expected_gain
from agent.types import Bools, Call, Floats, Ints, Item, Picks, PoolView, Prompt, Stream

Jobs = list[tuple[Call, Prompt]]

GAIN_FLOOR = 0.002
"""A machine is not asked when an answer is expected to mend fewer labels than this."""


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
    """From minutes to questions: a fifth to the pilot (20 to 100), two fifths to the audit (up to 300), the rest
    to repairs."""
    return split(
        ground.config.goal.person_minutes,
        _seconds(ground),
        ground.config.goal.pilot,
        ground.config.goal.audit,
        ground.n,
    )


def split(minutes: float, seconds: float, pilot: int | None, audit: int | None, n: int) -> Share:
    """See `share`; `seconds` 0 means that there are no people."""
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


def _seconds(ground: Ground) -> float:
    return float(ground.person.settings.seconds) if ground.person else 0.0


def purposes(ground: Ground) -> Counter[str]:
    """How many questions people were given, by stream."""
    return Counter(purpose for _, purpose in ground.store.asked(ground.person_recipe))


def people_open(ground: Ground) -> Bools:
    """(n,) may people still be asked about the item: there is time left, or it lies in the queue to repair.

    Audit cards do not count: nothing may depend on which items are audited.
    """
    left = share(ground).total - purposes(ground).total()
    if left > 0:
        return np.ones(ground.n, bool)
    out = ground.board.opened.copy()
    for call in ground.store.open_calls(annotator="person"):
        where = ground.pool.position(call.item)
        if call.purpose != "audit" and where < ground.n:
            out[where] = True
    return out


def person_calls(ground: Ground, rows: Sequence[int], purpose: Stream, chances: Floats, turn: int) -> list[Call]:
    """Questions to people; each is a card in the review queue once it is reserved."""
    ids = ground.pool.ids
    return [
        Call(
            key=prompt.key(ground.person_recipe, ids[i], 0),
            recipe=ground.person_recipe,
            item=ids[i],
            annotator="person",
            purpose=purpose,
            probability=float(chance),
            turn=turn,
        )
        for i, chance in zip(rows, chances, strict=True)
    ]


def random_streams(ground: Ground, asked: Bools, turn: int) -> list[Call]:
    """Pilot and audit: the first items of the seeded order nobody was asked about, as many as are still missing."""
    if ground.person is None:
        return []
    plan, calls = share(ground), purposes(ground)
    n = ground.n
    free = [i for i in ground.order.tolist() if not asked[i]]
    missing_pilot = max(plan.pilot - calls["pilot"], 0)
    missing_audit = max(plan.audit - calls["audit"], 0)
    pilot, audit = free[:missing_pilot], free[missing_pilot : missing_pilot + missing_audit]
    return [
        *person_calls(ground, pilot, "pilot", np.full(len(pilot), plan.pilot / n, np.float32), turn),
        *person_calls(ground, audit, "audit", np.full(len(audit), plan.audit / n, np.float32), turn),
    ]


def prompt_of(ground: Ground, machine: Machine, item: Item, sample: int) -> Prompt:
    """What this machine is sent about an item."""
    assert machine.recipe is not None
    question = ground.kind.question(ground.task, item, sample)
    return prompt.render(ground.task, question, machine.traits, machine.recipe, sample, machine.shots)


def jobs(ground: Ground, machine: Machine, picks: Picks, purpose: Stream, turn: int) -> Jobs:
    """Calls and prompts for items, `samples` of each; the price is the most each can cost."""
    assert machine.recipe is not None
    out: Jobs = []
    rows = picks.rows.tolist()
    for item, chance in zip(ground.pool.items(rows), picks.probabilities.tolist(), strict=True):
        for sample in range(machine.rung.samples):
            text = prompt_of(ground, machine, item, sample)
            call = Call(
                key=text.key,
                recipe=machine.recipe,
                item=item.id,
                annotator=machine.rung.name,
                sample=sample,
                purpose=purpose,
                probability=chance,
                usd=machine.oracle.price(text),
                turn=turn,
            )
            out.append((call, text))
    return out


def calibration_rows(ground: Ground, machine: Machine) -> Picks:
    """Pilot items this machine has not been asked about: what it says of them says how much it is to be believed."""
    board = ground.board
    rows = np.flatnonzero(board.pilot & ~board.machine[machine.rung.name].done & ~_shown(machine, ground.n))
    chance = min(share(ground).pilot / ground.n, 1.0)
    return Picks(rows, np.full(len(rows), chance, np.float32))


def _shown(machine: Machine, n: int) -> Bools:
    return machine.shown if machine.shown is not None else np.zeros(n, bool)


def machine_picks(
    ground: Ground, machine: Machine, number: int, routes: Routes, belief: Belief, turn: int, first: bool
) -> Picks:
    """Which of the items waiting for this rung to ask about now: by the acquisition function for the first machine rung
    (its answers teach), least confident first for later ones (they repair)."""
    waiting = np.flatnonzero((routes.action == ASK) & (routes.rung == number))
    want = min(batch(ground, turn), len(waiting))
    if want == 0:
        return Picks(waiting, np.ones(0, np.float32))
    if not first:
        order = np.argsort(belief.confidence[waiting], kind="stable")[:want]
        return Picks(waiting[order], np.ones(want, np.float32))
    done = ground.board.machine[machine.rung.name].any | ground.board.spoken
    says = ground.student_says
    view = PoolView(
        layout=ground.layout,
        probabilities=belief.posterior[waiting] if says is None else says[waiting],
        features=None if ground.features is None else ground.features[waiting],
        labeled=None if ground.features is None else ground.features[np.flatnonzero(done)],
    )
    function = plugins.load("acquire", ground.config.run.acquire)
    picks: Picks = getattr(function, "pick", function)(view, want, ground.config.run.seed + turn)
    return Picks(waiting[picks.rows], picks.probabilities)


def batch(ground: Ground, turn: int) -> int:
    """Items a turn. They grow by half: early answers change the student most, late ones hardly."""
    if ground.config.run.batch is not None:
        return ground.config.run.batch
    if ground.student is None:
        return max(ground.n, 1)
    first = max(100, ground.n // 20)
    return int(min(first * 1.5 ** max(turn - 1, 0), 20_000))


def worth_asking(ground: Ground, machine: Machine, belief: Belief, rows: Ints) -> float:
    """Labels an answer of this machine is expected to mend, a call, over `rows`; infinite while it is not known."""
    board = ground.board
    heard = board.machine[machine.rung.name].any & ~board.spoken
    if not belief.grounded or ground.student_says is None:
        return float("inf")
    gain = expected_gain(1 - belief.before[rows], 1 - belief.before[heard], 1 - belief.confidence[heard])
    return float(gain.mean()) if len(gain) else 0.0


def escalations(ground: Ground, routes: Routes, belief: Belief, asked: Bools, turn: int) -> tuple[list[Call], Ints]:
    """Questions to people about the least sure items, half of what is left at once, so that the rest can learn from it.

    Returns the calls, and the audit items opened: already in the queue, they cost nothing, and measure no longer.
    """
    people = len(ground.config.rung) - 1
    waiting = np.flatnonzero((routes.action == ASK) & (routes.rung == people))
    order = waiting[np.argsort(belief.confidence[waiting], kind="stable")]
    calls = purposes(ground)
    left = share(ground).total - calls.total()
    want = min(left, max(40, (left + 1) // 2))
    chosen: list[int] = []
    opened: list[int] = []
    for i in order.tolist():
        if asked[i]:
            if not ground.board.opened[i]:
                opened.append(i)
            continue
        if len(chosen) >= want:
            break
        chosen.append(i)
    return person_calls(ground, chosen, "escalation", np.ones(len(chosen), np.float32), turn), np.array(
        opened, np.int64
    )
