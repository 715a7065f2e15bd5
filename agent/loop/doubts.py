"""Which labels are likely wrong, people's own among them, and putting them to people. Looks at no audit answer.

A machine's label is as doubtful as the predicted error says. A person's label is held against what machines and student
would say of the item without it, by Bayes: the person errs with chance `SLIP`, and the others know what they know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent import aggregate, prompt, suspects
from agent.claim import person_recipe
from agent.config import Config
from agent.loop import people
from agent.loop.decisions import remember
from agent.loop.explain import Look
from agent.store import Store
from agent.types import Bools, Call, Doubles, Ints

SLIP = 0.05
"""Chance that a person's label is wrong before anybody else is heard: people differ from one another by more than that
on hard tasks, so that fewer of their labels are called doubtful than are."""


@dataclass(frozen=True)
class Doubt:
    """A label that may be wrong. `by` gave it; `instead` is the likeliest other; `chance` that it is wrong."""

    row: int
    by: str
    label: object
    instead: object
    chance: float


@dataclass(frozen=True)
class Doubts:
    """Most doubtful first. `rows`: (m,) item numbers; `chance`: (m,) that the label is wrong; `given`, `instead`: (m,
    atoms) the label as delivered, and the likeliest other; `wrong_share`: by confident learning."""

    rows: Ints
    chance: Doubles
    given: Ints
    instead: Ints
    wrong_share: float


def ranked(look: Look, of: str = "all") -> Doubts:
    """All labels, the most doubtful first. `of`: "people", "machines", or "all"."""
    ground, belief = look.ground, look.belief
    layout, spoken = ground.layout, ground.board.spoken
    best, given = aggregate.choices(belief.posterior, layout), remember(ground).choice
    given = np.where((given < 0) | spoken[:, None], best, given)
    alone = belief.without_people.astype(np.float64)
    agree, rows = np.ones(ground.n), np.arange(ground.n)
    for a, s in enumerate(layout.slices):
        agree *= alone[rows, s.start + given[:, a]]
    slip = SLIP * (1 - agree) / (SLIP * (1 - agree) + (1 - SLIP) * agree)
    # A label that was delivered and is not the likeliest any more was not what the error was predicted of.
    machine = np.where((given == best).all(axis=1), belief.error.astype(np.float64), 1 - agree)
    chance = np.where(spoken, slip, machine)
    wanted = ~_silent(look) & {"people": spoken, "machines": ~spoken, "all": np.ones(ground.n, bool)}[of]
    order = rows[wanted][np.argsort(-chance[wanted], kind="stable")]
    return Doubts(order, chance[order], given[order], _instead(look, given)[order], _estimate(look, given))


def _silent(look: Look) -> Bools:
    """(n,) nobody has spoken of the item but perhaps in an audit."""
    board = look.ground.board
    if look.ground.student_says is not None:
        return np.zeros(look.ground.n, bool)
    heard = [board.machine[name].any for name in board.rungs]
    return np.asarray(~np.logical_or.reduce([board.spoken, *heard]), bool)


def _instead(look: Look, given: Ints) -> Ints:
    """(n, atoms) the label to think of instead: the likeliest, its least sure atom changed where that is given."""
    layout, alone = look.ground.layout, look.belief.without_people
    best, rows = aggregate.choices(alone, layout), np.arange(len(alone))
    seconds, gaps = np.empty_like(best), np.empty(best.shape)
    for a, s in enumerate(layout.slices):
        block = alone[:, s].copy()
        top = block[rows, best[:, a]].copy()
        block[rows, best[:, a]] = -1.0
        seconds[:, a], gaps[:, a] = block.argmax(axis=1), top - block.max(axis=1)
    same, least = (best == given).all(axis=1), gaps.argmin(axis=1)
    best[rows[same], least[same]] = seconds[rows[same], least[same]]
    return best


def _estimate(look: Look, given: Ints) -> float:
    """Share of likely wrong labels by confident learning on the student's cross-fitted word; NaN without a student."""
    says = look.ground.student_says
    if says is None or len(look.ground.layout.atoms) != 1:
        return float("nan")
    return suspects.wrong_share(suspects.confident_joint(given[:, 0], says), given[:, 0])


