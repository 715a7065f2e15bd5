"""A linear head on tf-idf of words and letters: needs no download, no torch. Knows no kind of label, only a layout."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agent.errors import DataError
from agent.students import _student, _words
from agent.types import Context


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with `student = "tfidf"`.

    l2: penalty on the weights; left out: chosen by cross-validation once there are 60 examples, .05 before.
    max_iter: L-BFGS steps at most a fit.
    names: learn from the labels' names and descriptions too, less and less as examples come.
    """

    l2: float | None = None
    max_iter: int = 100
    names: bool = True

    def __post_init__(self) -> None:
        _student.check(self)


def build(settings: Settings, context: Context) -> _student.HeadStudent:
    """An untrained student for the context's task; its vocabulary is taken from the first `features` call."""
    return _student.HeadStudent(
        "tfidf",
        _words.Words(),
        context.layout,
        context.task.labels,
        settings,
        context.seed,
        "cpu",
        context.knowledge,
    )


def load_from(folder: str, device: str = "cpu", cache: str = "") -> _student.HeadStudent:
    """The student saved in `folder`; needs no task, and neither `device` nor `cache`.

    Raises:
        DataError: no student there, or one of another kind.
        Damaged: the files do not read.
    """
    card, _ = _student.read_safe(folder)
    if card["student"] != "tfidf":
        raise DataError(f"{folder}: the saved student is of the kind {card['student']!r}, not 'tfidf'")
    known = {field.name for field in fields(Settings)}
    settings = Settings(**{key: value for key, value in card["settings"].items() if key in known})
    student = _student.HeadStudent(
        "tfidf", _words.Words(), _student.layout_of(card), card["labels"], settings, int(card["seed"]), "cpu"
    )
    student.load(folder)
    return student
