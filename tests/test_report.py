"""The report: says what the figures say, never more; safe and whole as one file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.report import (
    Agreement,
    Check,
    Estimated,
    Figures,
    Network,
    People,
    Point,
    Range,
    Share,
    Source,
    Spent,
    bins,
    chance,
    confusion,
    down,
    ece,
    page,
    to_json,
    up,
    wilson,
    words,
    write,
)
from agent.types import Certificate

LABELS = {"Barrier": "what keeps people away", "Positive": "", "Negative": "", "Neutral": ""}

CERTIFICATE = Certificate(
    items=2958, people=412, machine=2546, audited=180, wrong=21, missing=2, delta=0.05, wrong_at_most=499,
    accuracy_at_least=0.8313, accuracy_estimate=0.884, target=0.85, met=False, look=2, seed=7, turn=9,
    labels_sha256="ab" * 32, audit_sha256="cd" * 32, truth="one answer a person, blind",
)  # fmt: skip

PAIRS = (
    [("Positive", "Positive")] * 64 + [("Negative", "Negative")] * 81 + [("Neutral", "Neutral")] * 40
    + [("Barrier", "Barrier")] * 22 + [("Neutral", "Positive")] * 9 + [("Neutral", "Negative")] * 7
    + [("Barrier", "Negative")] * 6 + [("Positive", "Neutral")] * 4
)  # fmt: skip

FULL = Figures(
    name="tickets",
    question="How does the writer feel about the product?",
    labels=LABELS,
    rows=3013,
    items=3000,
    accepted=2958,
    unsure=30,
    waiting=12,
    set_aside={"the text is empty": 9, "the row is not valid JSON": 2},
    sources=(
        Source("linear", "student", 1940, {"Barrier": 130, "Positive": 620, "Negative": 790, "Neutral": 400}),
        Source("small (Qwen3-8B)", "llm", 606, {"Barrier": 90, "Positive": 180, "Negative": 200, "Neutral": 136}),
        Source("person", "person", 412, {"Barrier": 60, "Positive": 100, "Negative": 120, "Neutral": 132}),
    ),
    people=People("people", "", pilot=120, audit=180, escalation=112, unsure=5, minutes=54.93, measured=True),
    spent=(
        Spent("small", 2210, 14, 1_204_331, 980_112, 4420, 0.3812, "Qwen/Qwen3-8B"),
        Spent("large", 310, 0, 190_220, 120_000, 620, 1.24001, "big-2026-01"),
    ),
    budget_usd=25.0,
    network=Network(2820, 1_399_591, 3, 5_400, 0.0123, 10_000, None),
    curve=tuple(
        Point(t, 150 * (t + 1), Share(r, 120), e)
        for t, (r, e) in enumerate(
            [(58, 0.61), (74, 0.68), (81, 0.75), (88, 0.79), (93, 0.82), (95, 0.83), (97, 0.85), (99, 0.855)]
        )
    ),
    reliability=bins(
        [0.55] * 18 + [0.66] * 22 + [0.75] * 30 + [0.86] * 58 + [0.97] * 105,
        [i % 2 == 0 for i in range(18)] + [i % 3 > 0 for i in range(22)] + [i % 4 > 0 for i in range(30)]
        + [i % 8 > 0 for i in range(58)] + [i % 40 > 0 for i in range(105)],
    ),
    confusion=(confusion(PAIRS, list(LABELS)),),
    agreement=(
        Agreement("linear", Share(99, 120), 0.31),
        Agreement("small", Share(91, 120), 0.33),
        Agreement("large", Share(106, 120), 0.3),
    ),
    goal_accuracy=0.85,
    certificate=CERTIFICATE,
    gold=(Check("accepted labels", Share(2588, 2958)), Check("the machines' labels among them", Share(2180, 2546))),
    stopped="The run stopped because the people's minutes are used up.",
    next_steps=("Answer 12 open questions: tutelage review.", "Give people more time: --set goal.person_minutes=90."),
    files={"labels.parquet": "every row with its label, who settled it and how sure", "certificate.json": "the claim"},
    turns=9,
    seed=7,
    made="2026-11-22",
    version="0.1.0",
)  # fmt: skip

ESTIMATED = Estimated(
    Range(0.93219, 0.90111, 0.95123),
    {"Barrier": Range(0.09, 0.0701, 0.1199), "Positive": Range(0.3, 0.25, 0.35)},
    180,
    231.7,
)
PART = {
    "claim": "prefix", "labels": 2100, "people": 590, "left_open": 858, "all": False, "prefix": 1600, "audited": 120,
    "wrong": 4,
}  # fmt: skip

EMPTY = Figures(name="", labels={}, rows=0, items=0, accepted=0, unsure=0, waiting=0)


class Outline(HTMLParser):
    """Tags, ids, references and text of a page; unclosed or crossed elements are found."""

    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.refs: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.refs.append(value or "")
            if name in ("aria-labelledby", "aria-describedby"):
                self.refs += [f"#{r}" for r in (value or "").split()]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def outline(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    found.close()
    assert not found.open
    return found


# Numbers


@given(st.integers(0, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.999))
def test_wilson_contains_the_rate_and_stays_within_bounds(kn: tuple[int, int], level: float) -> None:
    k, n = kn
    low, high = wilson(k, n, level)
    assert 0 <= low <= high <= 1
    if n:
        assert low <= k / n <= high


@given(st.integers(1, 400), st.integers(0, 400))
def test_wilson_mirrors(n: int, k: int) -> None:
    k = min(k, n)
    low, high = wilson(k, n)
    assert wilson(n - k, n) == pytest.approx((1 - high, 1 - low))


def test_wilson_agrees_with_the_published_example() -> None:
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611252), abs=1e-6)


@pytest.mark.parametrize(("k", "n", "level"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)])
def test_wilson_refuses_nonsense(k: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match="between"):
        wilson(k, n, level)


@given(st.floats(0, 1), st.integers(0, 6))
def test_percentages_of_floats_are_cut_to_the_safe_side(share: float, digits: int) -> None:
    shown = Decimal(repr(share)) * 100
    low, high = Decimal(down(share, digits)), Decimal(up(share, digits))
    assert low <= shown <= high
    assert high - low <= Decimal(1).scaleb(-digits)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 4))
def test_percentages_of_fractions_are_cut_to_the_safe_side(k: int, n: int, digits: int) -> None:
    share = Fraction(min(k, n), n)
    assert Fraction(down(share, digits)) <= 100 * share <= Fraction(up(share, digits))


def test_percentages_look_as_people_write_them() -> None:
    assert (down(0.95), down(0.29, 0), down(0.99999), down(1.0), down(0.0)) == ("95.0", "29", "99.9", "100.0", "0.0")
    assert (up(0.05), up(0.050001), up(Fraction(1, 3), 2)) == ("5.0", "5.1", "33.34")


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=200))
def test_bins_lose_no_item_and_ece_is_a_share(rows: list[tuple[float, bool]]) -> None:
    cells = bins([c for c, _ in rows], [r for _, r in rows])
    assert sum(b.n for b in cells) == len(rows)
    assert sum(b.right for b in cells) == sum(r for _, r in rows)
    assert all(b.low - 1e-9 <= b.confidence <= b.high + 1e-9 and b.n for b in cells)
    assert -1e-9 <= ece(cells) <= 1 + 1e-9


def test_ece_is_nothing_when_confidence_holds_and_the_gap_when_it_does_not() -> None:
    assert ece(bins([0.5] * 10, [True, False] * 5)) == pytest.approx(0)
    assert ece(bins([0.9] * 10, [True, False] * 5)) == pytest.approx(0.4)


def test_bins_refuse_what_is_no_confidence() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        bins([1.2], [True])
    with pytest.raises(ValueError, match=r"shorter|longer|length"):
        bins([0.2, 0.3], [True])


def test_chance_is_the_product_of_the_shares() -> None:
    assert chance(["a", "a", "b", "b"], ["a", "a", "a", "b"]) == pytest.approx(0.5)
    assert chance([], []) == 0.0


# Words


def test_headline_says_what_is_delivered_and_what_is_proved() -> None:
    line = words.headline(FULL).replace(words.NBSP, " ")
    assert (
        line
        == "2,958 of 3,000 labels sure enough; at least 83.1 % of all 2,958 agree with your people (95 % confidence)."
    )
    assert words.goal(FULL).replace(words.NBSP, " ") == "Your goal of 85 % is not reached yet."


def test_headline_claims_nothing_without_a_certificate() -> None:
    line = words.headline(replace(FULL, certificate=None))
    assert "%" not in line and "not certified" in line


def test_headline_names_those_who_stood_in_for_people() -> None:
    for who, word in (("gold", "gold column"), ("votes", "recorded raters")):
        told = replace(FULL, people=replace(FULL.people, who=who))
        assert word in words.headline(told) and "your people" not in words.headline(told)
        for text in (page.html(told), page.markdown(told)):
            assert "Nobody was asked while this ran" in text
            assert "your people" not in text
    assert "Nobody was asked" not in page.html(FULL)


@given(st.integers(1, 10**6), st.data())
def test_certified_accuracy_is_never_rounded_up(items: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, items))
    got = replace(CERTIFICATE, items=items, wrong_at_most=wrong)
    shown = re.search(r"at least ([\d.]+)", words.headline(replace(FULL, certificate=got)))
    assert shown and Fraction(shown.group(1)) <= 100 * Fraction(items - wrong, items)


def test_money_and_time_are_cut_upwards() -> None:
    assert [words.dollars(x) for x in (0, 0.00001, 0.3812, 1.24001, 1234.5)] == [
        "$0", "$0.0001", "$0.3812", "$1.25", "$1,234.50"]  # fmt: skip
    assert [words.minutes(x) for x in (0, 1, 1.01, 10, 54.93)] == [
        "0 minutes", "1 minute", "1.1 minutes", "10 minutes", "55 minutes"]  # fmt: skip


def test_every_row_is_accounted_for() -> None:
    rows = dict(words.rows(FULL))
    assert rows.pop("Rows read") == sum(rows.values()) == 3013
    assert rows["The same item again"] == 2


# Pages


def test_write_gives_two_files_and_leaves_nothing_else(tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "new" / "run"
    page_, text = write(FULL, folder)
    assert (page_.name, text.name) == ("report.html", "report.md")
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "report.md"]
    assert page_.read_text("utf-8") == page.html(FULL)
    write(EMPTY, folder)
    assert "0 of 0 labels sure enough" in text.read_text("utf-8")


@pytest.mark.parametrize("figures", [FULL, EMPTY, replace(FULL, certificate=None, no_certificate="No audit yet.")])
def test_page_is_whole_and_reaches_for_nothing(figures: Figures) -> None:
    text = page.html(figures)
    found = outline(text)
    assert len(found.ids) == len(set(found.ids))
    assert all(r.startswith("#") and r[1:] in found.ids for r in found.refs), found.refs
    for word in ("http:", "https:", "//www", "@import", "<script", "<img", "<link", "xlink:"):
        assert word not in text
    assert {re.sub(r"[\"']", "", u) for u in re.findall(r"url\(([^)]*)\)", text)} <= {f"#{i}" for i in found.ids}
    assert {"header", "main", "footer", "h1"} <= set(found.tags)
    assert found.tags.count("h1") == 1
    assert found.tags.count("table") == found.tags.count("caption") > 0
    assert 'lang="en"' in text and "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_plots_tell_their_content_and_take_the_page_colours() -> None:
    text = page.html(FULL)
    assert text.count("<svg") == text.count("</svg>") == text.count('role="img"') == 5
    assert text.count("<desc") >= 5 and "99 of 120" in text
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}", drawn)) <= {"#000000"} and "var(--main)" in drawn


def test_page_is_the_same_each_time() -> None:
    assert page.html(FULL) == page.html(FULL)


def test_certificate_is_quoted_with_its_bounds() -> None:
    for text in (page.html(FULL), page.markdown(FULL)):
        assert "at most 499 differ" in text and "21" in text and "look 2" in text
        assert "used for checking only" in text
    bare = replace(FULL, certificate=None, no_certificate="Too few audit answers: 12 of 40.")
    assert "Too few audit answers: 12 of 40." in page.html(bare)


NASTY = "<script>alert('x')</script>"


def test_label_names_are_data_not_markup() -> None:
    labels = {NASTY: "", "a|b": "", "$x_1$": "", "多い\u202e": "", "&amp;": "", "{{ f }}": "", "`*_": ""}
    names = list(labels)
    figures = replace(
        FULL,
        name=NASTY,
        question=NASTY,
        labels=labels,
        sources=(Source(NASTY, "llm", 7, dict.fromkeys(names, 1)),),
        confusion=(confusion([(a, b) for a in names for b in names], names, atom=NASTY),) * 2,
        agreement=(Agreement(NASTY, Share(3, 4), 0.2),),
        set_aside={NASTY: 2},
        spent=(Spent(NASTY, 1, served_model=NASTY),),
        stopped=NASTY,
        next_steps=(NASTY,),
        warnings=(NASTY,),
        files={NASTY: NASTY},
        people=replace(FULL.people, said=NASTY),
        gold=(Check(NASTY, Share(1, 2)),),
        no_certificate=NASTY,
    )
    for each in (figures, replace(figures, certificate=None)):
        text = page.html(each)
        found = outline(text)
        assert "script" not in found.tags and "<script" not in text
        assert NASTY in "".join(found.words) and "{{ f }}" in "".join(found.words)
        assert "<script" not in page.markdown(each)


def test_markdown_tables_are_tables() -> None:
    labels = ["a|b", "c\nd", "e"]
    figures = replace(
        FULL, labels=dict.fromkeys(labels, ""), confusion=(confusion([("a|b", "e")], labels),),
        sources=(Source("s|t", "student", 3, dict.fromkeys(labels, 1)),))  # fmt: skip
    text = page.markdown(figures)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) >= 8
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table
        assert re.fullmatch(r"[|\-: ]+", table.splitlines()[1]), table


def test_many_labels_are_told_by_their_commonest_mix_ups() -> None:
    names = [f"intent {i}" for i in range(77)]
    table = confusion(
        [("intent 3", "intent 5")] * 4 + [("intent 1", "intent 2")] + [("intent 9", "intent 9")] * 50, names
    )
    assert page.mixed(table) == [("intent 3", "intent 5", 4), ("intent 1", "intent 2", 1)]
    figures = replace(FULL, labels=dict.fromkeys(names, ""), confusion=(table,))
    text = page.html(figures)
    outline(text)
    assert "The commonest mix-ups" in text and text.count("<svg") == 4
    assert "intent 3 | intent 5 | 4" in page.markdown(figures)


def test_json_carries_every_figure_and_its_interval() -> None:
    plain = json.loads(json.dumps(to_json(FULL)))
    assert plain["format"] == 1 and plain["accepted"] == 2958
    assert plain["agreement"][0]["share"]["low"] == pytest.approx(wilson(99, 120)[0])
    assert plain["certificate"]["wrong_at_most"] == 499
    assert json.loads(json.dumps(to_json(EMPTY)))["certificate"] is None


def test_what_went_over_the_network_is_told_with_its_limits() -> None:
    assert words.network(FULL) == (
        "Over the network: 2,820 of 10,000 requests, 1,399,591 tokens. "
        "Put by for calls under way: $0.0123, 3 requests and 5,400 tokens."
    )
    assert words.network(EMPTY) == ""


@pytest.mark.parametrize("draw", [page.html, page.markdown])
def test_estimates_stand_apart_from_the_claim_with_their_intervals(draw: Any) -> None:
    text = " ".join(" ".join(outline(draw(replace(FULL, estimated=ESTIMATED))).words).split()).replace("\u00a0", " ")
    text = text.replace("\\", "")
    assert "About 93.2 % of all 3,000 labels agree with your people (95 % interval 90.1–95.2 %)" in text
    assert "estimated from 180 random answers, as sharp as 231 would be without the machines' predictions" in text
    assert "only the certificate is a promise" in text and "7.0–12.0 %" in text
    assert "Estimates" not in draw(FULL)


def test_an_estimate_that_predictions_did_not_sharpen_says_nothing_of_them() -> None:
    told = words.estimate(replace(FULL, estimated=replace(ESTIMATED, worth=180.2)))
    assert "180 random answers. This" in told and words.estimate(FULL) == ""


def test_what_else_is_certified_is_told_in_the_certificates_own_words() -> None:
    classes = (
        {
            "class": "Barrier",
            "certified": True,
            "wrong_at_most": 4,
            "labels": 90,
            "audited": 60,
            "wrong": 0,
            "missing": 0,
        },
    )
    human = {"doubled": 40, "differ": 2, "at_most": 0.21, "risk": 0.01}
    some = replace(FULL, certificate=replace(CERTIFICATE, accepted=PART, classes=classes, human=human))
    told = words.further(some)
    assert told[0].startswith("At least 85 % of these 2,100 labels are") and "858 are left open" in told[0]
    assert any(line.startswith("Barrier: 85 % certified") for line in told) and "they differ on 2" in told[-1]
    for draw in (page.html, page.markdown):
        text = " ".join("".join(outline(draw(some)).words).split())
        assert "858 are left open" in text and "they differ on 2" in text and "Barrier: 85 % certified" in text
    assert words.further(FULL) == [] == words.further(EMPTY)


def test_json_has_the_estimates() -> None:
    body = to_json(replace(FULL, estimated=ESTIMATED))["estimated"]
    assert body["accuracy"] == {"value": 0.93219, "low": 0.90111, "high": 0.95123} and body["worth"] == 231.7
