"""The report as a page: one HTML file and one Markdown file from `Figures`. Knows the templates, and no ledger."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.report import plots, words
from agent.report.figures import Confusion, Figures, ece

TEMPLATES = Path(__file__).parent / "templates"
MOST_MIXED = 15
"""How many mix-ups are listed of a task with more labels than a confusion table can show."""


def write(figures: Figures, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write `report.html` (one file, nothing loaded from outside) and `report.md` (tables only) into `folder`.

    Each is written beside its place and moved there, so that a reader never meets half a page.

    Returns: the two paths, HTML first.
    Raises:
        OSError: the folder cannot be written.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    return _put(place / "report.html", html(figures)), _put(place / "report.md", markdown(figures))


def html(figures: Figures) -> str:
    """The page as text. Label names, questions and messages are escaped: they are data, never markup."""
    drawn = {
        "curve": plots.curve(figures.curve, figures.ahead) if figures.curve else "",
        "reliability": plots.reliability(figures.reliability) if figures.reliability else "",
        "agreement": plots.agreement(figures.agreement) if figures.agreement else "",
        "sources": plots.sources(figures.sources) if figures.sources else "",
        "confusion": [plots.confusion(c, i) for i, c in enumerate(figures.confusion)],
    }
    text: str = _templates(html=True).get_template("report.html.j2").render(**_names(figures), plots=drawn)
    return text


def markdown(figures: Figures) -> str:
    """The same report as Markdown, plots told by their tables."""
    text: str = _templates(html=False).get_template("report.md.j2").render(**_names(figures))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def mixed(table: Confusion) -> list[tuple[str, str, int]]:
    """The commonest mix-ups: (people said, delivered, items), most first."""
    found = [
        (table.labels[i], table.labels[j], n)
        for i, row in enumerate(table.counts)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(found, key=lambda m: (-m[2], m[0], m[1]))[:MOST_MIXED]


def cell(text: object) -> str:
    """Text for one Markdown table cell or line: no markup of any kind survives, no line break either."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", line)


def _names(figures: Figures) -> dict[str, Any]:
    """What the templates may say."""
    kinds = sorted({label for s in figures.sources for label in s.labels} | set(figures.labels))
    labels = [*figures.labels, *(k for k in kinds if k not in figures.labels)]
    return {
        "f": figures,
        "w": words,
        "labels": labels,
        "wide": len(labels) > 8,
        "mixed": mixed,
        "ece": ece(figures.reliability),
        "checked": sum(b.n for b in figures.reliability),
        "totals": {label: sum(s.labels.get(label, 0) for s in figures.sources) for label in labels},
        "tables": len(figures.confusion),
        "most_labels": plots.MOST_LABELS,
    }


def _templates(html: bool) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    room = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    room.filters["cell"] = cell
    return room


def _put(path: Path, text: str) -> Path:
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
    return path


__all__: Sequence[str] = ("cell", "html", "markdown", "mixed", "write")
