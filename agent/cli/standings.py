"""What `tutelage eval` found, as a table for people, as JSON, and as files. Knows summaries of curves, no arrays."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.bench import Curve, Summary

SHARES = (0.9, 0.95)
"""Shares of the accuracy with all labels, for which the labels needed are told."""
YARDSTICK = "random"


@dataclass(frozen=True)
class Standing:
    """A student's strategies: their curves and summaries; its accuracy when taught all labels of the pool."""

    student: str
    full: float
    curves: tuple[Curve, ...]
    summaries: tuple[Summary, ...]

    def needed(self, one: Summary, share: float) -> float | None:
        """Labels at which a strategy reaches a share of the accuracy with all labels."""
        return one.needed(share * self.full)

    def of_random(self, one: Summary, share: float) -> float | None:
        """The same as a part of what random picks need; None where either does not get there."""
        yard = next((s for s in self.summaries if s.strategy == YARDSTICK), None)
        ours, theirs = self.needed(one, share), None if yard is None else self.needed(yard, share)
        return None if ours is None or not theirs else ours / theirs


def body(standings: Sequence[Standing]) -> dict[str, Any]:
    """All figures, for programs."""
    return {standing.student: {"full": standing.full, "strategies": _strategies(standing)} for standing in standings}


def _strategies(standing: Standing) -> dict[str, Any]:
    return {
        one.strategy: {
            "seeds": one.seeds,
            "no_label": one.start,
            "mean": one.mean,
            "end": one.end,
            "needed": {str(share): standing.needed(one, share) for share in SHARES},
            "needed_of_random": {str(share): standing.of_random(one, share) for share in SHARES},
            "right_answers": one.right if one.right == one.right else None,
            "cpu_seconds": one.seconds,
            "labels": one.labels.tolist(),
            "accuracy": one.accuracy.tolist(),
            "deviation": one.spread.tolist(),
        }
        for one in _ranked(standing)
    }


def _ranked(standing: Standing) -> list[Summary]:
    return sorted(standing.summaries, key=lambda one: -one.mean[0])


def table(standings: Sequence[Standing]) -> list[str]:
    """Lines for a terminal, best mean curve first within each student."""
    end = int(standings[0].summaries[0].labels[-1])
    wide = max(len(s.student) for s in standings) + 2
    name = max(len(one.strategy) for s in standings for one in s.summaries) + 2
    head = f"{'student':<{max(wide, 9)}}{'picks by':<{max(name, 10)}}{'no label':>9}{'mean curve':>14}"
    head += f"{f'at {end:,}':>14}" + "".join(f"{f'to {share:.0%} of full':>18}" for share in SHARES) + f"{'CPU s':>8}"
    lines = [head]
    for standing in standings:
        for one in _ranked(standing):
            line = f"{standing.student:<{max(wide, 9)}}{one.strategy:<{max(name, 10)}}{100 * one.start[0]:>8.1f}%"
            line += f"{_with_band(one.mean):>14}{_with_band(one.end):>14}"
            line += "".join(f"{_labels(standing, one, share):>18}" for share in SHARES)
            lines.append(line + f"{one.seconds:>8.1f}")
        lines.append(f"{standing.student:<{max(wide, 9)}}{'all labels':<{max(name, 10)}}{100 * standing.full:>37.1f}%")
    return lines


def _with_band(pair: tuple[float, float]) -> str:
    return f"{100 * pair[0]:.1f} ± {100 * pair[1]:.1f}%"


def _labels(standing: Standing, one: Summary, share: float) -> str:
    needed, part = standing.needed(one, share), standing.of_random(one, share)
    if needed is None:
        return f"over {int(one.labels[-1]):,}"
    return f"{needed:,.0f}" + (f" (× {part:.2f})" if part is not None and one.strategy != YARDSTICK else "")


def write(folder: Path, title: str, told: str, document: Mapping[str, Any], standings: Sequence[Standing]) -> str:
    """curves.png, curves.csv (a row a point) and eval.json; the picture's words.

    Raises:
        MissingExtra: matplotlib is not installed; the other files are there then.
    """
    from agent.bench import picture

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "eval.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    with (folder / "curves.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("student", "strategy", "seed", "labels", "accuracy"))
        for standing in standings:
            for curve in standing.curves:
                for labels, accuracy in zip(curve.labels.tolist(), curve.accuracy.tolist(), strict=True):
                    rows.writerow((standing.student, curve.strategy, curve.seed, labels, round(accuracy, 6)))
    students = {standing.student: standing.summaries for standing in standings}
    full = {standing.student: standing.full for standing in standings}
    return picture.draw(folder / "curves.png", title, told, students, full)
