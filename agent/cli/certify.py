"""`tutelage certify`: makes or checks the claim of how good the labels are. The argument itself is not known here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import DONE, OUR_FAULT, UNCERTIFIED, Common, common, many
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.types import Call, Certificate

_OPEN = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command()
@click.argument("file", required=False)
@click.option("--verify", is_flag=True, help="Derive certificate.json again; make none.")
@click.option(
    "--target",
    "--accuracy",
    "accuracy",
    type=_OPEN,
    metavar="SHARE",
    help="The target; goal.accuracy when not given, for a FILE 0.95.",
)
@click.option("--delta", type=_OPEN, metavar="RISK", help="The risk; goal.delta when not given, for a FILE 0.05.")
@click.option(
    "--test",
    type=click.Choice(["exact", "anytime"]),
    help="One look at all answers, or a look whenever you like; goal.test when not given, for a FILE anytime.",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="LABEL",
    help="Certify this label by itself, too; once for each. goal.classes when not given.",
)
@click.option(
    "--now",
    is_flag=True,
    help="Take the look now, though open questions count as wrong, or these labels were looked at on other terms; "
    "FILE with --left people: leave the walk.",
)
@click.option("--gold-by", metavar="WHO", help="FILE: people, column:NAME, or a file of recorded votes.")
@click.option("--label", metavar="COLUMN", help="FILE: the column of the labels.")
@click.option("--text", multiple=True, metavar="COLUMN", help="FILE: what people are shown.")
@click.option("--id", "own", metavar="COLUMN", help="FILE: your own ids.")
@click.option("--confidence", metavar="COLUMN", help="FILE: how sure each label is, 0 to 1; none takes no such column.")
@click.option("--cluster", metavar="COLUMN", help="FILE: rows that belong together; the text's column: rows alike.")
@click.option("--audit", type=click.IntRange(min=1), metavar="N", help="FILE: questions of the exact test.")
@click.option("--question", default="", help="FILE: what people are asked.")
@click.option("--guidelines", default="", help="FILE: how people are to decide in doubtful cases.")
@click.option("--labels", default="", metavar="A,B", help="FILE: further labels people may choose.")
@click.option("--after", default="", metavar="FILE", help="FILE: the block before this one, where files are a stream.")
@click.option(
    "--left",
    type=click.Choice(["open", "people"]),
    help="What becomes of labels that are not certified: people label them, or not; goal.left when not given.",
)
@click.option("--again", is_flag=True, help="FILE: take another look, of a file or at terms that have changed.")
@common
@click.pass_context
def certify(
    context: click.Context, common: Common, file: str | None, verify: bool, accuracy: float | None,
    delta: float | None, test: str | None, classes: tuple[str, ...], now: bool, gold_by: str | None, label: str | None,
    text: tuple[str, ...], own: str | None, confidence: str | None, cluster: str | None, audit: int | None,
    question: str, guidelines: str, labels: str, after: str, left: str | None, again: bool,
) -> None:  # fmt: skip
    """Say how good labels are, measured on items drawn at random and labeled blind by people.

    Without FILE, of this run: writes certificate.json into the run folder. Exits with 5 when the target is not met for
    all labels. Each look of the exact test at other labels or answers spends a part of the risk, so it waits until
    people have answered, unless --now says otherwise.

    With FILE, of labels that anybody made (CSV, JSONL, Parquet): freezes the file and commits to an audit in a folder
    beside it, where people answer with review; the same command again says how it stands. Exits with 4 while people are
    waited for.

    \b
    Example:
      tutelage certify
      tutelage certify --accuracy 0.9
      tutelage certify --verify
      tutelage certify labels.parquet --gold-by people --target 0.95
      tutelage certify labels.parquet --gold-by people --left people
    """
    if file is not None:
        from agent.cli import finished

        told = finished.Told(
            file, accuracy, delta, test, gold_by or "people", label, text, own, confidence, cluster, audit,
            question, guidelines, labels, classes, after, now, again, left,
        )  # fmt: skip
        context.exit(finished.verified(common, file) if verify else finished.certified(common, told))
    for name, given in (("--gold-by", gold_by), ("--label", label), ("--again", again), ("--audit", audit)):
        if given:
            raise UserError(f"{name} is for a finished file: name it, as in  tutelage certify labels.parquet {name}")
    if left:
        common.overrides.append(f"goal.left={left}")
    _run(context, common, verify, accuracy, delta, test, classes, now)


def _run(
    context: click.Context, common: Common, verify: bool, accuracy: float | None, delta: float | None,
    test: str | None, classes: tuple[str, ...], now: bool,
) -> None:  # fmt: skip
    from agent import claim
    from agent.cli.figures import opened
    from agent.cli.run import take_away
    from agent.report.standing import cards, certify_step, figures, file_of, pool_of

    if test:
        common.overrides.append(f"goal.test={test}")
    if classes:
        common.overrides.append(f"goal.classes={json.dumps(list(classes), ensure_ascii=False)}")
    config = common.config()
    path = config.folder / "certificate.json"
    with opened(config, common.flags) as store:
        if file := file_of(config, store):
            raise UserError(
                f"{config.folder} is the audit of a finished file, which must be named: {certify_step(file)}"
            )
        pool = pool_of(config, store)
        if verify:
            faults = claim.verify(config, store, pool, path) if path.exists() else None
            context.exit(_verified(common, path, faults))
        target, looks = config.goal.accuracy if accuracy is None else accuracy, len(store.certificates())
        risk = config.goal.delta if delta is None else delta
        if not now:
            claim.refuse_dearer(config, store, pool, target, risk)
        made = claim.make(config, store, pool, target, risk, now)
        path = claim.path_of(config, store, claim.plain(made))
        advice = [] if made.met else _advice(common, config, figures(config, store), cards(config, store))
        if not made.met and config.goal.left == "people":
            advice += _rest(common, config, made)
        if len(store.certificates()) > looks and (config.folder / "report.md").exists():
            take_away(common, config, store)  # what a run wrote there would contradict the certificate
    words = claim.lines(made)
    body = {"certificate": claim.plain(made), "path": str(path), "claim": words[0], "met": made.met}
    common.show({**body, "claims": words, "advice": advice}, "\n".join([*words, *advice, str(path)]))
    if not made.met:
        context.exit(UNCERTIFIED)


def _advice(common: Common, config: Config, found: Mapping[str, Any], open_cards: Sequence[Call]) -> list[str]:
    """How to reach a target that was missed: people's answers first, for what is open counts as wrong."""
    from agent.report.standing import answer_step

    if not open_cards:
        return ["To reach it: audit more items (goal.audit, goal.person_minutes), or raise the bars of the rungs."]
    audits = sum(card.purpose == "audit" for card in open_cards)
    checks = f", {audits:,} of them random checks," if audits else ""
    waits, counts = ("waits", "counts") if len(open_cards) == 1 else ("wait", "count")
    means = f" and {counts} as wrong"
    if audits and config.goal.test == "anytime":
        means = "; checks are heard in their order up to the first that is open" + (
            ", what is to be repaired counts as wrong" if audits < len(open_cards) else ""
        )
    steps = ", then ".join([answer_step(found, common.flags), f"tutelage certify{common.flags}"])
    return [
        f"{many(len(open_cards), 'question')} to people{checks} {waits} for an answer{means}.",
        f"To reach it: answer first: {steps}",
    ]


def _rest(common: Common, config: Config, made: Certificate) -> list[str]:
    """How people come to label what machines are unsure of, to the end."""
    from math import ceil

    part, person = made.accepted, config.person
    if part["claim"] == "walk" and part["prefix"] and person is not None:
        more = ceil(part["left_open"] * float(person.settings.seconds) / 60)
        minutes = f"goal.person_minutes = {ceil(config.goal.person_minutes) + more}"
        words = (
            f"{many(part['left_open'], 'label')} left for people, about {many(more, 'minute')} of their time: "
            f"`tutelage run{common.flags}` puts them to people as far as their minutes go ({minutes} is enough for all)"
        )
        return [words]
    export = f"tutelage export labels labels.parquet{common.flags}"
    go = "tutelage certify labels.parquet --text text --left people --gold-by people"
    return [f"To have people label the rest, with a certificate of all labels: {export}, then {go}"]


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
