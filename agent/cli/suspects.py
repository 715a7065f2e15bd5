"""`tutelage suspects`: which labels are likely wrong, people's own among them. Knows no statistics."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import Common, common, many
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.loop.doubts import Doubt, Doubts
    from agent.loop.explain import Look


@click.command()
@click.option("--of", type=click.Choice(["all", "machines", "people"]), default="all", help="Whose labels to look at.")
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many to list.")
@click.option("--ask", "want", type=click.IntRange(1), metavar="N", help="Put the N most doubtful to people.")
@common
def suspects(common: Common, of: str, top: int, want: int | None) -> None:
    """List the labels that are most likely wrong, whoever gave them; with --ask put them to people.

    A label is held against everybody who did not give it: machines, the student, what items like it are labeled. A
    person's label that the others speak against is asked about once more, blind, and the newest answer is the label.
    Audit answers are not looked at.

    \b
    Example:
      tutelage suspects
      tutelage suspects --of people --ask 10
    """
    from agent.cli.figures import opened
    from agent.loop import doubts
    from agent.loop.explain import Look
    from agent.loop.ground import lock

    config = common.config()
    with opened(config, common.flags):
        pass  # says so where there is no run yet
    with lock(config.folder) if want else nullcontext():
        look = Look(config)
        try:
            person = look.ground.person
            if want and person is None:
                raise UserError('nobody can be asked: the ladder has no [[rung]] with oracle = "person"')
            found = doubts.ranked(look, of)
            rows = [row(look, doubt) for doubt in doubts.tell(look, found, want or top)]
            put = doubts.ask(look, found, want) if want else None
            seconds = 0.0 if person is None else float(person.settings.seconds)
        finally:
            look.close()
    body = summary(found, rows, put, seconds)
    common.show(body, "\n".join(text(body, common.flags)))


def row(look: Look, doubt: Doubt) -> dict[str, Any]:
    """One doubtful label, for programs."""
    item = look.ground.pool.item(doubt.row)
    return {
        "item": item.id,
        "id": item.name,
        "label": doubt.label,
        "by": doubt.by,
        "rather": doubt.instead,
        "chance_wrong": doubt.chance,
        "text": item.text,
    }


def summary(found: Doubts, rows: list[dict[str, Any]], put: tuple[int, int] | None, seconds: float) -> dict[str, Any]:
    """All that is told, for programs. `seconds`: a person's time for an answer."""
    expected = float(found.chance.sum())
    body: dict[str, Any] = {"labels": len(found.rows), "expected_wrong": expected, "suspects": rows}
    if found.wrong_share == found.wrong_share:
        body["wrong_share_by_confident_learning"] = found.wrong_share
    if put is not None:
        minutes = sum(put) * seconds / 60
        body["put_to_people"] = {"machine_labels": put[0], "people_labels_again": put[1], "minutes": minutes}
    return body


def text(body: dict[str, Any], flags: str) -> list[str]:
    """The same for a person."""
    expected = f"{body['expected_wrong']:,.0f} of them are expected to be wrong"
    lines = [f"{many(body['labels'], 'label')} looked at; {expected} (predicted; the certificate measures)"]
    if not body["suspects"]:
        return [*lines, "nothing is labeled yet: tutelage run comes first"]
    lines += ["", f"{'wrong':>6}  {'label':<18} {'by':<10} {'rather':<18} item"]
    for one in body["suspects"]:
        words = " ".join(one["text"].split())
        head = f"{one['id'] or one['item'][:12]}  {words[:60]}{'…' if len(words) > 60 else ''}"
        said, rather = label(one["label"]), label(one["rather"])
        lines.append(f"{100 * one['chance_wrong']:5.0f}%  {said:<18} {one['by']:<10} {rather:<18} {head}")
    if (put := body.get("put_to_people")) is not None:
        again = put["people_labels_again"]
        more = f", {many(again, 'label')} of people to another person" if again else ""
        time = f"about {put['minutes']:,.0f} minutes of people" if put["minutes"] >= 1 else "a minute of people"
        lines += [
            "",
            f"{many(put['machine_labels'], 'machine label')} put to people{more}, {time}: tutelage review{flags}",
        ]
    else:
        lines += ["", f"put them to people: tutelage suspects{flags} --ask {len(body['suspects'])}"]
    return lines


def label(value: Any) -> str:
    """A label as one word."""
    return "none of them" if value in ((), [], None) else "+".join(value) if isinstance(value, list | tuple) else value
