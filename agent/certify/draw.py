"""The random order that nobody chose, and seals over what was frozen. Knows no ledger and no people."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence


def draw(ids: Sequence[str], seed: int) -> list[int]:
    """All positions in a random order that depends on nothing but the ids and the seed.

    Uniform in the random-oracle sense: positions sorted by sha256(seed, id). Items added later fall in at random
    places and do not disturb the order of the others.
    """
    keys = list(salted("audit", seed, ids))
    return sorted(range(len(ids)), key=keys.__getitem__)


def salted(use: str, seed: int, ids: Iterable[str]) -> Iterator[bytes]:
    """32 bytes for each id that depend on nothing but the id, the seed, and what they are for: in the random-oracle
    sense those of one use are independent of those of another."""
    salt = f"{use}\0{seed}\0".encode()
    return (hashlib.sha256(salt + item.encode("utf-8", "surrogatepass")).digest() for item in ids)


def sha256_of(rows: Iterable[Sequence[str]]) -> str:
    """A seal over rows of text: order matters, fields cannot run into each other."""
    digest = hashlib.sha256()
    for row in rows:
        for field in row:
            raw = field.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big"))
            digest.update(raw)
        digest.update(b"\n")
    return digest.hexdigest()
