"""`tutelage certify FILE --left people`: says how far the walk has come and what people label next. Tests nothing."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from agent.cli.finished import frozen, stream_lines, waiting
from agent.cli.house import DONE, UNCERTIFIED, WAITING, Common, many, span

if TYPE_CHECKING:
    from agent.claim.finished import Along


def show(common: Common, file: str, standing: Along) -> int:
    """Tell it; the exit code: 0 certified, 4 people are waited for, 5 all was asked and the target is not met."""
    from agent.claim import lines, plain

    made, body, folder = standing.certificate, standing.committed.body, standing.folder
    decided = standing.decided
    expected = {} if decided or standing.heard else _expected(standing)
    code = DONE if standing.proved else UNCERTIFIED if standing.over else WAITING
    steps = [f"tutelage review -c {shlex.quote(f'{folder}/tutelage.toml')}", f"tutelage certify {shlex.quote(file)}"]
    steps = steps if code == WAITING else []
    words = lines(made) if decided else _so_far(standing)
    drift = made.extra.get("drift", {})
    told: dict[str, Any] = {
        "file": file,
        "folder": folder,
        "certificate": plain(made) if decided else None,
        "path": f"{folder}/certificate.json" if decided else None,
        "labels": standing.labels_file if decided else None,
        "met": made.met,
        "claim": words[0],
        "walk": dict(made.accepted),
        "answered": standing.heard,
        "wrong": made.wrong,
        "not_told": made.missing,
        "open": standing.open,
        "minutes_left": round(len(standing.rest) * standing.seconds / 60, 1) if decided else None,
        "seconds_each": standing.seconds,
        "block": body["block"],
        "drift": drift or None,
        "wrong_at_most": made.wrong_at_most,
        "allowed": body["allowed"],
        "commitment": dict(body),
        "expected": {name: list(pair) for name, pair in expected.items()},
        "corrections": {str(row + 1): value for row, value in sorted(standing.corrections.items())},
        "next": steps,
    }
    out = [*words, *stream_lines(drift, int(body["block"])), *_table(standing, expected)]
    out += [*_rest(standing), *(waiting(standing, steps) if steps else [])]
    files = [str(told["labels"]), str(told["path"])] if decided else []
    common.show(told, "\n".join([*out, *files]))
    return code


def _so_far(standing: Along) -> list[str]:
    body, walked, made = standing.committed.body, standing.certificate.accepted, standing.certificate
    if not standing.heard:
        promised = (
            f"the order, surest first, the coins (seed {body['seed']}) and shares of the walk, the target of "
            f"{100 * body['target']:.4g} %, the risk of {100 * body['delta']:.4g} %"
        )
        bears = f"{body['allowed']:,} labels may stay wrong, of them {body['spare']:,} kept for rows nobody labels"
        return [frozen(body), f"Committed, look {body['look']}: {promised}; {bears}."]
    missing = f" ({made.missing:,} because nobody could tell)" if made.missing else ""
    found = f"{walked['errors_found']:,} wrong{missing} of the {walked['errors_it_may_find']:,} it may find"
    place = f"place {walked['stands']:,} of {made.items:,}"
    left = f"Left here, people would label {walked['left_open']:,}"
    return [f"The walk goes on: {many(standing.heard, 'answer')}; it has come to {place} and found {found}. {left}."]


def _expected(standing: Along) -> dict[str, tuple[int, int]]:
    from agent.claim.finished import Paced, forecast_walk

    return forecast_walk(standing.committed) if isinstance(standing.committed, Paced) else {}


def _table(standing: Along, expected: dict[str, tuple[int, int]]) -> list[str]:
    if not expected:
        return []
    rows = len(standing.committed.order)
    head = (
        f"People's answers in all, of {rows:,} (half of the times fewer / 9 times in 10 fewer), if so many are wrong:"
    )
    each = f"at {standing.seconds:g} s each"
    return [
        head,
        *(f"  {name}: {a:,} / {b:,} ({span(a * standing.seconds)} {each})" for name, (a, b) in expected.items()),
    ]


def _rest(standing: Along) -> list[str]:
    if not standing.decided or standing.proved or standing.over:
        return []
    left = len(standing.rest)
    return [f"People label the rest: {many(left, 'row')}, about {span(left * standing.seconds)}."]
