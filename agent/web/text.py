"""Texts of strangers as a page shows them: nothing hidden, nothing that turns the line around. Knows no page.

Control characters, marks of direction, characters without width and halves of a pair (lone surrogates) are shown as
small signs with their name; what reorders a line is shown in place of being obeyed. Unicode Technical Report 36, 2.10,
and Boucher and Anderson 2023 ("Trojan Source") say what such characters are used for.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

KEPT = "\n\t"
MARKS = "\u200e\u200f\u061c"
"""Marks of direction that honest right-to-left texts need: shown, and obeyed; they cannot reach beyond the text."""

SHORT = {
    "\u00ad": "SHY", "\u061c": "ALM", "\u180e": "MVS", "\u200b": "ZWSP", "\u200e": "LRM", "\u200f": "RLM",
    "\u2028": "LS", "\u2029": "PS", "\u202a": "LRE", "\u202b": "RLE", "\u202c": "PDF", "\u202d": "LRO",
    "\u202e": "RLO", "\u2060": "WJ", "\u2066": "LRI", "\u2067": "RLI", "\u2068": "FSI", "\u2069": "PDI",
    "\ufeff": "BOM", "\r": "CR", "\x85": "NEL",
}  # fmt: skip
NAMES = {"\r": "CARRIAGE RETURN", "\x00": "NULL", "\x1b": "ESCAPE", "\x7f": "DELETE", "\x85": "NEXT LINE"}
# ZWNJ and ZWJ (200C, 200D) stay as they are: Persian, Indic scripts and emoji are written with them.
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


def visible(value: Any) -> Markup:
    """A text as HTML: escaped, its hidden characters as `<span class="odd" title="U+202E …">RLO</span>`."""
    from markupsafe import Markup, escape

    parts: list[str] = []
    end = 0
    text = str(value).replace("\r\n", "\n")
    for found in _ODD.finditer(text):
        parts += [str(escape(text[end : found.start()])), _sign(found.group())]
        end = found.end()
    return Markup("".join([*parts, str(escape(text[end:]))]))  # every piece is escaped above


def _sign(one: str) -> str:
    code = ord(one)
    if one in SHORT:
        sign = SHORT[one]
    elif code < 0x20:
        sign = chr(0x2400 + code)
    elif code == 0x7F:
        sign = "\u2421"
    else:
        sign = f"{code:04X}"
    name = NAMES.get(one) or unicodedata.name(one, "half of a pair" if 0xD800 <= code < 0xE000 else "hidden character")
    kept = one if one in MARKS else ""
    return f'{kept}<span class="odd" title="U+{code:04X} {name}">{sign}</span>'


def shortened(value: Any, most: int) -> str:
    """At most `most` characters, whole words where there are any, and an ellipsis where there are more."""
    text = str(value)
    if len(text) <= most:
        return text
    kept = text[: max(most - 1, 0)]
    words = kept.rpartition(" ")[0] if text[len(kept)] != " " else kept
    return (words if 2 * len(words) > len(kept) else kept).rstrip() + "…"
