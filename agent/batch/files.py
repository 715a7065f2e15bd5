"""The files of a batch: requests and questions out, answers in. Knows JSON lines; knows no ledger, engine or label.

Beside NAME.jsonl (the requests) lies NAME.questions.jsonl: which option each code meant in each question, so that
answers are read by what was asked and not by what would be asked today. Answers come as NAME.output.jsonl and
NAME.errors.jsonl. What stands in them was written by others and is believed in nothing but what was asked for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from agent.errors import DataError
from agent.types import Item, Option, Prompt, Question

OUTPUT, ERRORS = ".output.jsonl", ".errors.jsonl"
REQUESTS, QUESTIONS = ".jsonl", ".questions.jsonl"
URL: Final = "/v1/chat/completions"
MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000
"""What OpenAI takes in one file."""

WORD = re.compile(r"[\w.-]{1,60}")
"""What of an error's code is repeated: never a sentence, which might hold an item's text."""


def request(key: str, body: Mapping[str, Any]) -> bytes:
    """One line of a file of requests."""
    line = {"custom_id": key, "method": "POST", "url": URL, "body": body}
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


T = TypeVar("T")


def parcels(
    lines: Iterable[tuple[T, bytes]], most: int = MOST_REQUESTS, size: int = MOST_BYTES
) -> Iterator[list[tuple[T, bytes]]]:
    """Lines that share a file, in order: at most `most` of them and `size` bytes (a longer line stands alone)."""
    parcel: list[tuple[T, bytes]] = []
    held = 0
    for pair in lines:
        if parcel and (len(parcel) == most or held + len(pair[1]) > size):
            yield parcel
            parcel, held = [], 0
        parcel.append(pair)
        held += len(pair[1])
    if parcel:
        yield parcel


def write(path: Path, lines: Iterable[bytes]) -> None:
    """Writes a file whole or not at all; durable when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    with open(half, "wb") as stream:
        stream.writelines(lines)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(half, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def question(prompt: Prompt) -> bytes:
    """One line of a file of questions."""
    asked = prompt.question
    line = {
        "custom_id": prompt.key,
        "item": asked.item.id,
        "options": [[option.code, option.choice] for option in asked.options],
        "many": asked.many,
        "short": asked.short,
        "readout": prompt.readout,
        "seed": prompt.seed,
        "flags": list(prompt.flags),
        "rationale": prompt.rationale,
    }
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def questions(path: Path, keys: Iterable[str]) -> dict[str, Prompt]:
    """Call -> its prompt as far as an answer is read by it: without messages, and of the item only its id.

    Raises:
        DataError: the file is gone or damaged, or one of the calls is not in it.
    """
    out: dict[str, Prompt] = {}
    try:
        for line in path.read_bytes().splitlines():
            row = json.loads(line)
            options = tuple(Option(code, choice) for code, choice in row["options"])
            asked = Question(Item(row["item"], ()), options, row["many"], short=row["short"])
            told = (row["readout"], row["seed"], tuple(row["flags"]), row["rationale"])
            out[row["custom_id"]] = Prompt(row["custom_id"], asked, (), "", *told)
        return {key: out[key] for key in keys}
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it was changed"
        raise DataError(
            f"{path} cannot be read ({why}), and without it nobody knows what the answers mean: put it back, "
            "or give the batch up with  tutelage run --batch cancel"
        ) from error


@dataclass(frozen=True, slots=True)
class Line:
    """What came back for one request: the body of a completion, or an error's status and code."""

    body: Mapping[str, Any] | None
    status: int = 0
    code: str = ""


@dataclass
class Found:
    """All that stood in the files of answers. `odd`: lines that were passed over: what is wrong -> where."""

    lines: dict[str, Line] = field(default_factory=dict)
    odd: dict[str, list[str]] = field(default_factory=dict)
    count: int = 0
    cut: str = ""
    """Where a file breaks off in the middle of a line."""

    def words(self) -> list[str]:
        """One sentence for each thing that is wrong."""
        return [
            f"{where[0]}: {what}; passed over" + (f" ({len(where):,} such lines)" if len(where) > 1 else "")
            for what, where in self.odd.items()
        ]


def gather(paths: Sequence[Path], keys: Iterable[str]) -> Found:
    """The first good answer to each of the calls, else the first error; whatever is odd about the lines is noted."""
    found, asked = Found(), set(keys)
    for path in paths:
        if path.exists():
            with open(path, "rb") as stream:
                for number, raw in enumerate(stream, 1):
                    if raw.strip():
                        _take(found, asked, raw, f"{path.name}, line {number}")
    return found


def _take(found: Found, asked: set[str], raw: bytes, where: str) -> None:
    found.count += 1
    try:
        row = json.loads(raw)
    except ValueError:
        if not raw.endswith(b"\n"):
            found.cut = where
        found.odd.setdefault("this is no JSON", []).append(where)
        return
    key = row.get("custom_id") if isinstance(row, dict) else None
    if not isinstance(key, str):
        found.odd.setdefault("there is no custom_id", []).append(where)
        return
    if key not in asked:
        found.odd.setdefault("this custom_id was not asked in this batch", []).append(where)
        return
    line, before = _line(row), found.lines.get(key)
    if before is not None:
        found.odd.setdefault("this custom_id stands there twice, and the first good answer holds", []).append(where)
    if before is None or (before.body is None and line.body is not None):
        found.lines[key] = line


def _line(row: Mapping[str, Any]) -> Line:
    response = row.get("response")
    response = response if isinstance(response, dict) else {}
    status, body, error = response.get("status_code"), response.get("body"), row.get("error")
    status = status if isinstance(status, int) else 0
    if status == 200 and isinstance(body, dict) and not error:
        return Line(body, 200)
    inner = body.get("error") if isinstance(body, dict) else None
    for told in (inner, error, error.get("error") if isinstance(error, dict) else None):
        code = (told.get("code") or told.get("type")) if isinstance(told, dict) else None
        if code is not None and WORD.fullmatch(str(code)):
            return Line(None, status, str(code))
    return Line(None, status)
