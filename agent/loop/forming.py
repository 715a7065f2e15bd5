"""How each machine is asked, fixed before it is: the examples it shows, and the form that people's answers favour.

All of it follows from the ledger: the draw's order, people's pilot answers, and what the machine said of the pilot in
each form. What was fixed is kept there, so the next start finds the same recipes and nothing is asked twice, whatever
became of the pilot meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from agent import forms, prompt, shortlist
from agent.board import Board, Heard
from agent.loop import examples, steady
from agent.loop.examples import FEATURES, SHOTS, Tell
from agent.loop.ground import Ground, Machine
from agent.loop.people import open_cards, purposes, share
from agent.loop.ways import Form, Ways, make, nothing
from agent.types import Bools, Floats, Ints

ENOUGH = 40
"""People's pilot answers from which on they may choose the form."""

CHEAP = 0.05
"""Questions that comparing forms may cost where nobody asked for it, as a share of the pool."""

UNSAID = 0.02
"""Share that an engine without log-probabilities is taken to give to what it did not say."""


@dataclass(frozen=True)
class Trial:
    """A form that must be tried before one is chosen, the items still missing, and the chance each had."""

    ways: Ways
    rows: Ints
    chance: float


def candidates(ground: Ground, machine: Machine) -> list[Form]:
    """The forms to choose from, cheapest first; one where there is nothing to choose, or nobody to choose by."""
    rung, own = machine.rung, machine.traits.template
    if rung.form == "pilot":
        counts = sorted({0, rung.shots or SHOTS}) if share(ground).pilot else [0]
        templates = rung.templates or (own, *_others(ground, machine))
        return [Form((template,), (count,)) for count in counts for template in templates]
    first = Form(rung.templates or (own,), (rung.shots,))
    if rung.form == "given" or rung.templates or rung.shots or not machine.traits.calibrate or not _by_default(machine):
        return [first]
    if share(ground).pilot < ENOUGH or not _free(ground, machine):
        return [first]
    examples, others = Form(first.templates, (SHOTS,)), _others(ground, machine)
    if not others:
        return [first, examples, Form(first.templates, (0, SHOTS))]
    return [first, *(Form((other,), (0,)) for other in others), examples, Form((own, *others), (0,))]


def _others(ground: Ground, machine: Machine) -> tuple[str, ...]:
    """Templates to compare with the oracle's own: those that it names itself, for one label of all that there are."""
    single = len(ground.layout.atoms) == 1 and not size(ground, machine)
    return machine.traits.others if single and _by_default(machine) else ()


def _free(ground: Ground, machine: Machine) -> bool:
    """Does a question cost no money? Longer prompts, and two for one, are chosen for nobody who pays for them."""
    question = ground.kind.question(machine.task, machine.mask.item(ground.pool.item(0)), 0)
    return machine.oracle.most(prompt.render(machine.task, question, machine.traits, "", 0)).usd == 0


def _by_default(machine: Machine) -> bool:
    """Does the oracle have a template that the user did not choose?"""
    known = {f.name: f.default for f in fields(machine.rung.settings)}
    return _reads(machine) and machine.rung.settings.template == known["template"]


def _reads(machine: Machine) -> bool:
    """Does the oracle answer what a prompt says? Recorded and scripted answers are of all labels, whatever is shown."""
    return "template" in {f.name for f in fields(machine.rung.settings)}


def begin(ground: Ground) -> None:
    """Fix what can be at the start: machines that show no examples, or whose form and examples the ledger tells.

    Examples by likeness wait for the student's features, which a run that has nothing to do need not compute.
    """
    ground.board.refresh(ground.store, {})
    for machine in ground.machines:
        if machine.rung.shots == 0 or machine.rung.shot_choice not in FEATURES:
            fix(ground, machine, lambda words: None)
    ground.board.restart()


def fix(ground: Ground, machine: Machine, tell: Tell) -> list[Trial]:
    """Fix how a machine is asked, if that can be known; else the forms that the pilot must be asked in first.

    Without ways and without trials, people's pilot answers are waited for. `tell` is told what was chosen, and why.
    """
    if machine.ways is not None:
        return []
    able, before, pending = candidates(ground, machine), examples.kept(ground, machine), _pending(ground)
    if before.form is not None:
        able = [before.form]
    showing, several = any(any(form.shots) for form in able), len(able) > 1
    if pending and not (before.form or (before.examples and not several)):
        first = any(able[0].shots)
        if first or (several and (machine.rung.form == "pilot" or ground.answerer is not None)):
            return []  # else people at a screen may take their time: nobody asked that machines wait for them
    chosen = before.examples
    if showing and chosen is None:
        chosen = examples.choose(ground, machine, tell)
        if chosen is not None and not pending:
            examples.keep(ground, machine, {"examples": chosen.body(ground.pool.ids)})
    ways = [_ways(ground, machine, form, chosen) for form in able]
    index, why, trials = _index(ground, machine, ways, pending) if several else (0, before.why, [])
    if trials:
        return trials
    if several and not pending:
        examples.keep(ground, machine, examples.of_form(able[index], why))
    _take(ground, machine, ways[index], why, tell)
    if showing or several:
        ground.board.restart()  # what it answered in earlier runs was passed by while its recipe was not known
        ground.board.refresh(ground.store, ground.recipes)
    return []


