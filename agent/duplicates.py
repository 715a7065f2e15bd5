"""Which texts say the same, so that one of them is asked about and the others take its answer. Knows texts only.

Two texts are the same when nothing but case, width, white space, apostrophes and punctuation tells them apart. They are
nearly the same when their sets of 4 neighbouring characters overlap by `similarity` (Jaccard; Broder 1997), they have
five words or more, and the same numbers, signs and negations in the same order: "from 5 to 7" is never "from 7 to 5".

Nearly equal texts are found by the pigeonhole (Arasu, Ganti & Kaushik, VLDB 2006): two such sets differ in little, so
when their elements are dealt by a hash into one more part than that, some part is the same in both, and texts are
compared only where a part is. Of a long text the 64 smallest hashes stand for all there (a bottom-k sketch), and in a
big bucket a text meets only some of the others, so a few pairs are missed; whatever is grouped was compared in full.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.types import Bools, Ints

Hashes = NDArray[np.uint64]
Codes = NDArray[np.uint32]

VERSION = 1
"""Counts up when the groups of the same texts may be others."""
SIMILARITY = 0.85
"""By `python -m eval.duplicates`: of 564 nearly equal texts of eight sets 10 have another label than their first."""
WORDS = 5
"""Shorter texts are duplicates only when they are the same."""
SHINGLE = 4
CHARACTERS = 1 << 20
"""Characters looked at in one piece."""
ROWS = 1 << 15
"""Texts looked at in one piece."""
SKETCH = 64
LEVELS = (16, 32, SKETCH)
"""Up to these sizes sketches are dealt into the same number of parts."""
PARTS = 16
BEFORE = 8
"""In a bucket a text is compared with so many before it and with the first, so that work grows with the pool only."""

SPACE, LETTER, DIGIT, SCRIPT, SIGN, DROPPED, POINT, DASH, EYES, MOUTH = range(10)

GUARDS = (
    "not no never none nothing nobody nowhere neither nor cannot without dont cant wont isnt arent wasnt werent doesnt "
    "didnt hasnt havent hadnt wouldnt couldnt shouldnt mustnt neednt aint nicht kein keine keinen keiner nie niemals "
    "ohne pas ne jamais sans aucun aucune sin ni nunca non mai senza não nunca sem niet geen nooit inte aldrig ikke "
    "не нет ни без никогда 不 没 沒 無 无 非 别 別 未 勿 莫 "
    "zero one two three four five six seven eight nine ten eleven twelve hundred thousand million once twice half "
    "first second third 一 二 两 三 四 五 六 七 八 九 十 百 千 万 半"
)
"""Words that duplicates must share, beside all that hold a digit or are a sign: negations and numbers."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Texts taken apart: of each text its hash, that of its guards, its number of words, and its shingles.

    shingles: 48-bit hashes, ascending and distinct in a text; text i has those from offsets[i] to offsets[i + 1].
    """

    same: Hashes
    guard: Hashes
    words: Ints
    shingles: Hashes
    offsets: Ints


def group(texts: Sequence[str], *, similarity: float = SIMILARITY) -> Ints:
    """The row of the first text of each one's group, (n,); its own row when it is alone or the first.

    Every member is the same as the first of its group or nearly so itself: groups do not drift. Equal texts in equal
    order give equal groups.

    Args:
        texts: n texts in any language. similarity: [0.5, 1], how much of the 4-character pieces of two texts both have;
            at 1 only texts of the same pieces are grouped.
    Raises:
        ValueError: similarity is out of range.
    """
    if not 0.5 <= similarity <= 1:
        raise ValueError(f"similarity = {similarity}: take one from 0.5 to 1; {SIMILARITY} is usual")
    n = len(texts)
    same, guard, bits = np.empty(n, np.uint64), np.empty(n, np.uint64), np.empty(n, np.uint64)
    size = np.zeros(n, np.int32)
    keys = [np.zeros((_parts(level, similarity), n), np.uint32) for level in LEVELS]
    for start, stop in _blocks([len(text) for text in texts], ROWS):
        pieces = take_apart(texts[start:stop])
        same[start:stop], guard[start:stop] = pieces.same, pieces.guard
        size[start:stop] = np.where(pieces.words >= WORDS, np.diff(pieces.offsets), 0)
        flat, offsets = _sketch(pieces)
        mixed = _mix(flat)
        bits[start:stop] = _reduce(np.bitwise_or, np.uint64(1) << (mixed >> np.uint64(58)), offsets)
        for of_level in keys:
            dealt = mixed % np.uint64(len(of_level))
            for part, key in enumerate(of_level):
                sums = _reduce(np.add, np.where(dealt == part, mixed, np.uint64(0)), offsets)
                key[start:stop] = np.where(sums == 0, 0, _mix(sums ^ pieces.guard) >> np.uint64(32))
    first = _first_of(same)
    size[first != np.arange(n)] = 0
    left, right = _candidates(keys, guard, size, bits, similarity)
    alike = _alike(texts, left, right, size, similarity)
    return _lead(first, left[alike], right[alike])


def take_apart(texts: Sequence[str]) -> Pieces:
    """Hashes of some texts, their words and their 4-character pieces."""
    letters, marked = _clean(texts)
    n = len(texts)
    ends, inside = letters == 0, (letters != 0) & (letters != 32)
    row = np.cumsum(ends) - ends
    starts = inside & ~np.concatenate([[False], inside[:-1]])
    begin = np.flatnonzero(starts)
    word = np.cumsum(starts)[inside] - 1
    edges = np.searchsorted(word, np.arange(len(begin) + 1))
    hashed = _reduce(np.add, _mix(letters[inside]) * _odd(np.flatnonzero(inside) - begin[word]), edges)
    guarded = (_reduce(np.add, marked[inside].astype(np.uint64), edges) > 0) | np.isin(hashed, _guards())
    home = row[begin]
    same, words = _in_order(hashed, home, n)
    guard, _ = _in_order(hashed[guarded], home[guarded], n)
    for bare in np.flatnonzero(words == 0).tolist():  # nothing but punctuation: the same when the marks are
        digest = blake2b(texts[bare].strip().encode("utf-8", "surrogatepass"), digest_size=8).digest()
        same[bare] = np.frombuffer(digest, np.uint64)[0]
    return Pieces(same, guard, words, *_shingles(letters, row, n))


def _in_order(hashed: Hashes, home: Ints, n: int) -> tuple[Hashes, Ints]:
    """Of each of n texts a hash of its words in their order, and their number."""
    bounds = np.searchsorted(home, np.arange(n + 1))
    return _reduce(np.add, _mix(hashed) * _odd(np.arange(len(home)) - bounds[home]), bounds), np.diff(bounds)


def _clean(texts: Sequence[str]) -> tuple[Codes, Bools]:
    """Code points of the texts, each ` word word ` and a 0, and which of them make their word a number or a sign."""
    joined = "\0".join(texts)
    if joined.count("\0") != len(texts) - 1:
        joined = "\0".join(text.replace("\0", " ") for text in texts)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", joined).casefold()) + "\0"
    codes = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), np.uint32)
    kind = _kinds(codes)
    kept = kind != DROPPED
    codes, kind = codes[kept], kind[kept]
    before, after = _shift(kind, 1), np.concatenate([kind[1:], kind[:1] * 0])
    point = (kind == POINT) & (before == DIGIT) & (after == DIGIT)
    minus = (kind == DASH) & (after == DIGIT) & (before != DIGIT) & (before != LETTER)
    smile = (kind == MOUTH) & ((before == EYES) | (before == DASH) & (_shift(kind, 2) == EYES))
    sign = (kind == SIGN) | minus | smile
    lone = sign | (kind == SCRIPT) | (codes == 0)
    codes = np.where(lone | point | (kind == LETTER) | (kind == DIGIT), codes, 32)
    times = np.where(lone, 3, 1)
    out, marked = np.repeat(codes, times), np.repeat(sign | point | (kind == DIGIT), times)
    last = (np.cumsum(times) - 1)[lone]
    out[last] = out[last - 2] = 32
    out, marked = np.concatenate([[32], out]), np.concatenate([[False], marked])
    keep = np.concatenate([[True], (out[1:] != 32) | (out[:-1] != 32)])
    return out[keep].astype(np.uint32), marked[keep]


def _shift(kind: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    return np.concatenate([np.full(by, SPACE, np.uint8), kind])[: len(kind)]


def _kinds(codes: Codes) -> NDArray[np.uint8]:
    """What each code point is: one of SPACE ... MOUTH."""
    table = _table()
    kind = table[np.minimum(codes, len(table) - 1)]
    rare = np.flatnonzero(codes >= len(table))
    if len(rare):
        found, which = np.unique(codes[rare], return_inverse=True)
        kind[rare] = np.array([_kind(chr(code)) for code in found.tolist()], np.uint8)[which]
    return kind


@cache
def _table() -> NDArray[np.uint8]:
    return np.array([_kind(chr(code)) for code in range(1 << 16)], np.uint8)


def _kind(sign: str) -> int:
    if sign in "'’‘ʼ`" or "\ufe00" <= sign <= "\ufe0f":
        return DROPPED
    for signs, kind in ((".,", POINT), (":;=", EYES), ("()[]/\\", MOUTH), ("%#@&", SIGN), ("|~^", SPACE), ("−", DASH)):
        if sign in signs:
            return kind
    category = unicodedata.category(sign)
    if category == "Lo" and ("\u3040" <= sign <= "\u9fff" or "\uf900" <= sign <= "\ufaff" or sign >= "\U00020000"):
        return SCRIPT
    if category in ("Cf", "Pd"):
        return DROPPED if category == "Cf" else DASH
    return {"L": LETTER, "M": LETTER, "N": DIGIT, "S": SIGN}.get(category[0], SPACE)


@cache
def _guards() -> Hashes:
    """The hashes of GUARDS as words."""
    letters = [np.frombuffer(word.encode("utf-32-le"), np.uint32) for word in GUARDS.split()]
    return np.array([np.add.reduce(_mix(codes) * _odd(np.arange(len(codes)))) for codes in letters], np.uint64)


def _shingles(letters: Codes, row: Ints, n: int) -> tuple[Hashes, Ints]:
    """The distinct 4-character pieces of n texts, (total,), and where those of each begin, (n + 1,)."""
    size = max(0, len(letters) - SHINGLE + 1)
    whole, hashed = np.ones(size, bool), np.zeros(size, np.uint64)
    mixed, odd = _mix(letters), _odd(np.arange(SHINGLE))
    for place in range(SHINGLE):
        hashed += mixed[place : place + size] * odd[place]
        whole &= letters[place : place + size] != 0
    ordered = np.sort((row[:size][whole].astype(np.uint64) << np.uint64(48)) | (_mix(hashed[whole]) >> np.uint64(16)))
    ordered = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]]
    offsets = np.searchsorted(ordered, np.arange(n + 1, dtype=np.uint64) << np.uint64(48))
    return ordered & np.uint64((1 << 48) - 1), offsets.astype(np.int64)


def _sketch(pieces: Pieces) -> tuple[Hashes, Ints]:
    """The smallest 64 shingles of every text, and where those of each begin."""
    sizes = np.diff(pieces.offsets)
    kept = np.arange(len(pieces.shingles)) - np.repeat(pieces.offsets[:-1], sizes) < SKETCH
    return pieces.shingles[kept], np.concatenate([[0], np.cumsum(np.minimum(sizes, SKETCH))])


def _apart(total: Any, similarity: float) -> Any:
    """How many elements two sets of together `total` elements differ in at most."""
    return np.floor((1 - similarity) / (1 + similarity) * total + 1e-9)


def _parts(level: int, similarity: float) -> int:
    return int(np.clip(1 + _apart(2 * level, similarity), 2, PARTS))


def _first_of(same: Hashes) -> Ints:
    """The first row of the same hash, (n,)."""
    _, first, which = np.unique(same, return_index=True, return_inverse=True)
    return np.asarray(first[which], np.int64)


def _candidates(
    keys: list[Codes], guard: Hashes, size: NDArray[np.int32], bits: Hashes, similarity: float
) -> tuple[Ints, Ints]:
    """Pairs of rows, the earlier one left, that share a part and that no bound tells apart; each once."""
    sketch, found, below = np.minimum(size, SKETCH), [np.empty(0, np.int64)], 0
    for of_level, level in zip(keys, LEVELS, strict=True):
        rows = np.flatnonzero((sketch >= similarity * (below + 1)) & (sketch <= level) & (sketch > 0))
        below = level
        for key in of_level:
            for left, right in _mates(rows, key[rows]):
                near = (guard[left] == guard[right]) & (
                    np.minimum(size[left], size[right]) >= similarity * np.maximum(size[left], size[right])
                )
                left, right = left[near], right[near]
                # Of sets above the sketch's size the bits stand for a sample: 24 is 4 standard deviations off.
                most = np.where(np.maximum(size[left], size[right]) > SKETCH, 24, 0)
                most = np.maximum(most, _apart(sketch[left] + sketch[right], similarity))
                near = _bits(bits[left] ^ bits[right]) <= most
                found.append(left[near] * len(size) + right[near])
    codes = np.unique(np.concatenate(found))
    return codes // max(1, len(size)), codes % max(1, len(size))


def _mates(rows: Ints, key: Codes) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of rows of one key: each with the `BEFORE` before it and with the first of its bucket. Key 0 is none."""
    ordered = np.sort((key.astype(np.uint64) << np.uint64(32)) | np.arange(len(rows), dtype=np.uint64))
    key, rows = (ordered >> np.uint64(32)).astype(np.uint32), rows[(ordered & np.uint64(0xFFFFFFFF)).astype(np.int64)]
    joined = np.concatenate([[False], (key[1:] == key[:-1]) & (key[1:] != 0)])[: len(key)]
    head = np.maximum.accumulate(np.where(joined, 0, np.arange(len(key)))) if len(key) else np.empty(0, np.int64)
    place = np.flatnonzero(joined)
    depth = place - head[place]
    yield rows[head[place]], rows[place]
    for back in range(1, BEFORE + 1):
        deep = place[depth > back]
        yield rows[deep - back], rows[deep]


