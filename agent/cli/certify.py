"""`tutelage certify`: makes or checks the claim of how good the labels are. The argument itself is not known here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from agent.cli.house import UNCERTIFIED, Common, common
from agent.errors import Damaged, UserError

_OPEN = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command()
@click.option("--verify", is_flag=True, help="Check certificate.json against the ledger; make none.")
@click.option("--accuracy", type=_OPEN, metavar="SHARE", help="The target; goal.accuracy when not given.")
@click.option("--delta", type=_OPEN, metavar="RISK", help="The risk; goal.delta when not given.")
@common
@click.pass_context
def certify(context: click.Context, common: Common, verify: bool, accuracy: float | None, delta: float | None) -> None:
    """Say how good the labels are, measured on items drawn at random and labeled blind by people.

    Writes certificate.json into the run folder. Exits with 5 when the target is not met.

    \b
    Example:
      tutelage certify
      tutelage certify --accuracy 0.9
      tutelage certify --verify
    """
    from agent import claim
    from agent.cli.figures import opened, pool_of

    config = common.config()
    path = config.folder / "certificate.json"
    with opened(config, common.flags) as store:
        pool = pool_of(config, store)
        if verify:
            _verified(common, path, claim.verify(config, store, pool, path) if path.exists() else None)
            return
        target = config.goal.accuracy if accuracy is None else accuracy
        made = claim.make(config, store, pool, target, config.goal.delta if delta is None else delta)
    words = claim.sentence(made)
    body = {"certificate": dataclasses.asdict(made), "path": str(path), "claim": words, "met": made.met}
    if not made.met:
        words += "\nTo reach it: audit more items (goal.audit, goal.person_minutes), or raise the bars of the rungs."
    common.show(body, f"{words}\n{path}")
    if not made.met:
        context.exit(UNCERTIFIED)


def _verified(common: Common, path: Path, faults: list[str] | None) -> None:
    if faults is None:
        raise UserError(f"{path} is not there: make it with  tutelage certify{common.flags}")
    if faults:
        common.show({"path": str(path), "verified": False, "faults": faults}, "")
        raise Damaged("the certificate does not hold:\n" + "\n".join(f"  {fault}" for fault in faults))
    common.show({"path": str(path), "verified": True, "faults": []}, f"{path} holds: labels and audit are as certified")
