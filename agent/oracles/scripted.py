"""The test double that ships: answers by a Python function, or from gold with seeded errors. Knows no engine.

It bills before it answers, as a real engine may: with `ledger`, the call's key is on disk before the answer leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import math
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from agent.errors import PluginError, Transient
from agent.oracles import certain
from agent.types import Answer, Context, Most, Prompt, Traits, Value

Function = Callable[[Prompt], Answer | Value]


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with oracle = "scripted".

    function: "package.module:name" of a function (Prompt) -> Answer, label or labels; None answers from gold.
    accuracy: how often an answer from gold is right; each item has a chance of its own around it, which the
        log-probabilities state truly.
    seed: of the errors.
    bill_usd: what an answer costs, in US dollars.
    latency_s: seconds between billing and answering.
    errors: share of attempts that fail, to be asked again; free of charge.
    ledger: file that gets the call's key, one a line, written through to the disk before the answer.
    in_flight: questions asked at once.
    annotator: the annotator's name.
    """

    function: str | None = None
    accuracy: float = 0.8
    seed: int = 0
    bill_usd: float = 0.001
    latency_s: float = 0.0
    errors: float = 0.0
    ledger: str | None = None
    in_flight: int = 8
    annotator: str = "scripted"

    def __post_init__(self) -> None:
        if not (0 <= self.accuracy <= 1 and 0 <= self.errors <= 1):
            raise ValueError("accuracy and errors are shares: write a number from 0 to 1")


def build(settings: Settings, context: Context) -> Scripted:
    """The oracle.

    Raises:
        PluginError: there is no such function.
    """
    return Scripted(settings, _function(settings.function) if settings.function else None)


def _function(path: str) -> Function:
    module, _, name = path.partition(":")
    try:
        found: Function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f'function = {path!r} cannot be imported ({error}): write "package.module:name"') from error
    return found


class Scripted:
    """An oracle whose every answer is known beforehand."""

    def __init__(self, settings: Settings | None = None, function: Function | None = None) -> None:
        self.settings = settings or Settings()
        self._function = function
        self._attempts: Counter[str] = Counter()

    @property
    def traits(self) -> Traits:
        """What the house must know of it."""
        at = self.settings
        recipe = {name: str(getattr(at, name)) for name in ("function", "accuracy", "seed")}
        return Traits(at.annotator, recipe, in_flight=at.in_flight, local=True)

    def most(self, prompt: Prompt) -> Most:
        """What an answer costs, in US dollars."""
        return Most(usd=self.settings.bill_usd)

    async def answer(self, prompt: Prompt) -> Answer:
        """The scripted answer.

        Raises:
            Transient: this attempt was drawn to fail.
        """
        self._attempts[prompt.key] += 1
        if self._draw("error", prompt.key, str(self._attempts[prompt.key])).random() < self.settings.errors:
            raise Transient("this attempt was drawn to fail", billed=False)
        if self.settings.ledger:
            _append(self.settings.ledger, prompt.key)
        if self.settings.latency_s:
            await asyncio.sleep(self.settings.latency_s)
        if self._function is None:
            return self._from_gold(prompt)
        said = self._function(prompt)
        if isinstance(said, Answer):
            return said
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        return Answer(text, usd=self.settings.bill_usd, served_model="scripted", flags=prompt.flags)

    def _draw(self, *parts: str) -> random.Random:
        return random.Random(hashlib.sha256("\0".join((str(self.settings.seed), *parts)).encode()).digest())

    def _from_gold(self, prompt: Prompt) -> Answer:
        """Gold with errors: a wrong option for `single`, single flipped judgements for `multi`."""
        question, item = prompt.question, prompt.question.item
        options = question.options
        coin = self._draw("answer", prompt.key)
        share = self._share(item.id, 2 if question.many else len(options))
        if question.many:
            named = set(item.gold or ())
            yes = {o.choice: (o.choice in named) == (coin.random() < share) for o in options}
            scores = {o.code: math.log(_inside(share if yes[o.choice] else 1 - share)) for o in options}
            text = json.dumps([o.choice for o in options if yes[o.choice]], ensure_ascii=False)
        else:
            right = next((o for o in options if o.choice == item.gold), coin.choice(options))
            wrong = [o for o in options if o is not right]
            choice = right if coin.random() < share or not wrong else coin.choice(wrong)
            scores, text = certain(question, choice.code, share), choice.choice
        usd = self.settings.bill_usd
        return Answer(text, scores, usd, len(item.text) // 4 + 1, 1, served_model="scripted", flags=prompt.flags)

    def _share(self, item: str, options: int) -> float:
        """The item's own chance of a right answer: even around `accuracy`, from guessing at the least to certain."""
        accuracy = self.settings.accuracy
        spread = max(min(1 - accuracy, accuracy - 1 / options), 0.0)
        return accuracy + spread * (2 * self._draw("item", item).random() - 1)

    async def close(self) -> None:
        """Nothing is open."""


def _inside(share: float) -> float:
    return min(max(share, 1e-6), 1 - 1e-6)


def _append(path: str, line: str) -> None:
    """Add a line and see it on the disk; lines of several processes do not mix."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, f"{line}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)