def _alike(texts: Sequence[str], left: Ints, right: Ints, size: NDArray[np.int32], similarity: float) -> Bools:
    """Whether two texts share enough of their pieces, compared in full, (pairs,)."""
    out = np.zeros(len(left), bool)
    for start, stop in _blocks((size[left] + size[right]).tolist(), ROWS // 2):
        rows, which = np.unique(np.concatenate([left[start:stop], right[start:stop]]), return_inverse=True)
        pieces = take_apart([texts[row] for row in rows.tolist()])
        sizes = np.diff(pieces.offsets)[which]
        pair = np.tile(np.arange(stop - start), 2)
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        flat = pieces.shingles[np.repeat(pieces.offsets[:-1][which], sizes) + within]
        ordered = np.sort((np.repeat(pair, sizes).astype(np.uint64) << np.uint64(48)) | flat)
        twice = ordered[1:][ordered[1:] == ordered[:-1]] >> np.uint64(48)
        shared = np.bincount(twice.astype(np.int64), minlength=stop - start)
        total = sizes[: stop - start] + sizes[stop - start :]
        out[start:stop] = shared >= similarity * (total - shared) - 1e-9
    return out


def _bits(x: Hashes) -> Ints:
    """How many bits are set, (n,)."""
    return np.asarray(_ones()[x.view(np.uint8)].reshape(-1, 8).sum(axis=1), np.int64)


@cache
def _ones() -> NDArray[np.uint8]:
    return np.array([byte.bit_count() for byte in range(256)], np.uint8)


def _lead(first: Ints, left: Ints, right: Ints) -> Ints:
    """Each text joins the first text before it that leads and is alike; what is the same as a text goes with it."""
    lead = np.arange(len(first))
    order = np.lexsort((left, right))
    for earlier, later in zip(left[order].tolist(), right[order].tolist(), strict=True):
        if lead[later] == later and lead[earlier] == earlier:
            lead[later] = earlier
    return np.asarray(lead[first], np.int64)


def _blocks(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `most` things whose sizes together stay below CHARACTERS, a bigger one on its own."""
    start, total = 0, 0
    for place, size in enumerate(sizes):
        if place > start and (total + size > CHARACTERS or place - start >= most):
            yield start, place
            start, total = place, 0
        total += size
    if start < len(sizes):
        yield start, len(sizes)


def _reduce(by: np.ufunc, values: NDArray[np.uint64], offsets: Ints) -> Hashes:
    """`by` over each stretch of values, 0 for an empty one. (total,), (n + 1,) -> (n,)."""
    out = np.zeros(len(offsets) - 1, np.uint64)
    some = offsets[:-1] < offsets[1:]
    if some.any():
        out[some] = by.reduceat(values, offsets[:-1][some])
    return out


def _mix(x: NDArray[Any]) -> Hashes:
    """A 64-bit hash of numbers: splitmix64 (Steele, Lea & Flood 2014)."""
    x = x.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)


def _odd(place: Ints) -> Hashes:
    """A random odd factor a place, so that order counts."""
    return _mix(place + (1 << 40)) | np.uint64(1)
