"""Learning curves as a picture: a panel a student, a line a strategy, bands over seeds. Knows numbers and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.bench.curves import Summary
from agent.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, LINE, GREY = "#1c2330", "#5b6575", "#e4e7ec", "#8b94a3"
COLOURS = (
    "#d1495b", "#2e6fbb", "#e0902f", "#2a9d6f", "#8057b3", "#00848c", "#b0578d", "#7a6a2f", "#4f5d75", "#c26a3d",
)  # fmt: skip
FIRST, YARDSTICK = "auto", "random"
STYLE = {
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
APART = 0.052
"""Share of the height that two names at the right must be apart."""


def draw(
    file: Path, title: str, told: str, students: Mapping[str, Sequence[Summary]], full: Mapping[str, float]
) -> str:
    """Write a PNG and give its words for those who cannot see it.

    students: the summaries of each student's strategies. full: each one's accuracy when taught all labels. told: a
    line under the title. Bands are one standard deviation over seeds to each side.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "local", "the picture of the curves") from error

    with rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 6.6 * len(students), 4.9), dpi=160, facecolor="white", layout="constrained")
        axes = figure.subplots(1, len(students), sharey=True, squeeze=False)[0]
        for ax, (student, found) in zip(axes, students.items(), strict=True):
            _panel(ax, student if len(students) > 1 else "", found, full[student])
        axes[0].set_ylabel("accuracy on rows never asked about, %")
        figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
        axes[0].annotate(
            told, (0, 1), (0, 24 if len(students) > 1 else 12), xycoords="axes fraction",
            textcoords="offset points", color=SOFT, annotation_clip=False,
        )  # fmt: skip
        figure.savefig(file, format="png", metadata={"Description": told})
    return words(title, students, full)


def words(title: str, students: Mapping[str, Sequence[Summary]], full: Mapping[str, float]) -> str:
    """What the picture shows, in a sentence a student."""
    out = [f"{title}."]
    for student, found in students.items():
        ends = "; ".join(
            f"{s.strategy} from {100 * s.start[0]:.1f} to {100 * s.end[0]:.1f} % at {int(s.labels[-1]):,}"
            for s in sorted(found, key=lambda s: -s.mean[0])
        )
        out.append(f"{student}: {ends}; all labels {100 * full[student]:.1f} %.")
    return " ".join(out)


def _panel(ax: Axes, name: str, found: Sequence[Summary], full: float) -> None:
    ends: list[tuple[float, str, str]] = []
    colours = iter(COLOURS[1:] * (1 + len(found) // len(COLOURS)))
    for one in sorted(found, key=lambda s: (s.strategy == FIRST, s.strategy != YARDSTICK)):
        first, yard = one.strategy == FIRST, one.strategy == YARDSTICK
        colour = COLOURS[0] if first else GREY if yard else next(colours)
        mean, spread = 100 * one.accuracy, 100 * one.spread
        ax.fill_between(one.labels, mean - spread, mean + spread, color=colour, alpha=0.14, linewidth=0)
        style: Any = (0, (4, 2)) if yard else "-"
        ax.plot(one.labels, mean, color=colour, linewidth=2.6 if first else 1.5, linestyle=style)
        ends.append((float(mean[-1]), one.strategy, colour))
    ax.axhline(100 * full, color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
    right = float(max(one.labels[-1] for one in found))
    ax.set_xlim(0, right)
    top, bottom = _room(found, full)
    ax.set_ylim(bottom, top)
    ax.annotate(
        f"taught all labels: {100 * full:.1f}",
        (0, 100 * full),
        (4, 3),
        textcoords="offset points",
        color=SOFT,
        fontsize=8.5,
    )
    for place, (end, strategy, colour) in zip(_apart([e[0] for e in ends], APART * (top - bottom)), ends, strict=True):
        ax.annotate(
            f"{strategy} {end:.1f}",
            (right, place),
            (6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold" if strategy == FIRST else "normal",
            fontsize=9,
            annotation_clip=False,
        )
    ax.set_xlabel("labels asked for")
    if name:
        ax.set_title(name, loc="left", fontsize=10.5, color=INK)


def _room(found: Sequence[Summary], full: float) -> tuple[float, float]:
    """The top and the bottom of a panel, in per cent: what is far below all ends at the start is cut off."""
    low = 100 * min(float((one.accuracy - one.spread).min()) for one in found)
    high = 100 * max(full, *(float((one.accuracy + one.spread).max()) for one in found))
    high = min(high + 0.05 * (high - low) + 0.5, 100.5)
    return high, max(low - 0.03 * (high - low), 0.0)


def _apart(wanted: Sequence[float], least: float) -> list[float]:
    """Places as near as can be to those wanted and `least` apart: pools of neighbours share a centre."""
    order = np.argsort(wanted, kind="stable")
    groups: list[list[float]] = []  # [centre, members]
    for place in (wanted[i] for i in order):
        groups.append([place, 1])
        while len(groups) > 1:
            (below, many), (above, few) = groups[-2:]
            if above - below >= least * (many + few) / 2:
                break
            groups[-2:] = [[(below * many + above * few) / (many + few), many + few]]
    flat = [centre + least * (i - (count - 1) / 2) for centre, count in groups for i in range(int(count))]
    out = [0.0] * len(wanted)
    for at, i in enumerate(order):
        out[int(i)] = flat[at]
    return out
