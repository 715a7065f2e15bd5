"""What a user takes away: one row an item with label, probability and provenance. Reads the ledger; decides nothing.

A person's word stands, also that of the audit: errors the audit found are mended here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from agent import claim, mask
from agent import config as settings
from agent.config import Config
from agent.pool import Pool
from agent.store import Decisions, Store

TOLD = ("truncated", "chunked=", "too long", "flagged")
"""Flags of answers that say something of the item: how they begin."""

STATUS = {"accept": "accepted", "abstain": "unsure", "ask": "waiting"}
NOT_ASKED = "not asked"

NO_ANSWER = "no answer: "
"""How the reason begins of an item that was asked about in vain."""


def not_asked(store: Store, decided: Decisions) -> frozenset[str]:
    """Items that nobody was asked about and no student speaks of; none while a run is cut short."""
    last: Mapping[str, Any] = next((o for o in reversed(store.outcomes()) if "fixed" not in o), {})
    if not last.get("final") or last["stop"] == "interrupted":
        return frozenset()
    out = {call.item for call in store.open_calls(people=False)}
    labeled = {item for item, value in zip(decided.items, decided.values, strict=True) if value is not None}
    return frozenset(item for item in store.item_ids() if item not in labeled and item not in out)


def lost(decided: Decisions) -> dict[str, int]:
    """Why there is no answer -> items that were asked about in vain."""
    whys = zip(decided.by, decided.whys, strict=True)
    found = Counter(why.removeprefix(NO_ANSWER) for by, why in whys if by == "nobody" and why.startswith(NO_ANSWER))
    return dict(found.most_common())


def labels(config: Config, store: Store, pool: Pool, text: bool = True) -> dict[str, list[Any]]:
    """Columns of one length, in the order of the pool.

    id (the user's own, or the item's hash), label (kind multi: a list; None where nobody was asked), probability (that
    a person would say so), status (accepted, unsure, waiting, not asked), by (the rung that settled it; "guess" where a
    person could not tell or has not answered yet, "nobody" where nobody was heard), why, turn, certified (whether the
    last certificate of these very labels counts it among the accepted; None: there is no such certificate), flags (a
    list: "truncated", "chunked=3" or "too long" where the text was too long for a machine, "no answer: reason",
    "flagged: reason" by a person), rationale (where any was asked for), file and row, and its text.
    """
    n = len(pool)
    names = ("label", "probability", "status", "by", "why", "turn")
    out: dict[str, list[Any]] = {name: [None] * n for name in (*names, "certified")}
    found = store.decisions()
    never = not_asked(store, found)
    rows = zip(
        found.items, found.values, found.confidences, found.actions, found.by, found.whys, found.turns, strict=True
    )
    for item, value, confidence, action, by, why, turn in rows:
        i = pool.position(item)
        given = list(value) if isinstance(value, tuple) else value
        row = (given, None if given is None else confidence, STATUS[action], by, why, turn)
        for name, cell in zip(names, row, strict=True):
            out[name][i] = cell
    if len(found):
        _mend(config, store, pool, out)
    _unsaid(out, [item in never for item in pool.ids])
    items = pool.items(range(n))
    origins = [pool.origin(i) for i in range(n)]
    out |= _notes(config, store, pool, out)
    head: dict[str, list[Any]] = {"id": [item.name or item.id for item in items]}
    tail: dict[str, list[Any]] = {"file": [file for file, _ in origins], "row": [row for _, row in origins]}
    if text:
        tail["text"] = [item.text for item in items]
    return {**head, **out, **tail}


def _unsaid(out: dict[str, list[Any]], never: Sequence[bool]) -> None:
    """Say of every row without a decision, or without a label, what it is."""
    for i, status in enumerate(out["status"]):
        if never[i] and status != "accepted":
            out["status"][i], out["by"][i], out["why"][i] = NOT_ASKED, "nobody", "nobody was asked about it"
        elif status is None:
            out["status"][i] = "waiting"


def _notes(config: Config, store: Store, pool: Pool, said: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns `flags` and, where it is asked for, `rationale`: of the last answer that gave one, the ladder's highest.

    `said`: the columns there are: who was asked in vain is flagged with the reason.
    """
    n, rungs = len(pool), {rung.name: height for height, rung in enumerate(config.rung)}
    flags: list[list[str]] = [[] for _ in range(n)]
    whys: list[tuple[int, str]] = [(-1, "")] * n
    for call, answer in store.noted():
        if call.annotator not in rungs:
            continue
        i = pool.position(call.item)
        flags[i] += [flag for flag in answer.flags if flag.startswith(TOLD) and flag not in flags[i]]
        if answer.rationale and rungs[call.annotator] >= whys[i][0]:
            whys[i] = rungs[call.annotator], answer.rationale
    for i, (by, why) in enumerate(zip(said["by"], said["why"], strict=True)):
        if by == "nobody" and (why or "").startswith(NO_ANSWER) and not flags[i]:
            flags[i].append(why)
    out: dict[str, list[Any]] = {"flags": flags}
    if any(rung.rationale for rung in config.rung) or any(why for _, why in whys):
        out["rationale"] = _uncovered(config, pool, [why for _, why in whys])
    return out


def _uncovered(config: Config, pool: Pool, whys: list[str]) -> list[str | None]:
    """Sentences about items with the items' own words for what was covered in the question; None for none."""
    at = config.privacy
    covers = mask.build(at.mask, at.regions, config.root / at.names if at.names else None)
    return [(covers.uncover(pool.item(i), why) if covers.kinds else why) if why else None for i, why in enumerate(whys)]


def _mend(config: Config, store: Store, pool: Pool, out: dict[str, list[Any]]) -> None:
    """Let people's words stand, also the audit's. Where they could not tell, the label is a guess."""
    task, kind = settings.the_task(config), settings.kind(config)
    evidence = claim.gather(config, store, pool)
    if (counted := claim.certified(config, store, pool, evidence)) is not None:
        out["certified"] = counted.tolist()
    for i, said in {**evidence.audit, **evidence.said}.items():
        if said is None:
            continue
        before = out["label"][i]
        guess = tuple(before) if isinstance(before, list) else before
        agreed = guess is not None and kind.loss(task, guess, said) == 0
        where = " in the audit" if i in evidence.audit else ""
        differed = "" if agreed else "; a machine had said otherwise"
        out["label"][i] = list(said) if isinstance(said, tuple) else said
        out["probability"][i], out["status"][i], out["by"][i] = 1.0, "accepted", "person"
        out["why"][i] = f"a person said so{where}{differed}"
    for i, status in enumerate(out["status"]):
        if status == "waiting" or (status == "unsure" and out["by"][i] == "person"):
            out["by"][i] = "guess"  # `by` says who settled a label, and this one nobody did
