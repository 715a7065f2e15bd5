"""Recorded votes of a model, from a Parquet or CSV file. Knows no engine: nothing is asked, nothing leaves."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import CallFailed, DataError
from agent.oracles import certain, chosen, table
from agent.types import Answer, Context, Most, Prompt, Traits


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with oracle = "replay".

    path: Parquet or CSV file, one recorded answer a row.
    model, prompt, run: keep only the rows whose column of that name holds this.
    item: column with the item's own id (the pool's `id` column).
    label: column with the label; an empty one is an answer that could not be read.
    confidence: column with the model's confidence in it, 0 to 1; None reads none.
    usd_per_call: what one answer is said to cost, in US dollars.
    annotator: the annotator's name.
    """

    path: str
    model: str | None = None
    prompt: str | None = None
    run: int | None = None
    item: str = "id"
    label: str = "label"
    confidence: str | None = "confidence"
    usd_per_call: float = 0.0
    annotator: str = "replay"


def build(settings: Settings, context: Context) -> Replay:
    """The oracle.

    Raises:
        DataError: the file cannot be read, a column is missing, or it holds answers of several models or prompts.
    """
    return Replay(settings, table(str(Path(context.root) / settings.path), [settings.item, settings.label]))


class Replay:
    """Gives each item the vote recorded for its own id; of several the prompt's seed draws one."""

    def __init__(self, settings: Settings, rows: list[dict[str, Any]]) -> None:
        self.settings = settings
        for column in ("model", "prompt", "run"):
            rows = _kept(rows, column, getattr(settings, column), settings.path)
        self._votes: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in rows:
            self._votes[str(row[settings.item])].append(row)

    @property
    def traits(self) -> Traits:
        """What the house must know of it."""
        at = self.settings
        names = ("model", "prompt", "run", "label", "confidence")
        recipe = {"file": Path(at.path).name} | {name: str(getattr(at, name)) for name in names}
        return Traits(at.annotator, recipe, in_flight=64, local=True, calibrate=False)

    def most(self, prompt: Prompt) -> Most:
        """What one answer is said to cost, in US dollars."""
        return Most(usd=self.settings.usd_per_call)

    async def answer(self, prompt: Prompt) -> Answer:
        """The recorded vote. A confidence c gives the label log c and the others log((1 − c)/(K − 1)), with c kept
        between 1/K and 1 − 10⁻⁶ so that the label stays the likeliest.

        Raises:
            CallFailed: no vote was recorded for the item.
        """
        votes = self._votes.get(prompt.question.item.name or "")
        if not votes:
            raise CallFailed(f"no recorded vote for this item in {Path(self.settings.path).name}", billed=False)
        row = votes[prompt.seed % len(votes)]
        label = row[self.settings.label]
        text = "" if label is None else str(label)
        return Answer(
            text=text,
            logprobs=self._scores(prompt, text, row),
            usd=self.settings.usd_per_call,
            served_model=str(row.get("model") or ""),
            flags=prompt.flags,
        )

    def _scores(self, prompt: Prompt, text: str, row: Mapping[str, Any]) -> dict[str, float] | None:
        code = chosen(prompt.question, text)
        try:
            confidence = float(row.get(self.settings.confidence or "") or "nan")
        except (TypeError, ValueError):
            confidence = math.nan
        if code is None or prompt.question.many or math.isnan(confidence):
            return None
        return certain(prompt.question, code, max(confidence, 1 / len(prompt.question.options)))

    async def close(self) -> None:
        """Nothing is open."""


def _kept(rows: list[dict[str, Any]], column: str, wanted: str | int | None, path: str) -> list[dict[str, Any]]:
    """The rows whose column holds what is wanted.

    Raises:
        DataError: no row does, or nothing is wanted of a column that tells several models or prompts apart.
    """
    found = sorted({str(row[column]) for row in rows if row.get(column) is not None})
    if wanted is None:
        if len(found) > 1 and column != "run":
            listed = ", ".join(repr(value) for value in found[:8])
            raise DataError(f"{path} holds answers of several {column}s: choose one with {column} = …: {listed}")
        return rows
    rows = [row for row in rows if str(row.get(column)) == str(wanted)]
    if not rows:
        raise DataError(f"{path} holds no answer with {column} = {wanted!r}; it has {', '.join(found[:8]) or 'none'}")
    return rows
