"""One call of `tutelage certify FILE`: freeze and commit, or hear and test; then put the next questions."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from agent import certify
from agent.claim.finished import recordings
from agent.claim.finished.along import Along, hear
from agent.claim.finished.along import put as put_along
from agent.claim.finished.deliver import deliver
from agent.claim.finished.folder import Room, abandon, ask, begin, begun, folder_of, opened
from agent.claim.finished.notes import corrections, noted
from agent.claim.finished.paced import Paced, promised
from agent.claim.finished.standing import Hearing, Standing, asked_of, members
from agent.claim.finished.stream import follow, followed
from agent.claim.finished.terms import Committed, Terms, item_id, wanted_of
from agent.claim.paper import plain, write
from agent.claim.promise import sha_of
from agent.data import Whole, whole
from agent.errors import Damaged, DataError

BATCH = 50
"""Questions put to people at once, where they are not told how many: people answer as many as they like."""


def look(path: str, terms: Terms, gold: str = "people", again: bool = False, early: bool = False) -> Standing:
    """Freeze the file and commit at the first call; at any later one, say where its audit stands.

    gold: "people", who answer the queue; "column:NAME", or a file of recorded votes, which answer at once. again: one
    more look, at its own risk, because the file or the terms are others. early: the exact test's one look, although
    questions are open: they count as wrong; a walk is left where it stands, and people label the rest.

    Raises:
        DataError: the file is gone, has changed, or its columns are not what was committed.
    """
    truth = gold.removeprefix("column:") if gold.startswith("column:") else None
    if fresh := not begun(path):
        file = whole(path, dataclasses.replace(terms.wanted, truth=truth))
        recordings.fits(file, gold)
        begin(path, file, terms)
    try:
        return _look(path, terms, gold, again, early)
    except DataError:
        if fresh:
            abandon(path)
        raise


def _look(path: str, terms: Terms, gold: str, again: bool, early: bool) -> Standing:
    truth = gold.removeprefix("column:") if gold.startswith("column:") else None
    with opened(path) as room:
        file, made = _committed(room, path, terms, truth, again)
        if (spent := _spent(room, made)) is not None:
            upto = int(spent["extra"]["answers_up_to"])
            told = Hearing(room, file, made, upto)
            return noted(room, path, hear(told, made, bool(spent["extra"]["early"])))
        standing = _further(room, file, made, recordings.answerer(room, file, gold), early and not _anytime(made))
        standing = noted(room, path, standing)
        corrections(room, file, standing)
        if standing.decided and made.exact and standing.open:
            _take_back(room)
            standing = dataclasses.replace(standing, open=0)
        if standing.decided:
            body = plain(standing.certificate)
            if not any(c["body"] == body for c in room.store.certificates()):
                room.store.add_certificate(standing.certificate.labels_sha256, body)
            write(body, folder_of(path) / "certificate.json")
        if isinstance(standing, Along) and standing.decided:
            deliver(room, file, standing)
        return standing


def _anytime(made: Committed | Paced) -> bool:
    """Whether it is looked at after every answer, so that there is no early look."""
    return isinstance(made, Committed) and not made.exact


def _spent(room: Room, made: Committed | Paced) -> dict[str, Any] | None:
    """The certificate for which the exact test's one look was taken."""
    bodies = [c["body"] for c in room.store.certificates() if c["body"]["look"] == made.body["look"]]
    return bodies[-1] if bodies and made.exact else None


def _committed(room: Room, path: str, terms: Terms, truth: str | None, again: bool) -> tuple[Whole, Committed | Paced]:
    """The file and the promise it is under: the last one, or a new one, durable before any question is put."""
    earlier = room.store.commitments()
    if not earlier:
        file = whole(path, dataclasses.replace(terms.wanted, truth=truth))
        before = follow(path, terms.after, terms) if terms.after else None
        return file, _promise(room, file, terms, 1 + int(before["look"]) if before else 1, before)
    last = earlier[-1]["body"]
    if again and (other := followed(room)):
        raise DataError(
            f"{path} is followed by {other}, whose look is the next: certify the file anew as its last block"
        )
    if again:
        wanted = terms.wanted if terms.wanted.label or terms.wanted.text else wanted_of(last)
        file = whole(path, dataclasses.replace(wanted, truth=truth))
        fresh = promised(file, terms, room.questions, int(last["look"]) + 1, last)
        if _same(fresh.body, last):
            raise DataError(f"{path} and the terms are those of look {last['look']}: there is nothing to look at again")
        if fresh.body["sha256"] == last["sha256"] and fresh.body["seed"] != last["seed"]:
            raise DataError(
                f"--again of the same file keeps seed {last['seed']}: a draw that was chosen with answers in sight "
                "proves nothing; this look has a draw of its own anyway"
            )
        _take_back(room)
        return file, _promise(room, file, terms, int(last["look"]) + 1, last)
    file = whole(path, wanted_of(last, truth))
    _unchanged(path, file, terms, last, earlier[-1]["at"])
    if last["questions"] != room.questions:
        raise DataError(
            f"{room.folder / 'tutelage.toml'} was changed: its questions are not those that were committed. Put it "
            "back, or take another look with --again"
        )
    made = promised(file, Terms(), room.questions, int(last["look"]), last)
    if dict(made.body) != last or sha_of(last) != earlier[-1]["sha256"]:
        raise Damaged(f"the commitment in {room.folder} is not what this file and its terms give: restore a copy of it")
    return file, made


