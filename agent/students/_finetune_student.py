"""The student `finetune`: what is frozen, what is tuned, and which of the two answers. Knows no kind of label.

Its features are the frozen encoder's embeddings, so that strategies and neighbours have vectors. Texts of equal rows
are equal to the tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent import encode
from agent.errors import Damaged, DataError
from agent.students import _finetune_net, _finetune_noise, _finetune_train, _head, _penalty, _pseudo, _student
from agent.students._finetune_lesson import Learning, Lesson, fingerprints, held_out, logits
from agent.types import Floats, Item, Known, Layout

LEAST_HELD, LEAST_TAUGHT = 8, 24
COLD_AFTER = 1.5
"""A fit goes on from the last one's weights until the rows have grown so much, then begins anew: networks that are
always taught on from where they were end up worse (Ash and Adams, 2020)."""
CLEAR = 30
"""Held-out rows from which on their least loss decides; fewer are believed within their standard error only."""
RATES = {"full": 1e-4, "lora": 1e-3, "contrastive": 1e-4}
PREFIX = "encoder-"
STEPS = 100


@dataclass
class Tuned:
    """A fine-tuned encoder with its head. rows: how many a fit had that began from the untouched encoder."""

    encoder: Any
    head: _head.Head
    temperature: float
    rows: int


class FinetuneStudent:
    """A `Student`. One thread at a time.

    folder: where frozen embeddings are cached; None for a saved student that only predicts: its features are then those
    of the tuned encoder, and nothing is kept of the texts. folds: twins enough for cross-fitting (each is a fine-tuning
    by itself). progress: called with (done, all) texts, or steps while it is taught.
    """

    name = "finetune"
    folds = 2

    def __init__(
        self,
        encoder: encode.Encoder,
        folder: str | None,
        layout: Layout,
        labels: Mapping[str, str],
        settings: Learning,
        seed: int = 0,
        knowledge: Mapping[str, Known] | None = None,
    ) -> None:
        self._knowledge = dict(knowledge or {})
        self._encoder = encoder
        self._base = {"name": encoder.name, "revision": "" if folder is None else encoder.revision}
        self._cache = None if folder is None else encode.Cache(folder, encoder.revision)
        self._layout = layout
        self._labels = dict(labels)
        self._settings = settings
        self._seed = seed
        self._texts: dict[bytes, str] = {}
        self._frozen: _head.Head | None = None
        self._penalty = _student.Penalty()
        self._known: tuple[_pseudo.Pseudo, Floats] | None = None
        self._tuned: Tuned | None = None
        self.progress: _student.Progress | None = None
        self.told: dict[str, Any] = {}
        """What the last `fit` came to: epochs, held-out losses, share left out."""

    @property
    def encoder(self) -> encode.Encoder:
        """The sentence encoder it began with, or was loaded with."""
        return self._encoder

    @property
    def layout(self) -> Layout:
        """The atoms and choices its columns stand for."""
        return self._layout

    @property
    def labels(self) -> dict[str, str]:
        """Label name -> description, as in the task it was made for."""
        return dict(self._labels)

    def fresh(self) -> FinetuneStudent:
        """An untrained twin that shares texts, frozen embeddings and the chosen penalty: for cross-fitting."""
        twin = FinetuneStudent(self._encoder, "", self._layout, self._labels, self._settings, self._seed)
        twin._cache, twin._texts, twin._known, twin._knowledge = self._cache, self._texts, self._known, self._knowledge
        twin._penalty, twin.progress = replace(self._penalty), self.progress
        return twin

    def features(self, items: Sequence[Item]) -> Floats:
        """One row an item, (n, d) float32 of length one: frozen embeddings, or of a saved student tuned ones."""
        texts = [item.text for item in items]
        if self._cache is None:
            return self._embed(texts) if self._tuned else self._encoder.embed(texts, self.progress)
        rows = self._cache.features(texts, self._encoder.embed, self.progress)
        self._texts.update(zip(fingerprints(rows), texts, strict=True))
        return rows

    def served(self, features: Any) -> Floats:
        """The rows as the saved student will make them of the same texts: for what is compared with new texts later."""
        if self._tuned is None or self._cache is None:
            return np.asarray(features, dtype=np.float32)
        return self._embed(self._texts_of(fingerprints(features)))

    def predict(self, features: Any) -> Floats:
        """(n, width) float32 probabilities. Before any `fit`: what the labels' names alone say, else uniform."""
        if self._frozen is None and self._tuned is None:
            nothing = np.zeros((0, self._layout.width), dtype=np.float32)
            if self._cache is not None:
                self.fit(features[:0], nothing, np.zeros(0, dtype=np.float32))
            if self._frozen is None:
                return self._layout.normalise(np.zeros((features.shape[0], self._layout.width), dtype=np.float32))
        if self._tuned is None:
            assert self._frozen is not None
            return self._frozen.predict(features, self._layout.slices)
        found = logits(self._tuned.head, self.served(features)) / np.float32(self._tuned.temperature)
        return self._layout.normalise(found)

    def known(self, features: Any) -> Floats:
        """What names, descriptions, keywords and examples of the labels alone say, (n, width); uniform if nothing."""
        return self.fresh().predict(features)

    def fit(self, features: Any, targets: Floats, weights: Floats) -> None:
        """Learn from (n, d) rows that `features` gave, (n, width) soft targets and (n,) weights; n may be 0.

        An atom whose targets are all zero in a row is unknown there. The result depends on the arguments, the seed and
        on when it last began from the untouched encoder. Until 8 rows are held out and 24 taught, and where fine-tuning
        does not lower the held-out loss (of under 30 rows: raises it by more than its standard error), the student
        stays a linear head on frozen embeddings.

        Raises:
            ValueError: shapes do not fit, or a row is none that `features` gave.
        """
        n = features.shape[0]
        targets, weights = np.asarray(targets, dtype=np.float32), np.asarray(weights, dtype=np.float32)
        if targets.shape != (n, self._layout.width) or weights.shape != (n,):
            raise ValueError(f"targets {targets.shape}, weights {weights.shape} do not fit {n} rows")
        if self._cache is None:
            raise ValueError("a saved student opened for predictions is not taught on; build one and `load` it")
        keys = fingerprints(features)
        held = held_out(keys, self._seed)
        own = Lesson(self._texts_of(keys), np.asarray(features, dtype=np.float32), targets, weights, held)
        lesson = self._named(own)
        if not lesson.texts:
            self._frozen = None
            return
        slices = self._layout.slices
        if n >= _student.CHOOSE_AFTER and n >= 1.5 * self._penalty.chosen_on:
            names = lesson.part(np.arange(n, len(lesson.texts)))
            extra = (names.vectors, names.targets, names.weights) if names.texts else None
            l2, heat = _penalty.choose(own.vectors, targets, weights, slices, extra, STEPS, self._seed)
            self._penalty = _student.Penalty(l2, n, heat)
        self._frozen = self._head(lesson)
        self.told = {"rows": n, "held": int(held.sum()), "tuned": False}
        if held.sum() < LEAST_HELD or (~held).sum() < LEAST_TAUGHT:
            self._tuned = None
            return
        self._tuned = self._tune(lesson, n)

    def _head(self, lesson: Lesson) -> _head.Head:
        slices, l2 = self._layout.slices, self._penalty.value
        head = _head.fit(lesson.vectors, lesson.targets, lesson.weights, slices, l2, STEPS)
        return _head.Head(head.weight * np.float32(self._penalty.heat))

    def _tune(self, lesson: Lesson, n: int) -> Tuned | None:
        """Fine-tune on the rows that are not held out; None where the frozen encoder is as good."""
        settings, slices = self._settings, self._layout.slices
        device = _finetune_net.device_of(settings.device)
        taught, held = lesson.part(~lesson.held), lesson.part(lesson.held)
        warm = self._tuned is not None and n < COLD_AFTER * self._tuned.rows
        nets = self._networks(taught, device, warm)
        tokens, apart = (self._tokens(nets[0]["encoder"], part.texts) for part in (taught, held))
        forget = settings.forget if settings.robust != "none" else 0.0
        if forget is None:
            arrays = taught.vectors, taught.targets, taught.weights
            forget = _finetune_noise.share(*arrays, slices, self._penalty.value, self._seed)
        pairs = settings.mode == "contrastive"

        def measure(net: Any) -> Floats:
            if pairs:
                self._refit(net, tokens, taught, apart, held)
            found = logits(_finetune_net.head_of(net), _finetune_net.embed(net["encoder"], apart))
            warmth = _finetune_noise.temperature(found, held.targets, held.weights, slices)[0]
            lost = _finetune_noise.losses(found / np.float32(warmth), held.targets, slices)
            return np.asarray(lost * held.weights / max(float(held.weights.mean()), 1e-12), dtype=np.float32)

        plan = _finetune_train.Plan(
            "pairs" if pairs else "labels",
            settings.epochs,
            settings.patience,
            min(settings.batch, len(tokens)),
            settings.accumulate,
            settings.rate or RATES[settings.mode],
            forget,
            float(not warm and len(held.texts) < CLEAR),
            self._seed,
            device,
        )
        rows = _finetune_train.Rows(tokens, taught.targets, taught.weights)
        done = _finetune_train.train(nets, rows, slices, plan, measure, self.progress)
        self.told |= {"epoch": done.epoch, "losses": done.losses, "forget": forget, "warm": warm}
        if done.epoch == 0 and not warm:
            return None
        self.told["tuned"] = True
        net = nets[done.which]
        if settings.mode == "lora":
            _finetune_net.merge(net["encoder"])
        if pairs:
            self._refit(net, tokens, taught, apart, held)
        head = _finetune_net.head_of(net)
        found = logits(head, _finetune_net.embed(net["encoder"], apart))
        warmth = _finetune_noise.temperature(found, held.targets, held.weights, slices)[0]
        encoder = net["encoder"].eval()
        encoder.max_seq_length = min(settings.longest, encoder.max_seq_length or 512)  # for all who open its folder
        return Tuned(encoder, head, warmth, self._tuned.rows if warm and self._tuned else n)

    def _networks(self, taught: Lesson, device: str, warm: bool) -> list[Any]:
        """One network, or for co-teaching two whose heads were fitted on rows drawn anew with replacement."""
        count = 2 if self._settings.robust == "co_teaching" else 1
        rng = np.random.default_rng(self._seed)
        nets = []
        for number in range(count):
            encoder = _finetune_net.open_encoder(self._encoder.folder, device)
            drawn = taught if count == 1 else taught.part(rng.integers(0, len(taught.texts), len(taught.texts)))
            head = self._head(drawn)
            if warm and number == 0 and self._tuned is not None:
                encoder.load_state_dict(self._tuned.encoder.state_dict())
                head = self._tuned.head
            if self._settings.mode == "lora":
                _finetune_net.adapt(encoder)
            nets.append(_finetune_net.make(encoder, head, device))
        return nets

    def _refit(self, net: Any, tokens: Any, taught: Lesson, apart: Any, held: Lesson) -> None:
        """The head of least held-out loss on the network's embeddings, of all penalties: `net` gets it."""
        slices = self._layout.slices
        rows, others = (_finetune_net.embed(net["encoder"], cut) for cut in (tokens, apart))
        best: tuple[float, _head.Head] | None = None
        for l2 in _penalty.GRID:
            head = _head.fit(rows, taught.targets, taught.weights, slices, l2, STEPS)
            lost = _finetune_noise.temperature(logits(head, others), held.targets, held.weights, slices)[1]
            if best is None or lost < best[0]:
                best = lost, head
        assert best is not None
        _finetune_net.set_head(net, best[1])

    def _embed(self, texts: Sequence[str]) -> Floats:
        assert self._tuned is not None
        return _finetune_net.embed(self._tuned.encoder, self._tokens(self._tuned.encoder, texts), self.progress)

    def _tokens(self, encoder: Any, texts: Sequence[str]) -> list[list[int]]:
        return _finetune_net.tokens_of(encoder, texts, self._settings.longest, self._encoder.prompt)

    def _texts_of(self, keys: Sequence[bytes]) -> list[str]:
        try:
            return [self._texts[key] for key in keys]
        except KeyError:
            words = "rows that this student's `features` did not give; hand in its rows as they are, in float32"
            raise ValueError(words) from None

    def _named(self, lesson: Lesson) -> Lesson:
        """The lesson, and below it what is known of the labels: names, keywords, examples, fading as answers come."""
        if self._known is None:
            found = _pseudo.pseudo(self._layout, self._labels, self._knowledge, self._settings.names)
            assert self._cache is not None
            vectors = self._cache.features(found.texts, self._encoder.embed) if found.texts else lesson.vectors[:0]
            self._known = found, vectors
        found, vectors = self._known
        if not found.texts:
            return lesson
        return lesson.with_rows(found.texts, vectors, found.aims, found.weights(lesson.seen()))

    def save(self, folder: str) -> None:
        """Write the tuned encoder to a folder of its own, then `head.safetensors`, then `student.json`.

        A kill at any moment leaves the last student whole: its encoder goes only when the new card is there.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        tuned, name = self._tuned, ""
        if tuned is not None:
            name = PREFIX + _finetune_net.digest(tuned.encoder)
            if not (place / name / _finetune_net.COMPLETE).is_file():
                _finetune_net.write_encoder(tuned.encoder, place, name)
        head = tuned.head if tuned else self._frozen
        card = {
            "format": _student.FORMAT,
            "student": self.name,
            "layout": {"atoms": self._layout.atoms, "choices": self._layout.choices},
            "labels": self._labels,
            "settings": dict(vars(self._settings)),
            "seed": self._seed,
            "penalty": {"value": self._penalty.value, "chosen_on": self._penalty.chosen_on},
            "trained": head is not None,
            "encoder": self._base,
            "tuned": name,
            "temperature": tuned.temperature if tuned else 1.0,
            "rows": tuned.rows if tuned else 0,
        }
        arrays = {} if head is None else {"head.weight": np.ascontiguousarray(head.weight)}
        _student.write_safe(place, card, arrays)
        _finetune_net.drop_others(place, PREFIX, name)

    def load(self, folder: str) -> None:
        """Take over what `save` wrote. Nothing but JSON, text and safetensors is read.

        Raises:
            DataError: the folder holds no student, or one of another task, kind or encoder.
            Damaged: the files do not read.
        """
        card, arrays = _student.read_safe(folder)
        if card["student"] != self.name or _student.layout_of(card) != self._layout:
            raise DataError(
                f"{folder}: the model is of another kind or of other labels; train anew or open it by itself"
            )
        name, base = str(card["tuned"]), card["encoder"]
        if (self._cache is not None or not name) and base["revision"] != self._encoder.revision:
            raise DataError(
                f"the saved student was fine-tuned from {base['name']} (revision {base['revision']}), here is "
                f"{self._encoder.name} ({self._encoder.revision}); install that encoder, or train anew"
            )
        self._base = {"name": base["name"], "revision": base["revision"]}
        weight = arrays.get("head.weight")
        head = None if weight is None else _head.Head(np.ascontiguousarray(weight, dtype=np.float32))
        self._penalty = _student.Penalty(float(card["penalty"]["value"]), int(card["penalty"]["chosen_on"]))
        self._tuned, self._frozen = None, head
        if name and head is not None:
            if not (Path(folder) / name / _finetune_net.COMPLETE).is_file():
                raise Damaged(f"{Path(folder) / name} is not whole: copy the model again")
            device = _finetune_net.device_of(self._settings.device)
            encoder = _finetune_net.open_encoder(Path(folder) / name, device)
            self._tuned, self._frozen = Tuned(encoder, head, float(card["temperature"]), int(card["rows"])), None
