"""Texts of strangers on a page: what is hidden is shown, what turns the line is shown in place of being obeyed."""

from __future__ import annotations

import html
import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from agent.web.site import TEMPLATES
from agent.web.text import MARKS, shortened, visible

SIGN = re.compile(r'<span class="odd" title="U\+([0-9A-F]{4,6}) [^"<>&]+">[^<]+</span>')
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
ANY = st.text(st.characters(exclude_categories=()), max_size=80)


def back(shown: str) -> str:
    """The text that was shown: signs read as what they stand for."""
    plain = re.sub(f"[{MARKS}](?=<span class)", "", shown)
    parts = SIGN.split(plain)
    return "".join(chr(int(part, 16)) if i % 2 else html.unescape(part) for i, part in enumerate(parts))


@given(ANY)
@example("a\u202eb\u2066c\u200b\x00\ud800</bdi><script>alert(1)</script>&amp;'\"\U000e0041")
def test_nothing_is_hidden_nothing_is_lost_and_nothing_is_markup(text: str) -> None:
    shown = str(visible(text))
    shown.encode()  # lone surrogates are signs: the page can be sent
    kept = {c for c in SIGN.sub("", shown) if unicodedata.category(c) in HIDDEN and c not in f"\n\t{MARKS}"}
    assert all(c in "\u200c\u200d" or not _invisible(c) for c in kept), [hex(ord(c)) for c in kept]
    assert back(shown) == text.replace("\r\n", "\n")
    assert "<" not in SIGN.sub("", shown) and '"' not in SIGN.sub("", shown)


def _invisible(c: str) -> bool:
    """Format characters that turn lines or hide; others (as the number signs of Arabic) have a shape of their own."""
    return unicodedata.category(c) != "Cf" or unicodedata.bidirectional(c) in {
        "LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI", "BN",
    }  # fmt: skip


def test_what_turns_a_line_is_named_and_not_obeyed() -> None:
    shown = str(visible("pay\u202eevil\u2069"))
    assert "\u202e" not in shown and "\u2069" not in shown
    assert 'title="U+202E RIGHT-TO-LEFT OVERRIDE">RLO<' in shown and ">PDI<" in shown


def test_honest_texts_stay_as_they_are() -> None:
    for text in (
        "مرحبا، لم يصل الطلب",
        "我想退款。",
        "می\u200cخواهم",
        "👩\u200d👩\u200d👧",
        "two\nlines\tand a tab",
        "naïve café",
    ):
        assert str(visible(text)) == text


def test_a_megabyte_is_quick_enough_and_a_short_form_is_short() -> None:
    big = "<b>\u202e" * 250_000
    assert str(visible(big)).count("RLO<") == 250_000
    assert shortened("one two three", 9) == "one two…" and shortened("one two three", 8) == "one two…"
    assert shortened("abc", 3) == "abc" and shortened("abcdef", 4) == "abc…" and shortened(big, 160).endswith("…")


def test_no_template_has_scripts_styles_or_handlers_inside() -> None:
    for file in TEMPLATES.glob("*.html"):
        text = file.read_text(encoding="utf-8")
        text = re.sub(r"\{\{ (told\.plots\.\w+|drawn)\|safe \}\}", "", text)  # pictures that agent.report drew
        assert not re.search(r"<style|\sstyle\s*=|\son[a-z]+\s*=\s*[\"']|javascript:|\|\s*safe\b", text), file.name
        assert not re.search(r"<script(?![^>]*\ssrc=\"/static/)", text), file.name
        assert not re.search(r"(src|href|action)=\"(https?:)?//", text), file.name
