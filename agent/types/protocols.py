"""The three protocols that plug-ins answer to, and what they are built with and tell of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from agent.types.arrays import Floats, Layout
from agent.types.nouns import Answer, Distribution, Item, Known, Most, Prompt, Question, Task, Value


@dataclass(frozen=True, slots=True)
class Traits:
    """What the rest of the house must know of an oracle.

    `recipe`: every setting that could change an answer. `template`: file in `prompts/`. `in_flight`: how many
    questions it takes at once. `local`: nothing leaves this machine.
    """

    annotator: str
    recipe: Mapping[str, str]
    template: str = "codes.j2"
    readout: Literal["codes", "words"] = "codes"
    in_flight: int = 8
    local: bool = False
    person: bool = False
    calibrate: bool = True
    """Whether batch calibration applies (log-probabilities of a language model: yes; people, recorded votes: no)."""
    may_train_student: bool = True
    hosts: tuple[str, ...] = ()
    """Hosts that item text is sent to, for `[privacy] egress`; empty when nothing leaves this process."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    others: tuple[str, ...] = ()
    """Templates that a pilot may choose instead of `template`, where nobody named one."""
    deadline_s: float | None = None
    """Seconds it gives one question, where that may be more than `ask` does by itself."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a plug-in is built with.

    `folder`: where it may keep caches, created on demand. `root`: the folder relative paths in its settings are taken
    from (that of tutelage.toml). `knowledge`: by label, for students only: no prompt may depend on it.
    """

    task: Task
    layout: Layout
    seed: int = 0
    folder: str = ""
    root: str = ""
    knowledge: Mapping[str, Known] = field(default_factory=dict)


@runtime_checkable
class Kind(Protocol):
    """All that is peculiar to a kind of label. Implemented by modules of `agent/kinds/`."""

    def choices(self, task: Task) -> Layout: ...
    def question(self, task: Task, item: Item, sample: int) -> Question: ...
    def parse(self, task: Task, question: Question, answer: Answer) -> Distribution | None: ...
    def atoms(self, task: Task, value: Value) -> Mapping[str, str]: ...
    def value(self, task: Task, atoms: Mapping[str, str]) -> Value: ...
    def loss(self, task: Task, guess: Value, truth: Value) -> float: ...


class Oracle(Protocol):
    """One way to get an answer. How questions are batched is the engine's secret."""

    @property
    def traits(self) -> Traits: ...
    def most(self, prompt: Prompt) -> Most: ...
    async def answer(self, prompt: Prompt) -> Answer: ...
    async def close(self) -> None: ...


@runtime_checkable
class Loads(Protocol):
    """An oracle that takes its time before the first question, as one that loads a model does.

    `ready` returns when it may be asked. It is awaited once an `ask`, outside of deadlines, and may be cancelled; it
    raises as `answer` does where there is no model to be had.
    """

    async def ready(self) -> None: ...


@runtime_checkable
class Recalls(Protocol):
    """An oracle that learns from an answer of an earlier run what its questions may take. That it is so still is hoped,
    not known: where it is not, the attempt is Transient, and asked again at what `most` says then."""

    def recall(self, answer: Answer) -> None: ...


class Student(Protocol):
    """A local model that learns. `features` is computed once an item; `fit` and `predict` work on rows of it.

    targets: (n, width) float32, soft; weights: (n,) float32. `predict` gives (n, width) probabilities. `fresh` is an
    untrained twin that shares the features.
    """

    @property
    def name(self) -> str: ...
    def features(self, items: Sequence[Item]) -> Any: ...
    def fit(self, features: Any, targets: Floats, weights: Floats) -> None: ...
    def predict(self, features: Any) -> Floats: ...
    def fresh(self) -> Student: ...
    def save(self, folder: str) -> None: ...
    def load(self, folder: str) -> None: ...


@runtime_checkable
class Members(Protocol):
    """A student that can speak with several voices: what the data leave open is where they differ."""

    def members(self, features: Any, count: int, seed: int) -> list[Floats]: ...
