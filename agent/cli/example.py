"""A made-up pool to try tutelage on: support tickets put together from phrases. Knows no run."""

from __future__ import annotations

import csv
import random
import tomllib
from pathlib import Path
from typing import Any

from agent.errors import UserError

FILE = "tickets.csv"
ROWS, SEED = 600, 7
FOREIGN = 50
"""One ticket in so many is not English."""
MIXED = 12
"""One in so many speaks of a second matter, too: the first is what it is about."""


def phrases() -> dict[str, Any]:
    """The phrases by label, and those of the frame."""
    with open(Path(__file__).with_name("tickets.toml"), "rb") as file:
        return tomllib.load(file)


def labels() -> dict[str, str]:
    """Label -> what it means."""
    return {name: part["means"] for name, part in phrases().items() if isinstance(part, dict)}


def rows(count: int = ROWS, seed: int = SEED) -> list[tuple[str, str, str]]:
    """(id, text, the label it was made for), in an order that tells nothing. Same count and seed, same rows."""
    told, rng = phrases(), random.Random(seed)
    names = list(labels())
    made = []
    for i in range(count):
        label = names[i % len(names)]
        made.append((label, _foreign(told, label, rng) if i % FOREIGN < len(names) else _text(told, label, rng)))
    rng.shuffle(made)
    return [(f"T-{number:04}", text, label) for number, (label, text) in enumerate(made, 1)]


def _text(told: dict[str, Any], label: str, rng: random.Random) -> str:
    other = rng.choice([name for name in labels() if name != label])
    problem = rng.choice(told[label]["problems"])
    said = [rng.choice(told["openings"]), f"{problem}.", rng.choice(told[label]["details"])]
    if rng.randrange(MIXED) == 0:
        said.append(f"By the way, {rng.choice(told[other]['problems'])}.")
    if rng.random() < 0.6:
        said.insert(rng.choice([1, 3]), rng.choice(told["asides"]))
    if not (said[0].endswith(",") and said[1].startswith(problem)):  # the problem goes on the greeting's sentence
        said = [part[:1].upper() + part[1:].replace(",", "." if part is said[0] else ",") for part in said]
    return _numbered(" ".join([*said, rng.choice(told["closings"])]), rng)


def _foreign(told: dict[str, Any], label: str, rng: random.Random) -> str:
    return _numbered(rng.choice(told[label]["foreign"]), rng)


def _numbered(text: str, rng: random.Random) -> str:
    return text.format(number=rng.randrange(10_000, 99_999), minutes=rng.randrange(11, 90))


def write(folder: Path, force: bool) -> Path:
    """Write the tickets, ids and texts only, as `tickets.csv` into a folder.

    Raises:
        UserError: it is there already.
    """
    path = folder / FILE
    if path.exists() and not force:
        raise UserError(f"{path} is there already: go to an empty folder, or overwrite it with --force")
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", "text"])
        out.writerows((own, text) for own, text, _ in rows())
    return path
