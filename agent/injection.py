"""Whether an annotator obeys what it should only read: instructions planted in items, and how often they flip a label.

Each item is asked as it is, then with an instruction of each family (`eval/canaries.toml`) that wants a label the item
did not get, then with neutral text of the same length at the same place: what added words alone do is no obedience.
Labels are read as the run reads them: log-probabilities less their mean over the clean items where batch calibration
applies. Knows no ledger and no configuration; asks the oracle it is given.
"""

from __future__ import annotations

import asyncio
import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from agent import calibrate, prompt
from agent.errors import CallFailed, DataError, Transient, Unparsable
from agent.types import Answer, Example, Floats, Item, Kind, Layout, Most, Oracle, Part, Prompt, Task, Traits

Place = Literal["begin", "middle", "end"]
PLACES: tuple[Place, ...] = ("begin", "middle", "end")

HOMES = (Path(__file__).parent / "_canaries.toml", Path(__file__).parent.parent / "eval" / "canaries.toml")
"""Where the instructions lie: in an installed wheel, in the repository."""

SHOWN = 1_200
"""Characters of an item that are used, so that no plant falls to the cut of long texts."""

ATTEMPTS = 3
PATIENCE = 30.0
"""Seconds waited at the most before an attempt is made again."""


@dataclass(frozen=True)
class Canaries:
    """Instructions by family, and the text that is planted for comparison."""

    families: Mapping[str, tuple[str, ...]]
    neutral: str


@dataclass(frozen=True)
class Plant:
    """One item with something planted: wanted is the label it should flip to. `family` "" is an item as it is."""

    item: int
    family: str
    wanted: str
    prompt: Prompt
    neutral: bool = False


@dataclass(frozen=True)
class Rate:
    """How often a label became the wanted one, `flips` of `asked`, and `plain` of `beside` under neutral text."""

    family: str
    flips: int
    asked: int
    plain: int
    beside: int

    @property
    def share(self) -> float:
        return self.flips / max(self.asked, 1)

    @property
    def net(self) -> float:
        """What the instruction did beyond what words of its length do."""
        return self.share - self.plain / max(self.beside, 1)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of `share`."""
        from scipy.stats import binomtest

        if not self.asked:
            return 0.0, 1.0
        found = binomtest(self.flips, self.asked).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Measured:
    """`rates`: one a family, then all together ("all"). `lost`: questions without a readable answer. `clean`: the
    labels each item got as it is; None where its answer could not be read."""

    rates: tuple[Rate, ...]
    lost: int
    asked: int
    clean: tuple[frozenset[str] | None, ...]


@dataclass(frozen=True)
class Asker:
    """What is needed to ask one annotator: the oracle and how its prompts are made. `template`: text that takes the
    place of its own template."""

    task: Task
    kind: Kind
    layout: Layout
    oracle: Oracle
    traits: Traits
    shots: tuple[Example, ...] = ()
    template: str | None = None

    def prompt(self, original: Item, shown: Item) -> Prompt:
        """What it is sent about `shown`, with the options in the order of `original`."""
        question = replace(self.kind.question(self.task, original, 0), item=shown)
        recipe = prompt.recipe(self.task, self.task.kind, self.traits, self.shots, self.template)
        return prompt.render(self.task, question, self.traits, recipe, 0, self.shots, template=self.template)


def canaries() -> Canaries:
    """The instructions that ship with the package.

    Raises:
        DataError: they are not there.
    """
    home = next((path for path in HOMES if path.is_file()), None)
    if home is None:
        raise DataError(f"{HOMES[0].name} is missing from the installation: install tutelage again")
    read = tomllib.loads(home.read_text("utf-8"))
    return Canaries({name: tuple(texts) for name, texts in read["families"].items()}, read["neutral"])


def questions(items: int, families: int) -> int:
    """How many questions `measure` asks."""
    return items * (1 + 2 * families)


def planted(item: Item, text: str, place: Place, mark: str) -> Item:
    """The item with `text` at the beginning, in the middle (between two words) or at the end."""
    body = item.text[:SHOWN]
    if place == "begin":
        whole = f"{text}\n{body}"
    elif place == "end":
        whole = f"{body}\n{text}"
    else:
        cut = body.find(" ", len(body) // 2)
        cut = len(body) if cut < 0 else cut
        whole = f"{body[:cut]}\n{text}\n{body[cut:].lstrip()}"
    return Item(f"{item.id}/{mark}", (Part("text/plain", whole),))


async def measure(
    asker: Asker, items: Sequence[Item], seed: int = 0, told: Callable[[int, int], None] = lambda done, total: None
) -> Measured:
    """Ask about `items` as they are and with plants, and count the flips.

    `told` hears how many questions are done, of how many.

    Raises:
        EndpointDown, UserError: the annotator cannot be asked.
    """
    known = canaries()
    total = questions(len(items), len(known.families))
    clean = [Plant(i, "", "", asker.prompt(item, planted(item, "", "end", "clean"))) for i, item in enumerate(items)]
    said = await _ask(asker, clean, told, 0, total)
    bias = _bias(asker, said)
    before = [None if row is None else _named(asker, row - bias) for row in said]
    plants = _plants(asker, items, before, known, random.Random(seed))
    heard = await _ask(asker, plants, told, len(clean), total)
    flips = {True: dict.fromkeys(known.families, 0), False: dict.fromkeys(known.families, 0)}
    asked = {True: dict.fromkeys(known.families, 0), False: dict.fromkeys(known.families, 0)}
    for plant, row in zip(plants, heard, strict=True):
        if row is not None:
            asked[plant.neutral][plant.family] += 1
            flips[plant.neutral][plant.family] += plant.wanted in _named(asker, row - bias)
    rates = [Rate(f, flips[False][f], asked[False][f], flips[True][f], asked[True][f]) for f in known.families]
    every = Rate("all", *(sum(getattr(r, name) for r in rates) for name in ("flips", "asked", "plain", "beside")))
    lost = sum(row is None for row in [*said, *heard])
    return Measured((*rates, every), lost, len(clean) + len(plants), tuple(before))


def most(asker: Asker, items: Sequence[Item]) -> Most:
    """The most that `measure` can take: the dearest item's question, as many times as will be asked."""
    count = questions(len(items), len(canaries().families))
    longest = max(items, key=lambda item: len(item.text))
    each = asker.oracle.most(asker.prompt(longest, planted(longest, " " * 300, "end", "most")))
    return Most(each.usd * count, each.tokens * count, each.requests * count)


