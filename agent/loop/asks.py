"""What machines are asked: the pilot's items, and picks among those that wait for them. Knows nothing of the audit.

Inclusion probabilities are recorded with every call.
"""

from __future__ import annotations

import numpy as np

from agent import plugins, prompt
from agent.belief import ENOUGH, Belief, believe
from agent.loop.ground import Ground, Machine
from agent.loop.measure import only, soft
from agent.loop.people import share
from agent.route import ASK, Routes, expected_gain
from agent.types import Call, Ints, Item, Picks, PoolView, Prompt, Stream

Jobs = list[tuple[Call, Prompt]]

GAIN_FLOOR = 0.002
"""A machine is not asked when an answer is expected to mend fewer labels than this."""


def prompt_of(ground: Ground, machine: Machine, item: Item, sample: int) -> Prompt:
    """What this machine is sent about an item."""
    assert machine.recipe is not None
    question = ground.kind.question(machine.task, machine.mask.item(item), sample)
    return prompt.render(machine.task, question, machine.traits, machine.recipe, sample, machine.shots)


def jobs(ground: Ground, machine: Machine, picks: Picks, purpose: Stream, turn: int) -> Jobs:
    """Calls and prompts for items, `samples` of each; each holds the most it can take."""
    assert machine.recipe is not None
    out: Jobs = []
    rows = picks.rows.tolist()
    for item, chance in zip(ground.pool.items(rows), picks.probabilities.tolist(), strict=True):
        for sample in range(machine.rung.samples):
            text = prompt_of(ground, machine, item, sample)
            most = machine.oracle.most(text)
            call = Call(
                key=text.key,
                recipe=machine.recipe,
                item=item.id,
                annotator=machine.rung.name,
                sample=sample,
                purpose=purpose,
                probability=chance,
                usd=most.usd,
                turn=turn,
                tokens=most.tokens,
                requests=most.requests,
            )
            out.append((call, text))
    return out


def calibration_rows(ground: Ground, machine: Machine) -> Picks:
    """Pilot items this machine has not been asked about: what it says of them says how much it is to be believed."""
    board = ground.board
    done = board.machine[machine.rung.name].done | machine.tired
    rows = np.flatnonzero(board.pilot & ~done & ~machine.shown)
    chance = min(share(ground).pilot / ground.n, 1.0)
    return Picks(rows, np.full(len(rows), chance, np.float32))


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
    """Labels an answer of this machine is expected to mend, a call, over `rows`; infinite while it is not known.

    It is not known before people's pilot answers have said what the machine is worth.
    """
    board = ground.board
    spoke = board.machine[machine.rung.name].any
    heard = spoke & ~board.spoken
    if not belief.grounded or ground.student_says is None or int((spoke & board.pilot).sum()) < ENOUGH:
        return float("inf")
    before = belief.before
    others = [m for m in ground.machines if m is not machine]
    if others:  # what the others mend is not this one's merit
        before = believe(only(ground, others), ground.student_says, soft(ground), ground.person is not None).confidence
    gain = expected_gain(1 - before[rows], 1 - before[heard], 1 - belief.confidence[heard])
    return float(gain.mean()) if len(gain) else 0.0
