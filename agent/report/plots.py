"""Plots of a report as inline SVG: matplotlib draws, the page's CSS colours. Knows numbers and label names only.

The SVG takes its colours from CSS variables (light and dark follow the page), keeps its text as text, scales with its
column, names itself for screen readers, and holds no address of anything outside itself.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agent.report.figures import Agreement, Bin, Confusion, Point, Share, Source
from agent.report.lessons import Ahead

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

INK, SOFT, LINE, MAIN, SECOND, FILL, THIRD = (
    "#010101",
    "#020202",
    "#030303",
    "#040404",
    "#050505",
    "#060606",
    "#070707",
)
"""Colours no plot uses for itself: each stands for a CSS variable of the page."""

_CSS = {
    INK: "--ink",
    SOFT: "--soft",
    LINE: "--line",
    MAIN: "--main",
    SECOND: "--second",
    FILL: "--fill",
    THIRD: "--third",
}
_STYLE: dict[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tutelage",
    "text.parse_math": False,
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "axes.labelsize": 9,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
}
WIDTH = 4.3
"""Inches. Also the narrowest column that shows 9-point text at its size; phones shrink it a little."""
MOST_LABELS = 20
"""A confusion of more labels than this is told by its table only."""


def curve(points: Sequence[Point], ahead: Sequence[Ahead] = ()) -> str:
    """Student against people by number of answers, with Wilson's interval; expected accuracy beside it, dashed; where
    the curve is heading, dotted."""

    def draw(ax: Axes) -> None:
        known = [(p.answers, p.student) for p in points if p.student is not None and p.student.of]
        if known:
            x = [a for a, _ in known]
            if len(known) == 1:  # a band needs two points
                low, high = known[0][1].interval
                ax.vlines(x, 100 * low, 100 * high, color=MAIN, alpha=0.3, linewidth=4)
            ax.fill_between(
                x,
                [100 * s.interval[0] for _, s in known],
                [100 * s.interval[1] for _, s in known],
                color=MAIN,
                alpha=0.16,
                linewidth=0,
            )
            ax.plot(
                x,
                [100 * s.rate for _, s in known],
                color=MAIN,
                marker="o",
                markersize=4,
                linewidth=1.8,
                label="student agrees with people",
            )
        hoped = [(p.answers, 100 * p.expected) for p in points if p.expected is not None]
        if hoped:
            ax.plot(
                *zip(*hoped, strict=True),
                color=SECOND,
                marker="d" if len(hoped) == 1 else None,
                linestyle=(0, (4, 3)),
                linewidth=1.5,
                label="expected by its own confidence",
            )
        if known and ahead:
            last, now = known[-1][0], known[-1][1].rate
            further = [Ahead(last, now, now, now), *ahead]
            reach, bottom, up = (
                [a.answers for a in further],
                [100 * a.low for a in further],
                [100 * a.high for a in further],
            )
            ax.fill_between(reach, bottom, up, color=THIRD, alpha=0.12, linewidth=0)
            rates = [100 * a.rate for a in further]
            ax.plot(reach, rates, color=THIRD, linestyle=":", linewidth=1.8, label="forecast")
        ax.set_xlabel("answers so far")
        ax.set_ylabel("%")
        ax.legend(loc="lower right")

    told = "; ".join(f"turn {p.turn}, {p.answers} answers: {_said(p.student)}" for p in points if p.student is not None)
    told += "".join(f"; forecast at {a.answers} answers: {100 * a.rate:.0f} %" for a in ahead)
    return _svg("curve", "Learning curve", told or "no turn has been measured", draw)


def reliability(cells: Sequence[Bin]) -> str:
    """Share people agreed with against stated confidence, a dot a bin with Wilson's interval; counts along the foot."""

    def draw(ax: Axes) -> None:
        x = [100 * b.confidence for b in cells]
        shares = [Share(b.right, b.n) for b in cells]
        left = min(90.0, 100 * min((b.low for b in cells), default=0.9))
        lowest = min([left, *(100 * s.interval[0] for s in shares)])
        height = 0.16 * (100 - lowest)
        floor = max(-height, lowest - 1.3 * height)  # room for the counts below the lowest interval
        ax.plot([left, 100], [left, 100], color=SOFT, linewidth=1, linestyle=(0, (2, 3)))
        ax.vlines(
            x,
            [100 * s.interval[0] for s in shares],
            [100 * s.interval[1] for s in shares],
            color=MAIN,
            alpha=0.45,
            linewidth=3.5,
        )
        ax.plot(x, [100 * s.rate for s in shares], "o", color=MAIN, markersize=5.5)
        most = max((b.n for b in cells), default=1)
        middle = [50 * (b.low + b.high) for b in cells]
        ax.bar(
            middle,
            [height * b.n / most for b in cells],
            bottom=floor,
            color=FILL,
            width=[90 * (b.high - b.low) for b in cells],
        )
        for at, b in zip(middle, cells, strict=True):
            ax.text(at, floor + height * b.n / most, f"{b.n:,}", ha="center", va="bottom", fontsize=8, color=SOFT)
        ax.set_yticks([t for t in ax.get_yticks() if 0 <= t <= 100])
        ax.set_ylim(floor, 101)
        ax.set_xlim(left, 101)
        ax.set_xlabel("confidence stated, %")
        ax.set_ylabel("people agreed, %")

    told = "; ".join(
        f"confidence {100 * b.confidence:.0f} %: people agreed with {_said(Share(b.right, b.n))}" for b in cells
    )
    return _svg("reliability", "Does stated confidence hold?", told, draw)