def _index(ground: Ground, machine: Machine, ways: Sequence[Ways], pending: bool) -> tuple[int, str, list[Trial]]:
    """Which form is taken, and why; or what must be tried first."""
    used = _used(ground, ways)
    if not share(ground).pilot:
        compared = steady.compare(ground, machine, ways)
        if used is None and compared.missing:
            return 0, "", [Trial(form, rows, steady.chance(ground)) for form, rows in compared.missing]
        index = compared.index if used is None else used
        return index, compared.why if index == compared.index else "", []
    heard = _heard(ground, ways)
    if used is not None:
        best, said = _best(ground, ways, heard)
        return used, said if best == used else "", []
    if pending or not _may_choose(ground, machine):
        return 0, "", []
    if missing := _missing(ground, machine, ways, heard):
        return 0, "", missing
    return *_best(ground, ways, heard), []


def _take(ground: Ground, machine: Machine, ways: Ways, why: str, tell: Tell) -> None:
    machine.ways, machine.shown = ways, ways.shown
    ground.board.word[machine.rung.name] = ways.samples
    if why:
        machine.why = f"{ways.form}: {why}"
        tell(f"{machine.rung.name} is asked by {machine.why}")


def _pending(ground: Ground) -> bool:
    """Are people still to answer the pilot?"""
    asked = purposes(ground)["pilot"] and not any(card.purpose == "pilot" for card in open_cards(ground))
    return share(ground).pilot > 0 and not asked


def _may_choose(ground: Ground, machine: Machine) -> bool:
    """Do people's answers suffice for a choice, and may it cost what it takes?"""
    answers = int(ground.board.pilot.sum())
    cheap = answers * machine.rung.samples <= CHEAP * ground.n
    return answers >= ENOUGH and (cheap or machine.rung.form == "pilot")


def _used(ground: Ground, ways: Sequence[Ways]) -> int | None:
    """The form in which more than the pilot was asked before: a machine does not change its form on the way."""
    recipes = frozenset[str]().union(*(form.recipes for form in ways))
    store = ground.store
    used = {recipe for recipe in recipes if any(call.purpose != "pilot" for call in store.asked(recipe))}
    return next((number for number, form in enumerate(ways) if used <= form.recipes), 0) if used else None


def _heard(ground: Ground, ways: Sequence[Ways]) -> list[Heard]:
    """What was answered in each form, as if each were a machine of its own."""
    out = []
    for form in ways:
        board = Board(ground.task, ground.kind, ground.layout, ground.pool, ground.n, ["it"], "")
        board.refresh(ground.store, dict.fromkeys(form.recipes, "it"))
        out.append(board.machine["it"])
    return out


def _missing(ground: Ground, machine: Machine, ways: Sequence[Ways], heard: Sequence[Heard]) -> list[Trial]:
    """Forms with pilot items still to be asked. One that averages others is asked when those are."""
    out = []
    for form, said in zip(ways, heard, strict=True):
        left = ground.board.pilot & ~(said.done | said.none | machine.tired | form.shown)
        if left.any() and len(form.form.variants) == 1:
            chance = min(share(ground).pilot / ground.n, 1.0)
            out.append(Trial(form, np.flatnonzero(left), chance))
    return out


def _best(ground: Ground, ways: Sequence[Ways], heard: Sequence[Heard]) -> tuple[int, str]:
    """The form that agrees best with people, and why, on the pilot items that were answered in all of them."""
    rows: Bools = np.logical_and.reduce(
        [ground.board.pilot, *(said.any & ~form.shown for form, said in zip(ways, heard, strict=True))]
    )
    if int(rows.sum()) < ENOUGH // 2:
        return 0, ""
    raw = [_raw(said)[rows] for said in heard]
    chosen = forms.choose(raw, ground.board.people.said[rows], ground.layout, ground.config.run.seed)
    return chosen.index, chosen.why


def _raw(heard: Heard) -> Floats:
    """(n, width) log-probabilities as they came; of an engine that gives none, the shares of its answers."""
    soft = heard.logs / np.maximum(heard.soft, 1)[:, None]
    hard = np.log(np.maximum(heard.counts / np.maximum(heard.hard, 1)[:, None], UNSAID))
    return np.where((heard.soft > 0)[:, None], soft, hard).astype(np.float32)


def _ways(ground: Ground, machine: Machine, form: Form, chosen: examples.Examples | None) -> Ways:
    """The ways of a form, with the examples it shows."""
    shown, lists = nothing(ground.n), [()] if chosen is None else chosen.of(ground, machine)
    if chosen is not None and any(form.shots):
        shown[chosen.never_asked(ground.n)] = True
    own = {count: lists if count else [()] * len(lists) for count in form.shots}
    if not any(form.shots):
        own, chosen = {0: [()]}, None
    made = make(machine.task, machine.rung, machine.traits, form, size(ground, machine), own, shown)
    return made if chosen is None else replace(made, blocks=examples.blocks(ground, chosen, made))


def size(ground: Ground, machine: Machine) -> int:
    """Labels that the machine is shown at once; 0 is all."""
    wanted = machine.rung.shortlist if machine.rung.shortlist is not None or _reads(machine) else 0
    return shortlist.size(wanted, ground.layout.width) if len(ground.layout.atoms) == 1 else 0
