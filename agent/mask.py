"""Covers personal data in a text, and uncovers it again. Knows no engine, no network and no ledger.

Phone numbers are found by `phonenumbers` (Google's libphonenumber), card numbers and IBANs by their form and their
check digits (`python-stdnum`), e-mail addresses by their form, names by a list. Each finding becomes a placeholder such
as [EMAIL_1]: the same text is the same placeholder within an item, and no placeholder is one that the item has anyway,
so that `uncover(cover(text)) == text`. Nothing is kept: the placeholders of an item follow from the item.
"""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

from agent.errors import ConfigError, MissingExtra
from agent.types import Example, Item, Part, Task

Kind = Literal["email", "phone", "card", "iban", "name"]
Span = tuple[int, int, Kind]

KINDS: tuple[Kind, ...] = ("email", "card", "iban", "phone", "name")
"""In the order in which one that overlaps another gives the placeholder its name."""

REGIONS = ("US", "GB", "DE", "FR", "IN", "BR")
"""Whose phone numbers are known without + and country code, where `regions` says nothing."""

_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]")
_DOMAIN = re.compile(r"\[[0-9a-fA-F.:]{3,45}\]|[^\W_][\w-]{0,62}(?:\.[\w-]{1,63})*\.[^\W\d_][\w-]{1,62}")
_DIGITS = re.compile(r"(?<![^\W_])\d+(?:[ \u00a0\u2009.\u2010-\u2015-]{1,2}\d+)*(?![^\W_])")
_IBAN = re.compile(r"(?<![^\W_])[A-Z]{2}[ \u00a0-]?\d{2}(?:[ \u00a0-]?[A-Z0-9]){11,30}", re.IGNORECASE | re.ASCII)
_JOINS = re.compile(r"[\s.,'’\u2010-\u2015-]{0,3}")


@dataclass(frozen=True)
class Mask:
    """What is covered. `kinds`: of personal data; `names`: their words, folded, by the first of them; `within`: names
    in scripts without spaces between words, which are sought inside of words, too."""

    kinds: tuple[Kind, ...] = ()
    regions: tuple[str, ...] = REGIONS
    names: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    within: tuple[str, ...] = ()

    @property
    def seal(self) -> str:
        """What of it could change an answer, as a hash; empty where nothing is covered."""
        if not self.kinds:
            return ""
        told = (sorted(self.kinds), self.regions, sorted(self.names.items()), sorted(self.within))
        return hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def cover(self, *texts: str) -> tuple[tuple[str, ...], dict[str, str]]:
        """The texts with placeholders, which they share, and placeholder -> what it stands for."""
        if not self.kinds:
            return texts, {}
        given: dict[str, str] = {}
        counts: dict[str, int] = {}
        covered = []
        known = self._found(texts)
        for text in texts:
            out, end = [], 0
            for begin, stop, kind in _merged([*self._spans(text), *_again(text, known)]):
                value = text[begin:stop]
                if value not in given:
                    given[value] = _fresh(kind, counts, texts)
                out += [text[end:begin], given[value]]
                end = stop
            covered.append("".join([*out, text[end:]]))
        return tuple(covered), {placeholder: value for value, placeholder in given.items()}

    def _found(self, texts: Iterable[str]) -> dict[str, Kind]:
        """What was found anywhere is covered everywhere; names, which may be parts of words, only where they stand."""
        return {t[b:e]: kind for t in texts for b, e, kind in self._spans(t) if kind != "name"}

    def _spans(self, text: str) -> list[Span]:
        finders = {"email": _emails, "card": _cards, "iban": _ibans, "phone": self._phones, "name": self._names}
        return [(b, e, kind) for kind in KINDS if kind in self.kinds for b, e in finders[kind](text)]

    def _phones(self, text: str) -> Iterator[tuple[int, int]]:
        from phonenumbers import Leniency, PhoneNumberMatcher

        if sum(map(str.isdigit, text)) < 5:
            return
        for region in self.regions:  # each finds numbers with + and country code, too
            for found in PhoneNumberMatcher(text, region, leniency=Leniency.VALID, max_tries=sys.maxsize):
                yield found.start, found.end

    def _names(self, text: str) -> Iterator[tuple[int, int]]:
        for name in self.within:
            begin = text.find(name)
            while begin >= 0:
                yield begin, begin + len(name)
                begin = text.find(name, begin + len(name))
        if not self.names:
            return
        words = [(m.start(), m.end(), _fold(m.group())) for m in _words().finditer(text)]
        for at, (begin, _, first) in enumerate(words):
            for listed in self.names.get(first, ()):
                there = words[at : at + len(listed)]
                joined = all(_JOINS.fullmatch(text, a[1], b[0]) for a, b in pairwise(there))
                if tuple(word for _, _, word in there) == listed and joined:
                    yield begin, there[-1][1]
                    break

    def item(self, item: Item) -> Item:
        """The item as it may be shown; the user's own id stays behind."""
        if not self.kinds:
            return item
        texts, _ = self.cover(*(part.data for part in item.parts))
        parts = tuple(Part(part.media, text) for part, text in zip(item.parts, texts, strict=True))
        return replace(item, parts=parts, name=None)

    def uncover(self, item: Item, text: str) -> str:
        """What a model wrote about this item, with the item's own words for their placeholders."""
        return uncover(text, self.cover(*(part.data for part in item.parts))[1])

    def example(self, example: Example) -> Example:
        """The example as it may be shown."""
        return replace(example, text=self.cover(example.text)[0][0])

    def task(self, task: Task) -> Task:
        """The task as it may be shown: question, guidelines, descriptions and examples; labels keep their names."""
        if not self.kinds:
            return task
        (question, guidelines, *told), _ = self.cover(task.question, task.guidelines, *task.labels.values())
        labels = dict(zip(task.labels, told, strict=True))
        examples = tuple(map(self.example, task.examples))
        return replace(task, question=question, guidelines=guidelines, labels=labels, examples=examples)


