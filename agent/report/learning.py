"""How the student learned by turns, and where its curve is heading. Reads what was noted; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent import curve
from agent.report import figures as f
from agent.report.lessons import Ahead, Moves, Strategy

AHEAD = (1.25, 1.5, 2.0)
"""How far the forecast looks, in answers so far: beyond twice as many a curve says little."""


FEWER = 0.9
"""Where a turn has less than this share of the answers before it, a prompt, a label or a guideline has changed."""


def points(outcomes: Sequence[Mapping[str, Any]]) -> tuple[f.Point, ...]:
    """The curve since the questions were last changed, a point a turn: the newest note of each. Answers to other
    questions do not count any more, so that a curve with them would run backwards."""
    out: dict[int, f.Point] = {}
    for o in outcomes:
        if "answers" not in o:
            continue
        student = o.get("agreement", {}).get("student")
        out[int(o["turn"])] = f.Point(
            turn=int(o["turn"]),
            answers=sum(o["answers"].values()) + int(o.get("people", 0)),
            student=f.Share(*student) if student and student[1] else None,
            expected=o.get("expected_accuracy"),
        )
    known = list(out.values())
    falls = (k for k in range(len(known) - 1, 0, -1) if known[k].answers < FEWER * known[k - 1].answers)
    return tuple(known[next(falls, 0) :])


def ahead(known: Sequence[f.Point]) -> tuple[Ahead, ...]:
    """What more answers are expected to bring; nothing where the curve is too short to say.

    Only points on as many pilot items as the last one count: with other items the level differs too.
    """
    told = [(p.answers, p.student) for p in known if p.student is not None]
    if not told:
        return ()
    of = told[-1][1].of
    same = [(answers, 1 - share.rate) for answers, share in told if share.of == of]
    now = same[-1][0]
    at = [round(now * times) for times in AHEAD]
    found = curve.forecast([n for n, _ in same], [wrong for _, wrong in same], of, at)
    if found is None:
        return ()
    rows = zip(at, found.rate, found.low, found.high, strict=True)
    return tuple(Ahead(n, float(1 - r), float(1 - high), float(1 - low)) for n, r, low, high in rows)


def tried(outcomes: Sequence[Mapping[str, Any]]) -> tuple[Strategy, ...]:
    """What each strategy's batches were worth on items drawn at random, in the order of their first batch."""
    batches: dict[str, list[Mapping[str, Any]]] = {}
    for o in outcomes:
        if one := o.get("tried"):
            batches.setdefault(one["by"], []).append(one)
    out = []
    for by, all_of in batches.items():
        labels = sum(int(one["labels"]) for one in all_of)
        gain, variance = sum(one["gain"] for one in all_of), sum(one["error"] ** 2 for one in all_of)
        out.append(Strategy(by, len(all_of), labels, 100 * gain / labels, 100 * variance**0.5 / labels))
    return tuple(out)


def moves(outcomes: Sequence[Mapping[str, Any]]) -> Moves | None:
    """What the answers of the last turn changed; None before two turns."""
    last = next((o for o in reversed(outcomes) if "changed" in o), None)
    return None if last is None else Moves(int(last["changed"]), int(last["by_answers"]), float(last["stable"]))


def copies(outcomes: Sequence[Mapping[str, Any]]) -> int:
    """Items that took the answers of a near-duplicate."""
    return int(next((o["copies"] for o in reversed(outcomes) if "copies" in o), 0))
