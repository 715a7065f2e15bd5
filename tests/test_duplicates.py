"""Which texts say the same: what is grouped, what never is, and that groups do not drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import duplicates

SENTENCE = "please tell me when the new card that was ordered last week will arrive at the home address in the city"


def group(*texts: str, similarity: float = duplicates.SIMILARITY) -> list[int]:
    rows: list[int] = duplicates.group(texts, similarity=similarity).tolist()
    return rows


def pieces(text: str) -> set[int]:
    return set(duplicates.take_apart([text]).shingles.tolist())


def likeness(first: str, second: str) -> float:
    a, b = pieces(first), pieces(second)
    return len(a & b) / max(1, len(a | b))


@pytest.mark.parametrize(
    "other",
    [
        "Where is my card",
        "  where is  my\tcard?! ",
        "WHERE IS MY CARD...",
        "“Where, is my card”",
        "Ｗｈｅｒｅ is my card",
        "where\u200b is my\xa0card",
        "where’ is my card",
        "where is my\x00card",
    ],
)
def test_case_width_space_and_punctuation_do_not_tell_texts_apart(other: str) -> None:
    assert group("where is my card", "something else", other) == [0, 1, 0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SENTENCE, SENTENCE.replace("ordered", "orderd")),
        (SENTENCE, f"{SENTENCE} ok"),
        (SENTENCE, SENTENCE.replace("the city", "the town")),
        (f"{SENTENCE} on 5 May", f"{SENTENCE} on 5 may!"),
        ("孩子跟谁睡就是谁的孩子这句话说得真好大家都同意", "孩子跟谁睡就是谁的孩子这句话说得真好大家都同意了"),
    ],
)
def test_texts_that_differ_in_little_are_grouped(first: str, second: str) -> None:
    assert group(first, second) == [0, 0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"{SENTENCE} in 5 days", f"{SENTENCE} in 6 days"),
        (f"{SENTENCE} in 3.5 days", f"{SENTENCE} in 35 days"),
        (f"from 5 to 7 {SENTENCE}", f"from 7 to 5 {SENTENCE}"),
        (f"{SENTENCE} at -5 degrees", f"{SENTENCE} at 5 degrees"),
        (f"{SENTENCE} for $5", f"{SENTENCE} for €5"),
        (f"{SENTENCE} 5%", f"{SENTENCE} 5"),
        (f"{SENTENCE} i do like it", f"{SENTENCE} i do not like it"),
        (f"{SENTENCE} i can come", f"{SENTENCE} i can't come"),
        (f"{SENTENCE} with no fee", f"{SENTENCE} with one fee"),
        (f"{SENTENCE} :)", f"{SENTENCE} :("),
        (f"{SENTENCE} 👍", f"{SENTENCE} 👎"),
        ("我今天在这家店里吃的东西很好吃下次我还要再来", "我今天在这家店里吃的东西不好吃下次我还要再来"),
        ("cancel my card", "cancel my cards"),
        ("yes", "no"),
        ("great :)", "great :("),
        ("?", "!"),
    ],
)
def test_a_number_a_sign_or_a_negation_tells_texts_apart_and_so_does_anything_in_short_ones(
    first: str, second: str
) -> None:
    assert likeness(first, second) < 1 or first != second
    assert group(first, second, similarity=0.5) == [0, 1]


def test_an_empty_pool_and_texts_without_words() -> None:
    assert group() == []
    assert group("", " ", "…", "a", "\n", "…", "\0") == [0, 0, 2, 3, 0, 2, 6]
    assert group("\ud800 lone half", "\ud800 lone half") == [0, 0]


@pytest.mark.parametrize("similarity", [0.49, 0, -1, 1.01, float("nan")])
def test_a_similarity_out_of_range_is_refused(similarity: float) -> None:
    with pytest.raises(ValueError, match=r"0\.5 to 1"):
        duplicates.group(["a"], similarity=similarity)


def made(count: int, seed: int, words: int = 16, swaps: int = 3) -> list[str]:
    """Texts of a small vocabulary, many of them others with a few words swapped, dropped or put in."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array(["".join(rng.choice(list("abcdefghijklmnop"), 6)) for _ in range(300)])
    texts = [list(rng.choice(vocabulary, words)) for _ in range(count // 4)]
    while len(texts) < count:
        text = list(texts[rng.integers(len(texts))])
        for _ in range(rng.integers(swaps + 1)):
            place = rng.integers(len(text))
            text[place : place + rng.integers(2)] = list(rng.choice(vocabulary, rng.integers(3)))
        texts.append(text)
    return [" ".join(text) for text in texts]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), similarity=st.sampled_from([0.6, 0.7, 0.85, 0.95]), words=st.sampled_from([6, 16, 60]))
def test_every_member_is_like_the_first_of_its_group_itself(seed: int, similarity: float, words: int) -> None:
    texts = made(120, seed, words)
    rows = duplicates.group(texts, similarity=similarity)
    assert (rows <= np.arange(len(texts))).all() and (rows[rows] == rows).all()
    for row in np.flatnonzero(rows != np.arange(len(texts))):
        assert likeness(texts[row], texts[rows[row]]) >= similarity - 1e-6


@pytest.mark.parametrize(("words", "similarity"), [(6, 0.85), (16, 0.85), (60, 0.85), (16, 0.7)])
def test_hardly_a_pair_is_missed(words: int, similarity: float) -> None:
    """Against comparing everybody with everybody, in the same order; one in fifty may be missed."""
    texts = made(280, 1, words)
    sets = [pieces(text) for text in texts]
    lead = list(range(len(texts)))
    for row in range(len(texts)):
        for earlier in range(row):
            if lead[earlier] == earlier and len(sets[row] & sets[earlier]) >= similarity * len(
                sets[row] | sets[earlier]
            ):
                lead[row] = earlier
                break
    wanted = np.array(lead) != np.arange(len(lead))
    found = duplicates.group(texts, similarity=similarity) != np.arange(len(lead))
    assert wanted.sum() > 30 and (found & wanted).sum() >= 0.98 * wanted.sum()


def test_the_pieces_texts_are_looked_at_in_do_not_show() -> None:
    texts = made(300, 2)
    long = " ".join(made(duplicates.CHARACTERS // 500, 3))  # a text longer than a piece, twice
    many = [*texts, long, *(f"t{i}" for i in range(duplicates.ROWS)), long.upper(), *texts]
    rows = duplicates.group(many)
    alone = duplicates.group(texts)
    assert rows[:300].tolist() == alone.tolist() == rows[-300:].tolist()
    assert rows[-301] == 300 and (rows[301 : 301 + duplicates.ROWS] == np.arange(301, 301 + duplicates.ROWS)).all()


def test_very_many_alike_make_one_group() -> None:
    texts = [f"{SENTENCE} dear {''.join(chr(97 + i // 26**k % 26) for k in range(4))}" for i in range(1_000)]
    assert len(np.unique(duplicates.group(texts))) < 20
