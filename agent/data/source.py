"""Where rows come from: the settings, the files they mean, and which columns are wanted. Reads no row itself."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from agent.errors import DataError

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "txt", "datasets")
_FORMATS = ", ".join(FORMATS)
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "txt",
}
TEXT_NAMES = ("text", "sentence", "content", "body", "message")
GIVEN = {
    "path": "the file's name",
    "text": "--text",
    "id": "--id",
    "gold": "--gold",
    "split": "--split",
    "keep": "--keep",
}
"""What stands in place of a key of `[pool]` where the file was named on the command line."""
RULES = 1
"""Raised when cleaning changes what becomes an item, so that a source taken in by older rules is read again."""


@dataclass(frozen=True)
class Source:
    """Rows to read.

    path: a file, a glob, a folder of files of one format, a folder written by `save_to_disk`, "hf:name" or
        "hf:name:config" (Hugging Face `datasets`), or "-" for standard input (JSONL, CSV or plain lines).
    text: columns shown to annotators, one part each; empty = the only text column, or the one called
        text, sentence, content, body or message.
    id: column of the user's own ids; must be unique. gold: column of known labels, never shown to an annotator.
    format: one of `FORMATS`, or "auto" = by the file's ending.
    split: a split of a Hugging Face dataset; elsewhere, only rows whose column `split` says this.
    kind: "multi" makes gold a tuple of sorted names (a list column, or names joined by "|"; "|" alone is none of them).
    max_chars: longest item, in characters over all parts; longer ones are set aside.
    unique: whether a row that repeats an id is set aside; if not, nothing is remembered of rows once they are read, and
        items without an id of the user's are not told apart.
    given: the file was named on the command line: messages speak of it and its options, not of the keys of `[pool]`.
    keep: columns whose values come along as they are.
    """

    path: str
    text: tuple[str, ...] = ()
    id: str | None = None
    gold: str | None = None
    format: str = "auto"
    split: str | None = None
    kind: str = "single"
    max_chars: int = 1_000_000
    unique: bool = True
    given: bool = False
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.format not in ("auto", *FORMATS):
            raise DataError(f"pool format {self.format!r} is not known; use one of {', '.join(FORMATS)}, or auto")
        if self.gold is not None and self.gold in self.text:
            raise DataError(f"column {self.gold!r} is named as text and as gold: annotators would see the truth")

    def called(self, setting: str) -> str:
        """What a message calls a setting: the key of `[pool]`, or what the command line has in its place."""
        return GIVEN[setting] if self.given else f"pool.{setting}"


@dataclass(frozen=True)
class Columns:
    """The columns wanted of one file, all of them known to be there."""

    text: tuple[str, ...]
    id: str | None
    gold: str | None
    split: str | None
    keep: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        named = (*self.text, self.id, self.gold, self.split, *self.keep)
        return tuple(dict.fromkeys(name for name in named if name is not None))


def pick(source: Source, file: str, columns: Sequence[str], texts: Sequence[str]) -> Columns:
    """Which of `columns` are wanted; `texts` are those that hold text.

    Raises:
        DataError: a named column is not there or there twice, or none is named and several could be meant.
    """
    split = "split" if source.split is not None else None
    for setting, name in (*(("text", t) for t in source.text), ("id", source.id), ("gold", source.gold)):
        _check(file, columns, source.called(setting), name)
    for name in source.keep:
        _check(file, columns, source.called("keep"), name)
    _check(file, columns, source.called("split"), split)
    text = source.text or (_only_text(source, file, columns, texts),)
    _check(file, columns, source.called("text"), text[0])
    return Columns(text, source.id, source.gold, split, source.keep)


def _check(file: str, columns: Sequence[str], setting: str, name: str | None) -> None:
    if name is None:
        return
    if name not in columns:
        near = get_close_matches(name, columns, 1) or [c for c in columns if c.casefold() == name.casefold()]
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise DataError(f"{file} has no column {name!r} ({setting}){hint} Columns: {_listed(columns)}")
    if list(columns).count(name) > 1:
        raise DataError(f"{file} has two columns {name!r} ({setting}); rename one of them")


def _only_text(source: Source, file: str, columns: Sequence[str], texts: Sequence[str]) -> str:
    free = [c for c in dict.fromkeys(texts) if c not in (source.id, source.gold)]
    usual = [c for c in free if c.casefold() in TEXT_NAMES]
    for found in (free, usual):
        if len(found) == 1:
            return found[0]
    why = "several columns could be the text" if free else "no column holds text"
    column = (free or ["body"])[0]
    named = f"--text {column}" if source.given else f"pool.text = [{column!r}]"
    raise DataError(f"{file}: {why}; name it, as in {named}. Columns: {_listed(columns)}")


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(map(repr, columns[:40]))
    return (shown or "none") + (f" and {len(columns) - 40} more" if len(columns) > 40 else "")


def files(source: Source) -> list[tuple[str, str]]:
    """The files meant, with the format of each, in order of name.

    Raises:
        DataError: nothing is there, an ending is not known, or a folder mixes formats.
    """
    path = os.path.expanduser(source.path)
    if path == "-" or path.startswith("hf:"):
        return [(path, source.format if path == "-" else "datasets")]
    if os.path.isdir(path):
        return _folder(source, path)
    if os.path.exists(path):
        return [(path, _format(source, path))]
    if glob.has_magic(path):
        found = sorted(f for f in glob.glob(path, recursive=True) if os.path.isfile(f))
        if not found:
            raise DataError(f"no file matches {source.path}; correct {source.called('path')}")
        return _one_format(source, path, found)
    folder, name = os.path.split(path)
    near = get_close_matches(name, os.listdir(folder or ".") if os.path.isdir(folder or ".") else [], 1)
    hint = f"did you mean {os.path.join(folder, near[0])}?" if near else f"correct {source.called('path')}"
    raise DataError(f"there is no file {source.path}; {hint}")


def _folder(source: Source, path: str) -> list[tuple[str, str]]:
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        mend = f"correct {source.called('path')} or its rights"
        raise DataError(f"{source.path} cannot be opened: {error.strerror}; {mend}") from error
    if source.format in ("auto", "datasets") and {"state.json", "dataset_dict.json"} & set(names):
        return [(path, "datasets")]
    found = [os.path.join(path, n) for n in names if not n.startswith((".", "_"))]
    found = [f for f in found if os.path.isfile(f) and (source.format != "auto" or _suffix(f) in SUFFIXES)]
    if not found:
        mend = f"correct {source.called('path')}" + ("" if source.given else " or pool.format")
        raise DataError(f"the folder {source.path} holds no data file ({', '.join(SUFFIXES)}); {mend}")
    return _one_format(source, path, found)


def _one_format(source: Source, path: str, found: list[str]) -> list[tuple[str, str]]:
    made = [(f, _format(source, f)) for f in found]
    formats = sorted({form for _, form in made})
    if len(formats) > 1:
        raise DataError(f"{path} holds files of several formats ({', '.join(formats)}); name one, as in {path}/*.csv")
    return made


def short(source: Source, file: str) -> str:
    """A file's name as seen from the source: the same wherever the project's folder is moved."""
    path = os.path.expanduser(source.path)
    if file == path and not os.path.isdir(path):
        return os.path.basename(path)
    while glob.has_magic(path):
        path = os.path.dirname(path)
    return os.path.relpath(file, path) if path and file.startswith(path) and file != path else file


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].casefold()


def _format(source: Source, path: str) -> str:
    if source.format != "auto":
        return source.format
    if _suffix(path) not in SUFFIXES:
        mend = f"give it one of {', '.join(SUFFIXES)}" if source.given else f"set pool.format to one of {_FORMATS}"
        raise DataError(f"{path}: the ending tells no format; {mend}")
    return SUFFIXES[_suffix(path)]


def fingerprint(source: Source) -> str | None:
    """A hash of what the files hold and of the settings, wherever the files lie; None where only reading would tell.

    Standard input, pipes and datasets of a hub have none: they are read each time.

    Raises:
        DataError: as `files`, or a file cannot be opened.
    """
    if source.path == "-" or source.path.startswith("hf:"):
        return None
    settings = [source.text, source.id, source.gold, source.split, source.kind, source.max_chars, RULES]
    made = hashlib.sha256(json.dumps(settings).encode())
    for path, form in files(source):
        if not os.path.isfile(path) and not os.path.isdir(path):
            return None  # a pipe can be read only once
        made.update(f"\n{form}\n".encode())
        for part in _inside(path):
            made.update(_sha256(part))
    return made.hexdigest()


def _inside(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)


def _sha256(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; correct pool.path or its rights") from error
