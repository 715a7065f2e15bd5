"""Files of one stream, block after block: what each may spend, and whether labels have become worse than they say.

A block names the one before it, and the looks of a stream are counted through, look j at δ·6/(π²j²): so all its
certificates hold together (`agent.certify.blocks`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from agent.certify.blocks import Drift
from agent.claim.finished.folder import Room, folder_of, opened
from agent.claim.finished.terms import Terms
from agent.errors import DataError


def follow(path: str, after: str, terms: Terms) -> dict[str, Any]:
    """The terms a block takes from the one before it, which notes by whom it is followed: looks are counted on.

    Raises:
        DataError: there is no audit of that one, another block follows it already, or other terms are told.
    """
    own = folder_of(path).name
    with opened(after) as room:
        commitments = room.store.commitments()
        if not commitments:
            raise DataError(f"{after} has no audit yet that {path} could follow: certify it first")
        if (other := followed(room)) not in ("", own):
            raise DataError(
                f"{after} is followed by {other} already, and two blocks of one number would spend the same risk "
                "twice: name the stream's last block"
            )
        last = commitments[-1]["body"]
        for name in ("target", "delta", "test"):
            told = getattr(terms, name)
            if told is not None and told != last[name]:
                raise DataError(f"--{name} {told}: all blocks after {after} have {last[name]}: leave it out")
        if not other:
            room.store.end_turn(-1, {"followed_by": own})
        where = os.path.relpath(os.path.abspath(after), os.path.dirname(os.path.abspath(path)))
        return {
            "look": int(last["look"]),
            "block": int(last["block"]) + 1,
            "after": {"path": where, "sha256": last["sha256"]},
            **{name: last[name] for name in ("target", "delta", "test", "left") if name in last},
        }


def followed(room: Room) -> str:
    """The folder of the block that follows; empty where none does."""
    return next((str(o["followed_by"]) for o in room.store.outcomes() if "followed_by" in o), "")


def drift(path: str, body: Mapping[str, Any], heard: list[list[float]]) -> dict[str, Any]:
    """Evidence that labels are worse than their confidences say, over all blocks up to this one.

    heard: (predicted chance of error, share wrong) of each audited unit, in the order of the draw.
    """
    blocks, here, after = [heard], path, body["after"]
    while after is not None:
        here = os.path.join(os.path.dirname(here), after["path"])
        with opened(here) as room:
            found = [c["body"] for c in room.store.certificates()]
            blocks.append(found[-1]["extra"].get("heard", []) if found else [])
            after = room.store.commitments()[-1]["body"]["after"]
    watch, since = Drift(), None
    for number, block in enumerate(reversed(blocks), 1):
        watch.block()
        for predicted, wrong in block:
            watch.hear(predicted, wrong)
        since = number if watch.alarm and since is None else since
    odds = {"evidence": watch.wealth, "highest": watch.highest}
    return {"blocks": len(blocks), **odds, "alarm": watch.alarm, "since": since}
