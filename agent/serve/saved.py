"""A saved model, opened to label new rows: the student, its kind of label, its thresholds. Knows no wire, no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent import drift, plugins
from agent.errors import Damaged, DataError
from agent.types import Floats, Item, Layout, Part, Task

THRESHOLDS = "thresholds.json"
REMEMBERED = 100_000
"""Combinations of labels whose value is kept at hand, so that it is made once."""

Label = str | list[str]


@dataclass(frozen=True)
class Labeled:
    """n rows. labels: a name, or a list of names where labels are several. sure: (n,) the label's probability as the
    student sees it. said: (n, width). features: what the student made of the rows, n of them."""

    labels: list[Label]
    sure: Floats
    said: Floats
    features: Any


class Saved:
    """The model in a folder. One thread at a time.

    names: the columns of `chances`. revision: 16 hex digits of a hash of its card and weights.

    Raises:
        DataError: the folder holds no model. Damaged: its card does not read. PluginError: it names a student that is
            not installed; code that lies about is never imported. And what opening the student raises.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        card = self.folder / "student.json"
        try:
            self.student_name = str(json.loads(card.read_text(encoding="utf-8"))["student"])
        except FileNotFoundError:
            raise DataError(f"{folder} holds no model (student.json is not there): name another folder") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise Damaged(f"{card} cannot be read as a model's card: copy the model again") from None
        self.student: Any = plugins.named("students", self.student_name, card).load_from(folder)
        layout, labels = self.student.layout, self.student.labels
        self.layout: Layout = layout
        self.many = all(c == ("no", "yes") and a in labels for a, c in zip(layout.atoms, layout.choices, strict=True))
        self.names: tuple[str, ...] = layout.atoms if self.many else tuple(c for cs in layout.choices for c in cs)
        self._task = Task("", "multi" if self.many else "single", labels)
        self._kind = plugins.load("kinds", self._task.kind)
        self._values: dict[bytes, Label] = {}

    @property
    def revision(self) -> str:
        """Tells models apart that stand in one folder one after the other."""
        told = hashlib.sha256()
        weights = sorted(p for p in self.folder.glob("**/*.safetensors") if p.name != drift.FILE)
        for path in [self.folder / "student.json", *weights]:
            with path.open("rb") as file:
                told.update(hashlib.file_digest(file, "sha256").digest())
        return told.hexdigest()[:16]

    def label(self, items: Sequence[Item]) -> Labeled:
        """Labels of n ≥ 1 items."""
        features = self.student.features(items)
        said: Floats = np.asarray(self.student.predict(features), dtype=np.float32)
        best = np.stack([said[:, s].argmax(axis=1) for s in self.layout.slices], axis=1).astype(np.int32)
        sure = np.ones(len(said), dtype=np.float32)
        for s in self.layout.slices:
            sure *= said[:, s].max(axis=1)
        return Labeled([self._value(row) for row in best], sure, said, features)

    def _value(self, best: Any) -> Label:
        key = best.tobytes()
        found = self._values.get(key)
        if found is None:
            if len(self._values) >= REMEMBERED:
                self._values.clear()
            atoms = zip(self.layout.atoms, self.layout.choices, best, strict=True)
            value = self._kind.value(self._task, {atom: choices[i] for atom, choices, i in atoms})
            found = self._values[key] = list(value) if isinstance(value, tuple) else str(value)
        return found

    def chances(self, said: Floats) -> Floats:
        """(n, width) to (n, names): the probability of each label; of several, that it applies."""
        return said[:, 1::2] if self.many else said

    def bar(self, abstain: str | None) -> float | None:
        """The bar that `--abstain` names: a number, or "certified", which is the certificate's.

        Raises:
            DataError: it is neither a number from 0 to 1 nor "certified", or this model has no certified bar.
        """
        if abstain is None:
            return None
        if abstain != "certified":
            try:
                bar = float(abstain)
            except ValueError:
                bar = -1.0
            if not 0 <= bar <= 1:
                raise DataError(f"--abstain {abstain}: give a number from 0 to 1, or certified")
            return bar
        try:
            told = json.loads((self.folder / THRESHOLDS).read_text(encoding="utf-8"))
            return float(told["certified"]["bar"])
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(
                f"{self.folder} carries no certified bar ({THRESHOLDS}): give a number, as in --abstain 0.8, or "
                "certify the run and export the model again"
            ) from None

    def reference(self) -> drift.Reference | None:
        """What new rows are held against, where the model carries it. Raises Damaged where it does not read."""
        return drift.read(self.folder)


def item_of(text: str) -> Item:
    """A text as the item a student takes."""
    return Item("", (Part("text/plain", text),))
