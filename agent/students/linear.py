"""A linear head on frozen sentence embeddings: the default student. Knows no kind of label, only a layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from agent import encode
from agent.errors import DataError
from agent.students import _saved, _student, _words
from agent.types import Context, Floats


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with `student = "linear"`.

    encoder: "auto" (the installed all-MiniLM-L6-v2, else tf-idf with a warning), a folder, a package or a hub id.
    device: "auto", "cpu" or "cuda".
    precision: "auto", "float32", "bfloat16" or "int8" (faster on a CPU, cosine .997).
    prompt: words before each text; "auto" takes those the encoder wants, "none" none; see `encode`.
    l2: penalty on the weights; left out: chosen by cross-validation once there are 60 examples, .05 before.
    max_iter: L-BFGS steps at most a fit.
    names: learn from the labels' names and descriptions too, less and less as examples come.
    """

    encoder: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    prompt: str = "auto"
    l2: float | None = None
    max_iter: int = 100
    names: bool = True

    def __post_init__(self) -> None:
        _student.check(self)


class Sentences:
    """Texts to embeddings, through the cache in `folder` ("": in memory; None: nothing is kept)."""

    def __init__(self, encoder: encode.Encoder, folder: str | None) -> None:
        self.encoder = encoder
        self._cache = None if folder is None else encode.Cache(folder, encoder.revision)

    def rows(self, texts: Sequence[str], progress: _student.Progress | None = None) -> Floats:
        if self._cache is None:
            return self.encoder.embed(texts)
        return self._cache.features(texts, self.encoder.embed, progress)

    def card(self) -> dict[str, Any]:
        return {"encoder": {"name": self.encoder.name, "revision": self.encoder.revision}}

    def arrays(self) -> dict[str, Any]:
        return {}

    def restore(self, card: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        found = card.get("encoder") or {"name": "no sentence encoder", "revision": ""}
        if found["revision"] != self.encoder.revision:
            raise DataError(
                f"the saved student was trained on {found['name']} (revision {found['revision'] or 'none'}), here is "
                f"{self.encoder.name} ({self.encoder.revision}); install that encoder, or train anew"
            )


def build(settings: Settings, context: Context) -> _student.HeadStudent:
    """An untrained student for the context's task; embeddings are cached in the context's folder.

    Without a sentence encoder it is the student `tfidf` (a warning says so).

    Raises:
        ConfigError, MissingExtra: see `encode.find`.
    """
    encoder = encode.find(settings.encoder, settings.device, settings.precision, settings.prompt)
    name = "tfidf" if encoder is None else "linear"
    inputs = _words.Words() if encoder is None else Sentences(encoder, context.folder)
    return _student.HeadStudent(
        name,
        inputs,
        context.layout,
        context.task.labels,
        settings,
        context.seed,
        settings.device,
        context.knowledge,
    )


def load_from(folder: str, device: str = "auto", cache: str = "") -> _student.HeadStudent:
    """The student saved in `folder`; needs no task. `cache`: a folder for embeddings, "" = none are kept.

    Raises:
        DataError: no student there, or its encoder is not installed here in the same revision.
        Damaged: the files do not read.
    """
    card, _ = _student.read_safe(folder)
    wanted = card.get("encoder")
    if wanted is None:
        raise DataError(f"{folder}: the saved student is of the kind {card['student']!r}, not 'linear'")
    known = {field.name for field in fields(Settings)}
    settings = Settings(**{key: value for key, value in card["settings"].items() if key in known})
    encoder = _saved.encoder_of(folder, wanted, device, settings.precision, settings.prompt)
    student = _student.HeadStudent(
        "linear",
        Sentences(encoder, cache or None),
        _student.layout_of(card),
        card["labels"],
        settings,
        int(card["seed"]),
        device,
    )
    student.load(folder)
    return student
