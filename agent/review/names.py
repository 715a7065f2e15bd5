"""How a label is found by a person: keys for at most ten of them, words for more. Knows names; no screen."""

from __future__ import annotations

from collections.abc import Sequence

DIGITS = "1234567890"


def assign(labels: Sequence[str]) -> dict[str, str]:
    """Key -> label for at most ten labels, in their order; a label that is a digit itself keeps its own key."""
    own = {label for label in labels if label in list(DIGITS)}
    free = iter([digit for digit in DIGITS if digit not in own])
    return {(label if label in own else next(free)): label for label in labels}


def find(labels: Sequence[str], typed: str) -> list[str]:
    """Labels that hold every word typed: those that are it first, then those that begin with it, then the others."""
    text = typed.strip().casefold()
    words = text.split()
    names = {label: label.casefold() for label in labels}
    found = [label for label in labels if all(word in names[label] for word in words)]
    return sorted(found, key=lambda label: (names[label] != text, not names[label].startswith(text)))
