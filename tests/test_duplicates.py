"""Which texts say the same: what is grouped, what never is, and that groups do not drift."""

from __future__ import annotations

import pytest

from agent import duplicates

SENTENCE = "please tell me when the new card that i ordered last week will arrive at my home address in the city"


def group(*texts: str, similarity: float = duplicates.SIMILARITY) -> list[int]:
    rows: list[int] = duplicates.group(texts, similarity=similarity).tolist()
    return rows


@pytest.mark.parametrize(
    "other",
    [
        "Where is my card",
        "  where is  my\tcard?! ",
        "WHERE IS MY CARD...",
        "“Where, is my card”",
        "Ｗｈｅｒｅ is my card",
        "where\u200b is my\xa0card",
    ],
)
def test_case_width_space_and_punctuation_do_not_tell_texts_apart(other: str) -> None:
    assert group("where is my card", "something else", other) == [0, 1, 0]
