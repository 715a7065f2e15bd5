"""A student made of inputs (texts to rows) and a linear head. Knows not how the inputs are made.

Shared by `linear` and `tfidf`. A student answers before it has seen a label: the names and descriptions of the labels
(`names`), and keywords and examples that the user gives, are items of their own, whose weight fades as labels come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agent.errors import ConfigError, DataError
from agent.students import _head, _members, _penalty, _pseudo
from agent.students._pseudo import NAME_HALF as NAME_HALF
from agent.students._pseudo import NAME_WEIGHT as NAME_WEIGHT
from agent.students._pseudo import name_rows as name_rows
from agent.students._pseudo import spoken as spoken
from agent.students._saved import CARD as CARD
from agent.students._saved import FORMAT as FORMAT
from agent.students._saved import HEAD as HEAD
from agent.students._saved import layout_of as layout_of
from agent.students._saved import read_safe as read_safe
from agent.students._saved import write_safe as write_safe
from agent.types import Floats, Item, Known, Layout

DEFAULT_L2 = 0.05
CHOOSE_AFTER = 60
Progress = Callable[[int, int], None]


class Inputs(Protocol):
    """Texts to rows. `card` and `arrays` are what a saved student needs to make the same rows again."""

    def rows(self, texts: Sequence[str], progress: Progress | None = None) -> Any: ...
    def card(self) -> dict[str, Any]: ...
    def arrays(self) -> dict[str, Any]: ...
    def restore(self, card: Mapping[str, Any], arrays: Mapping[str, Any]) -> None: ...


@dataclass(slots=True)
class Penalty:
    """The penalty in use, how many examples it was chosen on (0: not chosen), and what logits are multiplied by."""

    value: float = DEFAULT_L2
    chosen_on: int = 0
    heat: float = 1.0


class Learning(Protocol):
    """The settings every student with a linear head has; a frozen dataclass."""

    @property
    def l2(self) -> float | None: ...
    @property
    def max_iter(self) -> int: ...
    @property
    def names(self) -> bool: ...


def check(settings: Learning) -> None:
    """Raises ConfigError when a number makes no sense."""
    if settings.l2 is not None and not settings.l2 > 0:
        raise ConfigError(f"l2 = {settings.l2} must be above 0; leave it out to have it chosen")
    if settings.max_iter < 1:
        raise ConfigError(f"max_iter = {settings.max_iter} must be at least 1")


class HeadStudent:
    """A `Student`. One thread at a time.

    progress: called by `features` with (texts done, texts to do) while vectors are computed.
    device: where a big head of dense rows is fitted ("auto": on a GPU if there is one).
    """

    def __init__(
        self,
        name: str,
        inputs: Inputs,
        layout: Layout,
        labels: Mapping[str, str],
        settings: Learning,
        seed: int = 0,
        device: str = "auto",
        knowledge: Mapping[str, Known] | None = None,
    ) -> None:
        self._name = name
        self._knowledge = dict(knowledge or {})
        self._inputs = inputs
        self._layout = layout
        self._labels = dict(labels)
        self._settings = settings
        self._seed = seed
        self._device = device
        self._warm = _head.Warm()
        self._ready: _head.Head | None = None
        self._penalty = Penalty()
        self._known: tuple[Any, _pseudo.Pseudo] | None = None
        self._lesson: _members.Taught | None = None
        self._parent: HeadStudent | None = None
        self.progress: Progress | None = None
        self.memory: dict[str, Any] = {}
        """What `teach` keeps from turn to turn: twins, among other things."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def layout(self) -> Layout:
        """The atoms and choices its columns stand for."""
        return self._layout

    @property
    def labels(self) -> dict[str, str]:
        """Label name -> description, as in the task it was made for."""
        return dict(self._labels)

    @property
    def encoder(self) -> Any:
        """The sentence encoder its rows come from; None for rows of words."""
        return getattr(self._inputs, "encoder", None)

    def fresh(self) -> HeadStudent:
        """An untrained twin that shares inputs, caches and, once it is chosen, the penalty: for cross-fitting."""
        twin = HeadStudent(
            self._name,
            self._inputs,
            self._layout,
            self._labels,
            self._settings,
            self._seed,
            self._device,
            self._knowledge,
        )
        twin._penalty = replace(self._penalty)
        twin._known = self._known
        twin._parent = self
        return twin

    def features(self, items: Sequence[Item]) -> Any:
        """One row an item, (n, d) float32; images are nothing to it."""
        return self._inputs.rows([item.text for item in items], self.progress)

    def fit(self, features: Any, targets: Floats, weights: Floats) -> None:
        """Learn from (n, d) rows, (n, width) soft targets and (n,) weights; n may be 0 (the labels' names alone).

        An atom whose targets are all zero in a row is unknown there. The result depends on the arguments and, once
        there are 60 rows, on when the penalty was last chosen (anew whenever the rows have grown by half).
        """
        targets = np.asarray(targets, dtype=np.float32)
        weights = np.asarray(weights, dtype=np.float32)
        n = features.shape[0]
        if targets.shape != (n, self._layout.width) or weights.shape != (n,):
            raise ValueError(f"targets {targets.shape}, weights {weights.shape} do not fit {n} rows")
        self._ready, extra = None, self._pseudo(targets, weights)
        if n == 0 and extra is None:
            self._warm = _head.Warm()
            return
        slices, steps = self._layout.slices, self._settings.max_iter
        parent = self._parent
        if self._settings.l2 is not None:
            self._penalty = Penalty(self._settings.l2)
        elif parent is not None and parent._penalty.chosen_on:
            self._penalty, self._warm.bend = replace(parent._penalty), parent._warm.bend or self._warm.bend
        elif n >= CHOOSE_AFTER and n >= 1.5 * self._penalty.chosen_on:
            chosen = _penalty.choose(
                features, targets, weights, slices, extra, steps, self._seed, self._device, self._penalty.value
            )
            self._penalty = Penalty(chosen[0], n, chosen[1])
        rows = _head.with_rows((features, targets, weights), extra) if n else extra
        assert rows is not None
        self._lesson = _members.Taught(*rows, self._penalty.value)
        _head.fit(*rows, slices, self._penalty.value, steps, self._warm, self._device)

    def predict(self, features: Any) -> Floats:
        """(n, width) float32 probabilities. Before any `fit`: what the labels' names alone say, else uniform."""
        if self._warm.head is None:
            nothing = np.zeros((0, self._layout.width), dtype=np.float32)
            self.fit(features[:0], nothing, np.zeros(0, dtype=np.float32))
        if self._warm.head is None:
            even = [np.full(len(c), 1 / len(c), dtype=np.float32) for c in self._layout.choices]
            return np.tile(np.concatenate(even), (features.shape[0], 1))
        return self.head().predict(features, self._layout.slices)

    def head(self) -> _head.Head:
        """The trained head, (d + 1, width), its bias last, as `predict` and a saved student use it.

        Raises:
            ValueError: it was not trained.
        """
        if self._warm.head is None:
            raise ValueError("the student has learned nothing yet")
        if self._ready is None:
            self._ready = _head.Head(self._warm.head.weight * np.float32(self._penalty.heat))
        return self._ready

    def known(self, features: Any) -> Floats:
        """What names, descriptions, keywords and examples of the labels alone say, (n, width); uniform if nothing."""
        twin = self.fresh()
        twin._parent, twin._penalty = None, Penalty()  # the student's own were chosen on answers
        return twin.predict(features)

    def members(self, features: Any, count: int, seed: int) -> list[Floats]:
        """What `count` heads like this one say, each (n, width): taught rows drawn anew, some inputs put out.

        Each fit starts from this head, so it takes a few steps. Before any `fit` only inputs are put out.
        """
        self.predict(features[:0])
        if self._warm.head is None:
            return [self.predict(features) for _ in range(count)]
        heads = _members.heads(self._warm, self._lesson, self._layout.slices, count, seed, self._device)
        heat = np.float32(self._penalty.heat)
        return [_head.Head(head.weight * heat).predict(features, self._layout.slices) for head in heads]

    def _pseudo(self, targets: Floats, weights: Floats) -> tuple[Any, Floats, Floats] | None:
        """What is known of the labels as rows, each with a weight that fades as labels of that choice come."""
        if self._known is None:
            found = _pseudo.pseudo(self._layout, self._labels, self._knowledge, self._settings.names)
            self._known = (self._inputs.rows(found.texts) if found.texts else None, found)
        rows, found = self._known
        if rows is None:
            return None
        seen = (weights[:, None] * targets).sum(axis=0) if len(targets) else np.zeros(self._layout.width, np.float32)
        return rows, found.aims, found.weights(seen)

    def save(self, folder: str) -> None:
        """Write `head.safetensors` and then `student.json`; each takes the old one's place at once.

        The card also lies in the head's header, so weights and card cannot come apart.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        card = {
            "format": FORMAT,
            "student": self._name,
            "layout": {"atoms": self._layout.atoms, "choices": self._layout.choices},
            "labels": self._labels,
            "settings": dict(vars(self._settings)),
            "seed": self._seed,
            "penalty": asdict(self._penalty),
            "trained": self._warm.head is not None,
            **self._inputs.card(),
        }
        arrays = dict(self._inputs.arrays())
        if self._warm.head is not None:
            arrays["head.weight"] = np.ascontiguousarray(self.head().weight)
        write_safe(place, card, arrays)

    def load(self, folder: str) -> None:
        """Take over what `save` wrote. Nothing but JSON and safetensors is read.

        Raises:
            DataError: the folder holds no student, or one of another task or encoder.
            Damaged: the files do not read.
        """
        card, arrays = read_safe(folder)
        if layout_of(card) != self._layout:
            raise DataError(f"{folder}: the model's labels are not this task's; train anew or open it by itself")
        self._inputs.restore(card, arrays)
        self._known = None
        kept = card["penalty"]
        self._penalty = Penalty(float(kept["value"]), int(kept["chosen_on"]), float(kept.get("heat", 1.0)))
        weight = arrays.get("head.weight")
        self._ready = None
        self._warm = _head.Warm()
        if weight is not None:
            self._ready = _head.Head(np.ascontiguousarray(weight, dtype=np.float32))
            self._warm.head = _head.Head(self._ready.weight / np.float32(self._penalty.heat))
