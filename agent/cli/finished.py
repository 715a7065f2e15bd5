"""`tutelage certify FILE`: says where the audit of a finished file stands. The test itself is not known here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.cli.house import DONE, OUR_FAULT, UNCERTIFIED, WAITING, Common, many

if TYPE_CHECKING:
    from agent.claim.finished import Standing

LIKELY = (0.8, 0.6, 0.4)
"""Shares of what the target bears that may be wrong: for what it will take, before anything is known."""
MANY = 1_000_000
"""Odds beyond which their digits say nothing."""


@dataclass(frozen=True)
class Told:
    """What the command line says of a file."""

    file: str
    target: float | None
    delta: float | None
    test: str | None
    gold: str
    label: str | None
    text: tuple[str, ...]
    own: str | None
    confidence: str | None
    cluster: str | None
    audit: int | None
    question: str
    guidelines: str
    labels: str
    classes: tuple[str, ...]
    after: str
    now: bool
    again: bool
    left: str | None


def certified(common: Common, told: Told) -> int:
    """Freeze or go on; the exit code: 0 certified, 4 people are waited for, 5 not certified."""
    from agent.claim import finished, lines, plain
    from agent.data import Wanted

    seed = next((int(o.partition("=")[2]) for o in common.overrides if o.startswith("run.seed=")), None)
    sure = "" if told.confidence == "none" else told.confidence
    terms = finished.Terms(
        Wanted(told.text, told.label, sure, told.cluster, told.own),
        told.target, told.delta, told.test, seed, told.audit, told.question, told.guidelines,
        tuple(name.strip() for name in told.labels.split(",") if name.strip()), told.classes, told.after, told.left,
    )  # fmt: skip
    standing = finished.look(told.file, terms, told.gold, told.again, told.now)
    made, toml = standing.certificate, f"{standing.folder}/tutelage.toml"
    if isinstance(standing, finished.Along):
        from agent.cli import rest

        return rest.show(common, told.file, standing)
    decided = standing.decided
    more = made.met and standing.open and not standing.proved  # of classes that are not certified yet
    code = DONE if standing.proved else WAITING if more or not decided else UNCERTIFIED
    words = lines(made) if decided else so_far(standing)
    expected = {} if decided or standing.heard else _expected(standing)
    steps = (
        []
        if decided and not more
        else [f"tutelage review -c {shlex.quote(toml)}", f"tutelage certify {shlex.quote(told.file)}"]
    )
    body: dict[str, Any] = {
        "file": told.file,
        "folder": standing.folder,
        "certificate": plain(made) if decided else None,
        "path": f"{standing.folder}/certificate.json" if decided else None,
        "met": made.met,
        "claim": words[0],
        "answered": made.audited,
        "wrong": made.wrong,
        "not_told": made.missing,
        "open": standing.open,
        "block": standing.committed.body["block"],
        "drift": made.extra.get("drift"),
        "wrong_at_most": made.wrong_at_most if decided or not standing.committed.exact else None,
        "allowed": standing.committed.body["allowed"],
        "commitment": dict(standing.committed.body),
        "expected": {f"{accuracy:g}": list(pair) for accuracy, pair in expected.items()},
        "corrections": {str(row + 1): value for row, value in sorted(standing.corrections.items())},
        "next": steps,
    }
    stream = made.extra.get("drift", {})
    words += stream_lines(stream, int(standing.committed.body["block"]))
    out = [
        *words,
        *_table(standing, expected),
        *_mends(standing),
        *_spent(told.file, standing),
        *waiting(standing, steps),
    ]
    common.show(body, "\n".join([*out, *([str(body["path"])] if decided else [])]))
    return code


def stream_lines(found: Mapping[str, Any], block: int) -> list[str]:
    """Whether labels have become worse than their confidences say."""
    if found.get("alarm"):
        odds = f"{found['highest']:,.0f}" if found["highest"] <= MANY else f"more than {MANY:,}"
        evidence = f"evidence {odds} : 1 over {many(found['blocks'], 'block')}"
        mend = f"ask the large model and people from block {found['since']} on, and measure the confidences anew"
        return [f"Alarm: the labels are worse than their confidences say ({evidence}). Certificates hold; but {mend}."]
    return [f"Block {block} of its stream: no sign that labels have become worse."] if found and block > 1 else []


def frozen(body: Mapping[str, Any]) -> str:
    """What was frozen, in a line."""
    columns = body["columns"]
    parts = [f"labels in {columns['label']!r}", f"text in {', '.join(map(repr, columns['text']))}"]
    parts += [f"{name} in {columns[name]!r}" for name in ("confidence", "cluster") if columns[name]]
    return f"Frozen: {body['rows']:,} rows, {'; '.join(parts)}; sha256 {body['sha256'][:12]}…"


def so_far(standing: Standing) -> list[str]:
    """Where an audit stands before it is decided."""
    body, made = standing.committed.body, standing.certificate
    if not standing.heard:
        promised = (
            f"the order of the audit (seed {body['seed']}), the target of {100 * body['target']:.4g} %, the risk of"
        )
        risk = f"{100 * body['delta']:.4g} % in all ({100 * body['risk_of_this_look']:.3g} % for this look)"
        return [frozen(body), f"Committed, look {body['look']}: {promised} {risk}."]
    missing = f", {made.missing:,} could not be told" if made.missing else ""
    head = f"Not certified yet: {many(standing.heard, 'answer')}, {made.wrong:,} wrong{missing}."
    if standing.committed.exact:
        return [f"{head} The test looks once, when all {standing.committed.most:,} are answered."]
    proved = f"once these are mended, at most {made.wrong_at_most:,} of the {made.items:,} labels are wrong"
    return [f"{head} Proved so far: {proved}; the target bears {body['allowed']:,}."]


def _expected(standing: Standing) -> dict[float, tuple[int, int]]:
    """Questions by how right the labels may be: median and 90th of 100."""
    from agent.claim.finished import Committed, forecast

    if not isinstance(standing.committed, Committed) or standing.committed.exact:
        return {}
    target = float(standing.committed.body["target"])
    return forecast(standing.committed, [round(1 - (1 - target) * share, 4) for share in LIKELY])


def _table(standing: Standing, expected: dict[float, tuple[int, int]]) -> list[str]:
    if not expected:
        return []
    body, what = standing.committed.body, "Questions it will take"
    if body["columns"]["cluster"]:
        what = f"Clusters, of {body['rows'] / body['units']:.2g} rows on average, that will be asked about"
    out = [f"{what} (half of the times fewer / 9 times in 10 fewer), by how many labels are right:"]
    for accuracy, pair in expected.items():
        half, most = (f"{n:,}" if n <= 3000 else "more than 3,000" for n in pair)
        out.append(f"  {100 * accuracy:.4g} %: {half} / {most}")
    return out


def _mends(standing: Standing) -> list[str]:
    found = len(standing.corrections)
    where = f"{standing.folder}/corrections.csv"
    counts = "; the claim counts them as mended" if standing.decided else ""
    return [f"{many(found, 'wrong label')} found{counts}: see {where}"] if found else []


def _spent(file: str, standing: Standing) -> list[str]:
    """How to go on where the exact test's only look was taken before all was answered."""
    if standing.proved or not standing.certificate.extra["early"]:
        return []
    mend = f"tutelage certify {shlex.quote(file)} --again --test anytime"
    return [f"This look is taken, and its open questions are withdrawn. Another, at its own smaller risk: {mend}"]


def waiting(standing: Standing, steps: list[str]) -> list[str]:
    """The next steps."""
    if not steps:
        return []
    waits = many(standing.open, "question waits", "questions wait")
    return [f"{waits} for an answer; answer as many as you like: {steps[0]}", f"then again: {steps[1]}"]


def verified(common: Common, path: str) -> int:
    """Derive a file's certificate again; the exit code."""
    from agent.claim import finished

    faults = finished.verify(path)
    if not faults:
        common.show({"file": path, "verified": True, "faults": []}, f"the certificate of {path} holds: derived again")
        return DONE
    words = "\n".join(["the certificate does not hold:", *(f"  {fault}" for fault in faults)])
    if common.as_json:
        common.show({"file": path, "verified": False, "faults": faults, "error": words, "code": OUR_FAULT}, "")
    common.say(f"error: {words}")
    return OUR_FAULT
