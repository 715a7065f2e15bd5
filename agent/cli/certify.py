"""`tutelage certify`: makes or checks the claim of how good the labels are. The argument itself is not known here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import DONE, OUR_FAULT, UNCERTIFIED, Common, common, many
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.types import Call

_OPEN = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command()
@click.option("--verify", is_flag=True, help="Check certificate.json against the ledger; make none.")
@click.option("--accuracy", type=_OPEN, metavar="SHARE", help="The target; goal.accuracy when not given.")
@click.option("--delta", type=_OPEN, metavar="RISK", help="The risk; goal.delta when not given.")
@click.option("--now", is_flag=True, help="Take the look now, though questions to people are open and count as wrong.")
@common
@click.pass_context
def certify(
    context: click.Context, common: Common, verify: bool, accuracy: float | None, delta: float | None, now: bool
) -> None:
    """Say how good the labels are, measured on items drawn at random and labeled blind by people.

    Writes certificate.json into the run folder. Exits with 5 when the target is not met. Each look at other labels or
    answers spends a part of the risk, so it waits until people have answered, unless --now says otherwise.

    \b
    Example:
      tutelage certify
      tutelage certify --accuracy 0.9
      tutelage certify --verify
    """
    from agent import claim
    from agent.cli.figures import cards, figures, opened, pool_of

    config = common.config()
    path = config.folder / "certificate.json"
    with opened(config, common.flags) as store:
        pool = pool_of(config, store)
        if verify:
            faults = claim.verify(config, store, pool, path) if path.exists() else None
            context.exit(_verified(common, path, faults))
        target = config.goal.accuracy if accuracy is None else accuracy
        made = claim.make(config, store, pool, target, config.goal.delta if delta is None else delta, now)
        advice = [] if made.met else _advice(common, figures(config, store), cards(config, store))
    words = claim.sentence(made)
    body = {"certificate": dataclasses.asdict(made), "path": str(path), "claim": words, "met": made.met}
    common.show({**body, "advice": advice}, "\n".join([words, *advice, str(path)]))
    if not made.met:
        context.exit(UNCERTIFIED)


def _advice(common: Common, found: Mapping[str, Any], open_cards: Sequence[Call]) -> list[str]:
    """How to reach a target that was missed: people's answers first, for what is open counts as wrong."""
    from agent.cli.figures import answer_step

    if not open_cards:
        return ["To reach it: audit more items (goal.audit, goal.person_minutes), or raise the bars of the rungs."]
    audits = sum(card.purpose == "audit" for card in open_cards)
    checks = f", {audits:,} of them random checks," if audits else ""
    waits, counts = ("waits", "counts") if len(open_cards) == 1 else ("wait", "count")
    steps = ", then ".join([answer_step(found, common.flags), f"tutelage certify{common.flags}"])
    return [
        f"{many(len(open_cards), 'question')} to people{checks} {waits} for an answer and {counts} as wrong.",
        f"To reach it: answer first: {steps}",
    ]


def _verified(common: Common, path: Path, faults: list[str] | None) -> int:
    """The exit code."""
    if faults is None:
        raise UserError(f"{path} is not there: make it with  tutelage certify{common.flags}")
    if faults:
        words = "\n".join(["the certificate does not hold:", *(f"  {fault}" for fault in faults)])
        body = {"path": str(path), "verified": False, "faults": faults, "error": words, "code": OUR_FAULT}
        common.show(body, "")
        mend = f"if labels or answers have changed since, `tutelage certify{common.flags}` takes another look; "
        mend += "if not, the file or the ledger was changed: restore it from a copy"
        click.echo(f"error: {words}\n{mend}", err=True)
        return OUR_FAULT
    common.show({"path": str(path), "verified": True, "faults": []}, f"{path} holds: labels and audit are as certified")
    return DONE
