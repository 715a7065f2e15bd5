"""Texts to sparse rows: tf-idf of words and of letters. Knows no labels.

Shared by `tfidf` and, where there is no encoder, `linear`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agent.errors import DataError
from agent.students import _student

FIT_ON = 20_000
"""Texts at most that the vocabulary is taken from, evenly spaced."""
LETTERS_OF = 2_000
"""Only the first so many characters of a text are cut into letters."""
SHAPES: dict[str, dict[str, Any]] = {
    "words": {"analyzer": "word", "ngram_range": (1, 2), "max_features": 30_000, "token_pattern": r"(?u)\b\w+\b"},
    "letters": {"analyzer": "char_wb", "ngram_range": (3, 5), "max_features": 40_000},
}


class Words:
    """Words and pairs of words, letters by three to five; rows of length one, float32 CSR.

    The vocabulary is taken from the texts of the first call (the pool) and kept.
    """

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def rows(self, texts: Sequence[str], progress: _student.Progress | None = None) -> Any:
        """(n, d) CSR; `progress` is told at the end only."""
        from scipy.sparse import csr_array, hstack

        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        cut = {"words": clean, "letters": [text[:LETTERS_OF] for text in clean]}
        if not self._found:
            self._found = {shape: _learn(shape, cut[shape]) for shape in SHAPES}
        if not clean:
            return csr_array((0, sum(len(v.vocabulary_) for v in self._found.values())), dtype=np.float32)
        parts = [self._found[shape].transform(cut[shape]) * np.float32(0.5**0.5) for shape in SHAPES]
        if progress:
            progress(len(clean), len(clean))
        return csr_array(hstack(parts, format="csr", dtype=np.float32))

    def card(self) -> dict[str, Any]:
        return {"inputs": {shape: len(v.vocabulary_) for shape, v in self._found.items()}}

    def arrays(self) -> dict[str, Any]:
        """Terms as UTF-8 lines in a byte array, and their idf."""
        out: dict[str, Any] = {}
        for shape, vectorizer in self._found.items():
            terms = "\n".join(vectorizer.get_feature_names_out())
            out[f"{shape}.terms"] = np.frombuffer(terms.encode(), dtype=np.uint8)
            out[f"{shape}.idf"] = np.asarray(vectorizer.idf_, dtype=np.float32)
        return out

    def restore(self, card: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        if "encoder" in card:
            raise DataError(
                f"the saved student was trained on the encoder {card['encoder']['name']}; install it, or train anew"
            )
        self._found = {}
        for shape in SHAPES:
            if f"{shape}.terms" in arrays:
                terms = bytes(arrays[f"{shape}.terms"]).decode().split("\n")
                vectorizer = _vectorizer(shape, vocabulary=terms)
                vectorizer.idf_ = np.asarray(arrays[f"{shape}.idf"], dtype=np.float32)
                self._found[shape] = vectorizer


def _vectorizer(shape: str, vocabulary: list[str] | None = None, min_df: int = 1) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(**SHAPES[shape], vocabulary=vocabulary, min_df=min_df, sublinear_tf=True, dtype=np.float32)


def _learn(shape: str, texts: Sequence[str]) -> Any:
    step = max(1, -(-len(texts) // FIT_ON))
    some = texts[::step]
    try:
        return _vectorizer(shape, min_df=2 if len(some) > 1_000 else 1).fit(some)
    except ValueError:  # not one word in all the texts
        return _vectorizer(shape).fit([*some, "text"])
