"""How often near-duplicates have another gold label: `python -m eval.duplicates [--quick] [--json FILE]`.

All rows of each set, train and test, through `agent.duplicates.group` at several similarities. A member is a text that
is grouped with an earlier one; it is wrong when its gold label is not that of the first of its group, whose answer it
would be given. The default similarity was chosen on these sets, so the figures at it flatter a little. Equal texts are
grouped at any similarity; their share of wrong labels is the gold labels' own (articles of 20newsgroups were posted to
several groups). Speed: a million texts made of the
sets' short ones, each with up to half of its words replaced.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent import duplicates
from eval import _log, _sets

SETS = ("banking77", "clinc150_oos", "trec6", "sms_spam", "sst2", "zh_tnews", "ag_news", "20newsgroups")
SIMILARITIES = (0.7, 0.75, 0.8, 0.85, 0.9)
GOAL = 0.02
MANY = 1_000_000


def wilson(wrong: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    share, square = wrong / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * np.sqrt(share * (1 - share) / count + square / count / 4)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def judged(gold: Sequence[str], group: Any, of: Any) -> dict[str, Any]:
    """Of the members `of`: how many, and how many have another gold label than the first of their group."""
    wrong = sum(gold[row] != gold[int(group[row])] for row in np.flatnonzero(of).tolist())
    return {"members": int(of.sum()), "wrong": int(wrong), "share": float(of.mean())}


def measure(name: str) -> dict[str, Any]:
    """One set at every similarity."""
    data = _sets.load(name)
    rows = [*data.train, *data.test]
    texts, gold = [row.text for row in rows], [row.label for row in rows]
    first: dict[int, int] = {}
    equal = np.zeros(len(texts), bool)
    for begin in range(0, len(texts), 4_096):
        for row, same in enumerate(duplicates.take_apart(texts[begin : begin + 4_096]).same.tolist(), begin):
            equal[row] = first.setdefault(same, row) != row
    found: dict[str, Any] = {"texts": len(texts), "near": {}}
    for similarity in SIMILARITIES:
        began = time.process_time()
        group = duplicates.group(texts, similarity=similarity)
        cpu = time.process_time() - began
        near = (group != np.arange(len(texts))) & ~equal
        found["near"][str(similarity)] = judged(gold, group, near) | {"cpu": cpu}
        found["equal"] = judged(gold, group, equal)
    return found


def cell(of: dict[str, Any]) -> str:
    """Members in per cent of the texts, and how many of them are wrong, with the interval."""
    if not of["members"]:
        return "none"
    low, high = wilson(of["wrong"], of["members"])
    return (
        f"{of['members']} ({of['share']:.2%}), {of['wrong']} wrong = {of['wrong'] / of['members']:.1%} "
        f"[{low:.1%}, {high:.1%}]"
    )


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """A row a set and one of all together."""
    lines = ["| set | texts | equal texts | " + " | ".join(f"nearly, at {s}" for s in SIMILARITIES) + " |"]
    lines.append("|---" * (3 + len(SIMILARITIES)) + "|")
    together: dict[str, Any] = {"texts": 0, "equal": {}, "near": {str(s): {} for s in SIMILARITIES}}
    for of in results.values():
        together["texts"] += of["texts"]
        for into, from_ in [
            (together["equal"], of["equal"]),
            *((together["near"][s], of["near"][s]) for s in of["near"]),
        ]:
            for key in ("members", "wrong"):
                into[key] = into.get(key, 0) + from_[key]
            into["share"] = into["members"] / together["texts"]
    for name, of in [*results.items(), ("together", together)]:
        cells = [cell(of["equal"]), *(cell(of["near"][str(s)]) for s in SIMILARITIES)]
        lines.append(f"| {name} | {of['texts']:,} | " + " | ".join(cells) + " |")
    return lines


def million(names: Sequence[str]) -> str:
    """CPU seconds of a million made-up short texts."""
    draw = random.Random(0)
    base = [row.text for name in names for row in _sets.load(name).train]
    words = [word for text in base for word in text.split()]
    texts = []
    for _ in range(MANY):
        text = draw.choice(base).split()
        for _ in range(draw.randint(0, len(text) // 2)):
            text[draw.randrange(len(text))] = draw.choice(words)
        texts.append(" ".join(text))
    began = time.process_time()
    group = duplicates.group(texts)
    cpu = time.process_time() - began
    share = float((group != np.arange(MANY)).mean())
    return f"\n{MANY:,} short texts: {cpu:.1f} CPU seconds, {share:.1%} of them members."


def main() -> None:
    """Print the table and log it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without 20newsgroups and the million")
    parser.add_argument("--json", type=Path, help="write the figures there")
    said = parser.parse_args()
    results = {name: measure(name) for name in SETS[: -1 if said.quick else None]}
    lines = [*table(results), "", f"Goal: below {GOAL:.0%} wrong at the default {duplicates.SIMILARITY}."]
    if not said.quick:
        lines.append(million(("banking77", "clinc150_oos", "trec6", "sst2")))
    print("\n".join(lines))
    if said.json:
        said.json.write_text(json.dumps(results, indent=1) + "\n")
    _log.append("duplicates", lines, said.quick)


if __name__ == "__main__":
    main()
