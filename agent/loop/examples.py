"""Which of people's pilot answers a machine is shown as examples, and how it is asked: chosen once, kept in the ledger.

What was asked under a recipe must be found again, though a person takes an answer back, the pool grows or more of the
pilot comes in: all of these would change the choice. It is made anew only when the rung's settings change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent import prompt, shots
from agent.loop import short
from agent.loop.ground import Ground, Machine
from agent.loop.people import share
from agent.loop.ways import Form, Ways
from agent.types import Example, Floats, Ints, Value

SHOTS = 8
"""Examples of the forms that show some, where the rung names no number."""

SHOT_CHARS = 1_000
"""Characters of an example; a longer one loses its middle, for all of them stand before every text."""

FEATURES = ("diverse", "knn")
"""Choices that go by what texts are like."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Examples:
    """Candidates and which of them are shown.

    `rows`, `values`: items with the labels they had when they were chosen. `lists`: numbers of those, a list a block.
    With several blocks, `anchors` are the candidates in the middle of the first ones, and `own` is each candidate's.
    """

    rows: tuple[int, ...]
    values: tuple[Value, ...]
    lists: tuple[tuple[int, ...], ...]
    anchors: tuple[int, ...] = ()
    own: tuple[int, ...] = ()

    def of(self, ground: Ground, machine: Machine) -> list[tuple[Example, ...]]:
        """The examples of each block, as the machine may see them."""
        return [tuple(_example(ground, machine, self.rows[k], self.values[k]) for k in some) for some in self.lists]

    def never_asked(self, n: int) -> list[int]:
        """Items that are examples of all others; with blocks, those are asked about with other examples."""
        return [] if self.anchors else [self.rows[k] for k in self.lists[0] if self.rows[k] < n]

    def body(self, ids: Sequence[str]) -> dict[str, Any]:
        """For the ledger; `ids` of the pool's items."""
        items = [ids[row] for row in self.rows]
        return {
            "items": items, "values": self.values, "lists": self.lists, "anchors": self.anchors, "own": self.own,
        }  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """What was fixed before under today's settings, as far as it was: the examples, the form, and why this form."""

    examples: Examples | None = None
    form: Form | None = None
    why: str = ""


def kept(ground: Ground, machine: Machine) -> Kept:
    """What the ledger holds of this machine; what was fixed first stands."""
    settings, found = _settings(ground, machine), dict[str, Any]()
    for outcome in ground.store.outcomes():
        fixed = outcome.get("fixed", {})
        if fixed.get("settings") == settings:
            found = {**fixed, **found}
    form = Form(tuple(found["form"][0]), tuple(found["form"][1])) if "form" in found else None
    return Kept(_read(ground, found["examples"]) if "examples" in found else None, form, found.get("why", ""))


def keep(ground: Ground, machine: Machine, fixed: Mapping[str, Any]) -> None:
    """Note in the ledger what was fixed under today's settings."""
    ground.store.end_turn(ground.store.last_turn(), note(ground, machine, fixed))


def note(ground: Ground, machine: Machine, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """What was fixed, as a row of the ledger under today's settings."""
    return {"fixed": {"settings": _settings(ground, machine), **fixed}}


def of_form(form: Form, why: str) -> dict[str, Any]:
    """A form for the ledger."""
    return {"form": [form.templates, form.shots], "why": why}


def choose(ground: Ground, machine: Machine, tell: Tell) -> Examples | None:
    """Choose among the pilot answers that there are; None where there are none."""
    rows = [i for i in ground.order.tolist() if ground.board.pilot[i]]
    want, choice = machine.rung.shots or SHOTS, machine.rung.shot_choice
    if choice in FEATURES and ground.student is None:
        words = "needs a student, which tells texts apart"
        tell(f'shot_choice = "{choice}" of {machine.rung.name} {words}: "balanced" is taken')
        choice = "balanced"
    if not rows:
        return None
    values = tuple(ground.kind.value(ground.task, ground.layout.best(ground.board.people.said[i])) for i in rows)
    if choice == "knn":
        found = shots.blocks(short.features(ground, rows), want, ground.n)
        return Examples(tuple(rows), values, found.shots, tuple(found.anchors.tolist()), tuple(found.own.tolist()))
    taken = _taken(ground, rows, choice, want)
    shown = tuple(range(len(taken)))
    return Examples(tuple(rows[k] for k in taken), tuple(values[k] for k in taken), (shown,))


def blocks(ground: Ground, examples: Examples, ways: Ways) -> Ints | None:
    """(n,) the block of each item: where it was asked before, else that of the nearest anchor, a candidate's own."""
    if not examples.anchors:
        return None
    live = [block for block, k in enumerate(examples.anchors) if examples.rows[k] < ground.n]
    out = np.zeros(ground.n, np.int64)
    if live:
        middle = short.features(ground, [examples.rows[examples.anchors[block]] for block in live])
        out = np.array(live)[shots.nearest(middle, short.features(ground, range(ground.n)))]
    for (block, _, _), way in ways.known.items():
        for call in ground.store.asked(way.recipe):
            where = ground.pool.position(call.item)
            if where < ground.n:
                out[where] = block
    for row, block in zip(examples.rows, examples.own, strict=True):
        if row < ground.n:
            out[row] = block
    return out


def _settings(ground: Ground, machine: Machine) -> dict[str, Any]:
    """What of the set-up the choice follows from; another choice is made where any of it changes.
    A rung may be renamed."""
    rung, model = machine.rung, json.dumps(sorted(machine.traits.recipe.items()))
    return {
        "machine": hashlib.sha256(model.encode()).hexdigest(),
        "shots": rung.shots,
        "shot_choice": rung.shot_choice,
        "form": rung.form,
        "templates": list(rung.templates),
        "template": machine.traits.template,
        "shortlist": rung.shortlist,
        "pilot": share(ground).pilot > 0,
        "people": ground.person_recipe,
    }


def _read(ground: Ground, body: Mapping[str, Any]) -> Examples | None:
    """Examples from the ledger; None where an item of them is not in the pool any more."""
    try:
        rows = tuple(map(ground.pool.position, body["items"]))
    except KeyError:
        return None
    values = tuple(value if isinstance(value, str) else tuple(value) for value in body["values"])
    return Examples(rows, values, tuple(map(tuple, body["lists"])), tuple(body["anchors"]), tuple(body["own"]))


def _taken(ground: Ground, rows: list[int], choice: str, want: int) -> list[int]:
    """Numbers of those that are shown, of people's pilot answers in the draw's order."""
    if choice == "fixed":
        return list(range(min(want, len(rows))))
    if choice == "diverse":
        return shots.diverse(short.features(ground, rows), want)
    said: Floats = ground.board.people.said
    return shots.balanced([tuple(ground.layout.best(said[i]).values()) for i in rows], want)


def _example(ground: Ground, machine: Machine, row: int, value: Value) -> Example:
    # Covered before it is cut: half an address is not found any more.
    return Example(prompt.shorter(machine.mask.item(ground.pool.item(row)).text, SHOT_CHARS), value)
