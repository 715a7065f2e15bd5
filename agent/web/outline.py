"""Plain text as headings, lists and paragraphs, so that a page can show the guidelines. Makes no HTML: templates do."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*$")
BULLET = re.compile(r"\s*[-*•]\s+(.*)$")
NUMBER = re.compile(r"\s*\d{1,3}[.)]\s+(.*)$")


@dataclass
class Block:
    """A piece of a text. kind: "h" (level 1 to 6), "p", "ul" or "ol"; lines: of text, a line an entry of a list."""

    kind: str
    lines: list[str]
    level: int = 0


def outline(text: str) -> list[Block]:
    """The blocks of a text: lines that begin with # are headings, with - or 1. lists; an empty line ends a paragraph.

    Nothing else is understood, and nothing is lost: every character that is no such sign stands in some block.
    """
    out: list[Block] = []
    fresh = True
    for line in text.splitlines():
        if not line.strip():
            fresh = True
            continue
        if found := HEADING.match(line):
            out.append(Block("h", [found[2]], len(found[1])))
            fresh = True
            continue
        kind, words = "p", line.strip()
        for name, sign in (("ul", BULLET), ("ol", NUMBER)):
            if entry := sign.match(line):
                kind, words = name, entry[1]
        last = out[-1] if out and not (fresh and kind == "p") else None
        if last is not None and last.kind == kind:
            last.lines.append(words)
        elif last is not None and kind == "p" and last.kind in ("ul", "ol"):
            last.lines[-1] += f" {words}"  # a long entry goes on in the next line
        else:
            out.append(Block(kind, [words]))
        fresh = False
    return out


def pieces(line: str) -> list[tuple[bool, str]]:
    """A line as (is it between backticks?, text)."""
    parts = re.split(r"`([^`]+)`", line)
    return [(bool(number % 2), part) for number, part in enumerate(parts) if part]
