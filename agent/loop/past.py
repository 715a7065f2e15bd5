"""Answers in the ledger that were asked under other settings than today's. Asks nobody and decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from agent.config import Config
from agent.loop import forming
from agent.loop.examples import kept
from agent.loop.ground import Ground, Machine, open_ground
from agent.loop.ways import Form, make, nothing


def unused(ground: Ground) -> dict[str, int]:
    """Annotator -> its answers that no way of asking of today's rungs can use, those that were carried to it aside."""
    today = frozenset[str]().union(*(recipes_of(ground, machine) for machine in ground.machines))
    today = today.union(ground.store.review.outdated())
    found: Counter[str] = Counter()
    for (annotator, recipe), count in ground.store.answered().items():
        if recipe not in today:
            found[annotator] += count
    return dict(found)


def words(found: Mapping[str, int]) -> str:
    """The line that says so; empty where all are used."""
    if not found:
        return ""
    total, who = sum(found.values()), ", ".join(f"{name} {count:,}" for name, count in sorted(found.items()))
    many = "1 answer of the ledger was" if total == 1 else f"{total:,} answers of the ledger were"
    return f"{many} asked under other settings than today's and not used ({who}): such questions are asked anew"


def glance(config: Config) -> dict[str, int]:
    """The same of a run that is not open; nothing where none has begun."""
    if "://" not in config.store_url and not Path(config.store_url).exists():
        return {}
    ground = open_ground(config, None, None, False, look=True)
    try:
        return unused(ground)
    finally:
        ground.store.close()


def recipes_of(ground: Ground, machine: Machine) -> frozenset[str]:
    """Of every form in which the machine may be asked today, with the examples that were chosen for it."""
    before = kept(ground, machine)
    forms = [*forming.candidates(ground, machine), *([before.form] if before.form else [])]
    lists = [()] if before.examples is None else before.examples.of(ground, machine)
    size = forming.size(ground, machine)

    def recipes(form: Form) -> frozenset[str]:
        own = {count: lists if count else [()] * len(lists) for count in form.shots}
        return make(machine.task, machine.rung, machine.traits, form, size, own, nothing(ground.n)).recipes

    return machine.recipes.union(*map(recipes, forms))
