"""The certificate of a finished file, derived again from the file and the ledger. Believes no number it is told."""

from __future__ import annotations

import json
from typing import Any

from agent.claim.finished.along import Along, hear
from agent.claim.finished.deliver import differs
from agent.claim.finished.folder import opened
from agent.claim.finished.notes import noted
from agent.claim.finished.paced import promised
from agent.claim.finished.standing import Hearing
from agent.claim.finished.terms import Terms, wanted_of
from agent.claim.paper import plain
from agent.claim.promise import sha_of
from agent.data import whole


def verify(path: str) -> list[str]:
    """What does not agree between file, ledger and certificate, in plain words; empty: it holds.

    Raises:
        DataError: the file is gone, or no audit of it has begun.
    """
    with opened(path) as room:
        file = room.folder / "certificate.json"
        try:
            claimed = json.loads(file.read_text("utf-8"))
            look, upto = int(claimed["look"]), int(claimed["extra"]["answers_up_to"])
            early, _ = bool(claimed["extra"]["early"]), claimed["tutelage"]
        except FileNotFoundError:
            return [f"{file} is not there: `tutelage certify {path}` makes it once the test is decided"]
        except (ValueError, KeyError, TypeError):
            return [f"{file} is not a certificate of this program"]
        problems = room.store.verify()
        committed = next((c for c in room.store.commitments() if c["look"] == look), None)
        if committed is None:
            return [*problems, f"the ledger holds no commitment for look {look}"]
        body = committed["body"]
        if committed["sha256"] != sha_of(body):
            problems.append(f"the commitment of look {look} was changed: it has another hash")
        frozen = whole(path, wanted_of(body))
        if frozen.sha256 != body["sha256"]:
            return [*problems, f"{path} is not the file that was certified: its sha256 is another"]
        made = promised(frozen, Terms(), room.questions, look, body)
        for name, value in made.body.items():
            if body.get(name) != value:
                problems.append(f"{name}: look {look} committed to {body.get(name)!r}, the file gives {value!r}")
        standing = noted(room, path, hear(Hearing(room, frozen, made, upto), made, early))
        derived = plain(standing.certificate)
        if isinstance(standing, Along):
            problems += differs(room, frozen, standing)
        del claimed["tutelage"]
        if not any(c["body"] == claimed for c in room.store.certificates()):
            problems.append("the ledger holds no such certificate")
        return [*problems, *_differences(claimed, derived)]


def _differences(claimed: dict[str, Any], derived: dict[str, Any]) -> list[str]:
    """What a certificate says that is not derived. Blocks before this one may have been looked at again since, so what
    they say of drift is only held against the ledger."""
    flat = [{**c, **{f"extra.{name}": v for name, v in c["extra"].items()}} for c in (claimed, derived)]
    told, gives = ({k: v for k, v in one.items() if k not in ("extra", "extra.drift")} for one in flat)
    return [
        f"{name}: the file says {str(told.get(name))[:200]}, the ledger gives {str(gives.get(name))[:200]}"
        for name in dict.fromkeys([*gives, *told])
        if told.get(name) != gives.get(name) or name not in told or name not in gives
    ]