def tell(look: Look, found: Doubts, most: int) -> list[Doubt]:
    """The first `most` of them, as a person reads them; but for what people have answered in the audit already."""
    ground, audit = look.ground, look.ground.board.audit
    known = (audit.answered | audit.unsure) & ~ground.board.spoken
    out: list[Doubt] = []
    for k, i in enumerate(found.rows.tolist()):
        if len(out) == most:
            break
        if known[i]:
            continue
        rung = int(look.routes.rung[i])
        by = "person" if ground.board.spoken[i] else ground.rungs[rung] if 0 <= rung < len(ground.rungs) else "nobody"
        label, instead = _value(look, found.given[k]), _value(look, found.instead[k])
        out.append(Doubt(i, by, label, instead, float(found.chance[k])))
    return out


def _value(look: Look, choice: Ints) -> object:
    layout = look.ground.layout
    atoms = {a: cs[int(c)] for a, cs, c in zip(layout.atoms, layout.choices, choice, strict=True)}
    return look.ground.kind.value(look.ground.task, atoms)


def ask(look: Look, found: Doubts, want: int) -> tuple[int, int]:
    """Put the `want` most doubtful labels to people; (machine labels put, people's labels put to another person).

    A person's label is asked about once more, blind; the newest answer is the label. A question that waits already is
    not put again. An item that was audited meanwhile needs no question: its answer repairs from now on. People's
    minutes are not looked at: whoever asks for this wants it.
    """
    ground, store = look.ground, look.ground.store
    turn = store.last_turn() + 1  # certificates are of turns: what was claimed before stays as it was
    rows = found.rows[:want]
    spoken = ground.board.spoken[rows]
    put = people.put(ground, rows[~spoken].tolist(), int((~spoken).sum()), turn)
    before: dict[str, Call] = {}
    for call in store.asked(ground.person_recipe):
        if call.item not in before or call.sample > before[call.item].sample:
            before[call.item] = call
    waiting = {card.item for card in people.open_cards(ground)}
    again = [before[ground.pool.ids[i]] for i in rows[spoken].tolist() if ground.pool.ids[i] not in waiting]
    calls = [_once_more(call, turn) for call in again]
    return put, len(store.reserve(calls, None))


def put(config: Config, store: Store, items: Sequence[str]) -> int:
    """Put these items to people as `ask` does, whatever is believed of them; how many questions came of it.

    Somebody has chosen them who may know audit answers, so nothing of the audit is opened: it stays as it is. So does
    what is being asked already.
    """
    recipe, turn = person_recipe(config), store.last_turn() + 1
    apart = set(store.opened(recipe))
    before: dict[str, Call] = {}
    for call in store.asked(recipe):
        if call.item not in before or call.sample > before[call.item].sample:
            before[call.item] = call
    apart = {item for item, call in before.items() if call.purpose == "audit" and item not in apart}
    asking = prompt.open_recipes(recipe)
    apart |= {call.item for call in store.open_calls(annotator="person") if call.recipe in asking}
    calls = [
        _once_more(before[item], turn)
        if item in before
        else Call(prompt.key(recipe, item, 0), recipe, item, "person", purpose="escalation", turn=turn)
        for item in dict.fromkeys(items)
        if item not in apart
    ]
    return len(store.reserve(calls, None))


def _once_more(call: Call, turn: int) -> Call:
    """The same question under a new key. An audit item that repairs goes on repairing."""
    number = call.sample + 1
    purpose = "escalation" if call.purpose == "audit" else call.purpose
    key = prompt.key(call.recipe, call.item, number)
    return replace(call, key=key, sample=number, purpose=purpose, turn=turn, usd=0.0)