def _promise(room: Room, file: Whole, terms: Terms, number: int, earlier: dict[str, Any] | None) -> Committed | Paced:
    known = set(room.config.task.labels)
    named = file.names[: int(file.label.max()) + 1]  # the truth may have others
    used = {name for value in named for name in ([value] if isinstance(value, str) else value)}
    if strange := sorted(used - known):
        raise DataError(
            f"label {strange[0]!r} of {file.path} is none of those people are asked to choose from: add it under "
            f"[task.labels] of {room.folder / 'tutelage.toml'}"
        )
    made = promised(file, terms, room.questions, number, earlier)
    room.store.add_commitment(number, sha_of(made.body), dict(made.body))
    return made


def _same(fresh: Any, last: Any) -> bool:
    own = {"look", "risk_of_this_look", "order_sha256", "strata", "shares", "coins_sha256"}
    return {k: v for k, v in fresh.items() if k not in own} == {k: v for k, v in last.items() if k not in own}


def _unchanged(path: str, file: Whole, terms: Terms, last: dict[str, Any], at: float) -> None:
    """Raise where something is not as it was committed."""
    look, when = int(last["look"]), datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    smaller = 100 * certify.risk_of_look(float(last["delta"]), look + 1)
    mend = f"--again takes another look, at a risk of {smaller:.2g} % and with a draw of its own"
    if file.sha256 != last["sha256"]:
        raise DataError(
            f"{path} has changed since it was frozen ({when}): its sha256 is {file.sha256[:12]}…, not "
            f"{last['sha256'][:12]}…; the answers so far are about the other one. Put that back, or {mend}"
        )
    told: dict[str, Any] = {"target": terms.target, "delta": terms.delta, "test": terms.test, "seed": terms.seed}
    told |= {"draws": terms.audit, "classes": list(terms.classes) or None, "left": terms.left}
    then = {"left": "open", "draws": 0, "classes": [], **last}
    for name, value in told.items():
        if value is not None and value != then[name]:
            called = {"draws": "audit", "classes": "class"}.get(name, name)
            raise DataError(
                f"--{called} {value}: this look has committed to {then[name]} before it heard an answer; leave it out, "
                f"or {mend}"
            )
    wanted = {"label": terms.wanted.label, "confidence": terms.wanted.confidence, "cluster": terms.wanted.cluster}
    for name, column in wanted.items():
        if column and column != last["columns"][name]:
            committed = last["columns"][name]
            raise DataError(f"--{name} {column}: this look has committed to {committed}; leave it out, or {mend}")


def _take_back(room: Room) -> None:
    """What is open of an earlier look is asked no more."""
    for call in room.store.open_calls(annotator="person"):
        room.store.withdraw(call.key, "certify")


def _further(
    room: Room, file: Whole, made: Committed | Paced, answerer: recordings.Answerer | None, early: bool
) -> Standing:
    """Hear what there is; while the test is undecided and nothing is open, put further questions."""
    told = Hearing(room, file, made)
    while True:
        standing = hear(told, made, early)
        corrections(room, file, standing)
        over = standing.proved or standing.over or (early and made.exact)
        if over or (standing.open and answerer is None):
            return standing
        more = BATCH if answerer is None else max(BATCH, standing.asked // 10)
        if not standing.open and not _put(room, file, made, standing, more):
            return standing
        if answerer is None:
            return hear(told, made, early)
        for call in room.store.open_calls(annotator="person"):
            item = room.pool.item(room.pool.position(call.item))
            room.store.record_now(call.key, answerer(item, call.sample))


def _put(room: Room, file: Whole, made: Committed | Paced, standing: Standing, more: int) -> int:
    """Put the next questions, `more` units where it is free to choose; how many."""
    if isinstance(made, Committed):
        units = _next(room, file, made, standing, more)
        return ask(room, file, made, units) if units else 0
    return put_along(room, file, made, standing) if isinstance(standing, Along) else 0


def _next(room: Room, file: Whole, made: Committed, standing: Standing, more: int) -> list[int]:
    """Who is asked about next: the order goes on; once all is certified, only for the classes that are not yet."""
    if made.exact:
        return made.order[standing.asked : made.most].tolist()  # type: ignore[no-any-return]
    if not standing.certificate.met:
        return made.order[standing.asked : standing.asked + more].tolist()  # type: ignore[no-any-return]
    asked = asked_of(room)
    out: list[int] = []
    for row in standing.certificate.classes:
        left = () if row["certified"] else members(file, made, row["class"]).tolist()
        out += islice((unit for unit in left if item_id(file, unit) not in asked), more)
    return out