def uncover(text: str, stands_for: Mapping[str, str]) -> str:
    """The text with what each placeholder stands for."""
    if not stands_for:
        return text
    known = re.compile("|".join(map(re.escape, stands_for)))
    return known.sub(lambda found: stands_for[found.group()], text)


def build(kinds: Sequence[Kind], regions: Sequence[str], names: Path | None) -> Mask:
    """The mask that these settings mean. `names`: a text file, a name a line; # begins a remark.

    Raises:
        ConfigError: the file of names cannot be read, or a region is none.
        MissingExtra: finding phone numbers, cards or IBANs needs the extra `privacy`.
    """
    if {"phone", "card", "iban"} & set(kinds):
        _need()
        import phonenumbers

        for region in regions:
            if region not in phonenumbers.SUPPORTED_REGIONS:
                raise ConfigError(f"privacy.regions: {region!r} is no country: write two letters, as in DE or GB")
    listed = _read(names) if names is not None else []
    whole: dict[str, set[tuple[str, ...]]] = {}
    within = []
    for name in listed:
        if any(_unspaced(letter) for letter in name):
            within.append(name)
            continue
        words = tuple(_fold(word) for word in _words().findall(name))
        if words:
            whole.setdefault(words[0], set()).add(words)
    longest = {first: tuple(sorted(all_, key=len, reverse=True)) for first, all_ in whole.items()}
    return Mask(tuple(kinds), tuple(regions) or REGIONS, longest, tuple(sorted(within, key=len, reverse=True)))


def _need() -> None:
    for package, name in (("phonenumbers", "phonenumbers"), ("stdnum", "python-stdnum")):
        try:
            __import__(package)
        except ImportError:
            raise MissingExtra(name, "privacy", "masking phone, card and account numbers") from None


def _read(path: Path) -> list[str]:
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"privacy.names: {path} cannot be read ({why}): a text file, with a name a line") from None
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not names:
        raise ConfigError(f"privacy.names: {path} holds no name: write one a line, or take the line out")
    return names


def _emails(text: str) -> Iterator[tuple[int, int]]:
    at = text.find("@")
    while at >= 0:
        begin = at
        while begin > max(at - 65, 0) and _LOCAL.match(text, begin - 1):
            begin -= 1
        while begin < at and text[begin] in ".'`":
            begin += 1
        domain = _DOMAIN.match(text, at + 1)
        if begin < at and domain is not None:
            yield begin, domain.end()
        at = text.find("@", at + 1)


def _cards(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import luhn

    for run in _DIGITS.finditer(text):
        groups = [m.span() for m in re.finditer(r"\d+", text[run.start() : run.end()])]
        for i, (begin, _) in enumerate(groups):
            digits = ""
            for left, right in groups[i:]:
                digits += "".join(str(unicodedata.decimal(c)) for c in text[run.start() + left : run.start() + right])
                if len(digits) > 19:
                    break
                if len(digits) > 12 and digits[0] in "23456" and luhn.is_valid(digits):
                    yield run.start() + begin, run.start() + right


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import iban

    at = 0
    while (found := _IBAN.search(text, at)) is not None:
        at = found.start() + 1
        for end in range(found.end(), found.start() + 14, -1):
            ends = text[end - 1].isalnum() and not text[end : end + 1].isalnum()
            if ends and iban.is_valid(text[found.start() : end], check_country=False):
                yield found.start(), end
                at = end
                break


def _again(text: str, known: Mapping[str, Kind]) -> Iterator[Span]:
    for value, kind in known.items():
        begin = text.find(value)
        while begin >= 0:
            yield begin, begin + len(value), kind
            begin = text.find(value, begin + 1)


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Spans that overlap are one, of the kind that stands first in KINDS."""
    out: list[Span] = []
    for begin, end, kind in sorted(spans):
        if out and begin < out[-1][1]:
            first, last, before = out[-1]
            out[-1] = first, max(last, end), min(kind, before, key=KINDS.index)
        else:
            out.append((begin, end, kind))
    return out


def _fresh(kind: Kind, counts: dict[str, int], texts: Sequence[str]) -> str:
    while True:
        counts[kind] = counts.get(kind, 0) + 1
        placeholder = f"[{kind.upper()}_{counts[kind]}]"
        if not any(placeholder in text for text in texts):
            return placeholder


def _fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()


def _unspaced(letter: str) -> bool:
    """Of a script that writes no spaces between words: Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese."""
    scripts = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")
    return unicodedata.name(letter, "").startswith(scripts)


@lru_cache
def _words() -> re.Pattern[str]:
    """Letters and digits with the marks that stand on them; `\\w` ends a word where a mark begins."""
    marks = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c)[0] == "M")
    return re.compile(f"[^\\W_][^\\W_{marks}]*(?:[{marks}]+[^\\W_]*)*")