def agreement(rows: Sequence[Agreement]) -> str:
    """Each annotator's agreement with people on the pilot, with Wilson's interval; a tick where chance would be."""

    def draw(ax: Axes) -> None:
        for y, row in enumerate(reversed(rows)):
            low, high = row.share.interval
            ax.hlines(y, 100 * low, 100 * high, color=MAIN, alpha=0.45, linewidth=4)
            ax.plot(
                100 * row.share.rate,
                y,
                "o",
                color=MAIN,
                markersize=6,
                label="agrees with people, 95 % interval" if y == 0 else None,
            )
            ax.plot(
                [100 * row.chance] * 2,
                [y - 0.25, y + 0.25],
                color=SECOND,
                linewidth=1.8,
                label="chance" if y == 0 else None,
            )
        ax.set_yticks(range(len(rows)), [_short(r.annotator) for r in reversed(rows)])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.set_xlim(0, 101)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("%")
        ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2)

    told = "; ".join(f"{r.annotator}: {_said(r.share)}, chance {100 * r.chance:.0f} %" for r in rows)
    return _svg("agreement", "Annotators against people", told, draw, 1.25 + 0.38 * len(rows))


def sources(rows: Sequence[Source]) -> str:
    """Delivered items by who settled them: one bar in three colours, in items."""

    def draw(ax: Axes) -> None:
        colours = {"student": MAIN, "llm": THIRD, "person": SECOND}
        seen: set[str] = set()
        for y, row in enumerate(reversed(rows)):
            name = {"student": "student", "llm": "LLM", "person": "people"}[row.sort]
            ax.barh(y, row.items, color=colours[row.sort], height=0.62, label=None if name in seen else name)
            seen.add(name)
            ax.annotate(f"{row.items:,}", (row.items, y), (4, 0), textcoords="offset points", va="center", color=INK)
        ax.set_yticks(range(len(rows)), [_short(r.annotator) for r in reversed(rows)])
        ax.grid(axis="y", visible=False)
        ax.set_xlim(0, 1.14 * max((r.items for r in rows), default=1) or 1)
        ax.locator_params(axis="x", nbins=5)
        ax.set_xlabel("items")

    return _svg(
        "sources",
        "Who settled the items",
        "; ".join(f"{r.annotator}: {r.items:,}" for r in rows),
        draw,
        1.0 + 0.38 * len(rows),
    )


def confusion(table: Confusion, number: int = 0) -> str:
    """What people said (rows) against what was delivered (columns), darker for more; empty above `MOST_LABELS`."""
    size = len(table.labels)
    if not size or size > MOST_LABELS:
        return ""

    def draw(ax: Axes) -> None:
        for i, row in enumerate(table.counts):
            for j, n in enumerate(row):
                if not n:
                    continue
                share = n / sum(row)
                ax.add_patch(_cell(j, i, MAIN if i == j else SECOND, 0.1 + 0.62 * share))
                if size <= 12:
                    ax.text(j + 0.5, i + 0.5, f"{n:,}", ha="center", va="center", fontsize=8.5, color=INK)
        names = [_short(label) for label in table.labels]
        ax.set_xticks(
            [j + 0.5 for j in range(size)],
            names,
            rotation=0 if size <= 3 else 40 if size <= 6 else 90,
            ha="center" if size <= 3 else "right",
            rotation_mode="anchor",
        )
        ax.set_yticks([i + 0.5 for i in range(size)], names)
        ax.set_xlim(0, size)
        ax.set_ylim(size, 0)
        ax.grid(visible=False)
        ax.set_xlabel("delivered")
        ax.set_ylabel("people said")

    agree = sum(table.counts[i][i] for i in range(size))
    told = f"{agree} of {sum(map(sum, table.counts))} as people said; the table below has every count"
    return _svg(f"confusion{number}", "What people said, what was delivered", told, draw, 1.5 + 0.3 * max(size, 4))


def _cell(x: int, y: int, colour: str, alpha: float) -> Patch:
    from matplotlib.patches import Rectangle

    return Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, facecolor=colour, alpha=alpha, linewidth=0)


def _short(name: str, most: int = 18) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _said(share: Share | None) -> str:
    if share is None:
        return "not measured"
    low, high = share.interval
    return f"{share.right} of {share.of} ({100 * low:.0f} to {100 * high:.0f} %)"


def _svg(name: str, title: str, told: str, draw: Callable[[Axes], None], height: float = 3.1) -> str:
    """Draw on fresh axes and give the SVG element, ready to stand inside HTML."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser has the glyphs matplotlib's font lacks
        canvas = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(canvas.add_subplot())
        out = io.StringIO()
        canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(out.getvalue(), name, title, told)


def _inline(svg: str, name: str, title: str, told: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', svg).replace("url(#", f"url(#{name}-")
    for colour, variable in _CSS.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font: \1px var(--sans)", svg)
    box = re.search(r'viewBox="[^"]+"', svg)
    head = (
        f'<svg {box.group() if box else ""} role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{html.escape(title)}</title><desc id="{name}-desc">{html.escape(told)}</desc>'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: head, svg, count=1)