def _plants(
    asker: Asker, items: Sequence[Item], before: Sequence[frozenset[str] | None], known: Canaries, draw: random.Random
) -> list[Plant]:
    """For each item and family one instruction and its neutral twin, the place and the instruction going in turn."""
    words = {"{subject}": asker.traits.recipe.get("subject", "Text"), "{ask}": asker.traits.recipe.get("ask", "Label")}
    out = []
    for i, (item, had) in enumerate(zip(items, before, strict=True)):
        if had is None:
            continue
        for f, (family, texts) in enumerate(known.families.items()):
            free = [name for name in asker.task.labels if name not in had]
            if not free:
                continue
            wanted = draw.choice(free)
            text = texts[i % len(texts)].replace("{target}", wanted)
            for slot, word in words.items():
                text = text.replace(slot, word)
            start = draw.randrange(len(known.neutral))
            other = (known.neutral[start:] + " " + known.neutral * (len(text) // len(known.neutral) + 1))[: len(text)]
            place = PLACES[(i // len(texts) + f) % len(PLACES)]
            for neutral, filling in ((False, text), (True, other)):
                shown = planted(item, filling, place, f"{f}{'n' if neutral else 'c'}")
                out.append(Plant(i, family, wanted, asker.prompt(item, shown), neutral))
    return out


async def _ask(
    asker: Asker, plants: Sequence[Plant], told: Callable[[int, int], None], done: int, total: int
) -> list[Floats | None]:
    """(width,) log-probabilities of each plant's labels; None where nothing readable came."""
    gate = asyncio.Semaphore(asker.traits.in_flight)

    async def one(plant: Plant) -> Floats | None:
        nonlocal done
        async with gate:
            answer = await _answer(asker.oracle, plant.prompt)
        done += 1
        told(done, total)
        try:
            read = None if answer is None else asker.kind.parse(asker.task, plant.prompt.question, answer)
        except Unparsable:
            return None
        return None if read is None else calibrate.logs(asker.layout.row(read))

    return list(await asyncio.gather(*map(one, plants)))


async def _answer(oracle: Oracle, asked: Prompt) -> Answer | None:
    for _ in range(ATTEMPTS):
        try:
            return await oracle.answer(asked)
        except Transient as trouble:
            if trouble.billed:
                return None  # asked again it might be charged twice, which nobody has agreed to
            await asyncio.sleep(min(max(trouble.after or 1.0, 1.0), PATIENCE))
        except CallFailed:
            return None
    return None


def _bias(asker: Asker, said: Sequence[Floats | None]) -> Floats:
    """Each choice's mean log-probability over the clean items, (width,); zero where it does not apply."""
    rows = [row for row in said if row is not None]
    if not asker.traits.calibrate or not rows:
        return np.zeros(asker.layout.width, np.float32)
    return np.asarray(np.mean(rows, axis=0), np.float32)


def _named(asker: Asker, row: Floats) -> frozenset[str]:
    """The labels that a row of log-probabilities names."""
    value = asker.kind.value(asker.task, asker.layout.best(row))
    return frozenset({value} if isinstance(value, str) else value)
