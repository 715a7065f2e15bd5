"""`tutelage plan`: what a run would cost in money, time and people's minutes, and what machines would be sent.

Spends nothing unless told to try (`--pilot`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import Common, common, many, span
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.cli.forecast import Cost, Range
    from agent.cli.pilot import Measured, Piloted
    from agent.config import Config, Rung
    from agent.types import Budget

VOTES = "votes are counted unless the server gives log-probabilities"
WIDTH = 13


@click.command()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N items of the pool.")
@click.option("--pilot", type=click.IntRange(min=1), metavar="N",
              help="Ask every machine about N random items, and measure. The run uses these answers.")  # fmt: skip
@click.option("--budget", metavar="USD|none", help="The most that paid machines may cost in all; none: no limit.")
@click.option("--price", "given", metavar="[RUNG=]IN,OUT", multiple=True, help="Dollars per million tokens in and out.")
@click.option("--yes", is_flag=True, help="With --pilot: spend without asking first.")
@click.option("--offline", is_flag=True, help="Do not even have tokens counted by a server near by.")
@common
def plan(
    common: Common,
    limit: int | None,
    pilot: int | None,
    budget: str | None,
    given: tuple[str, ...],
    yes: bool,
    offline: bool,
) -> None:
    """Show what a run would take: money, time and people's minutes first, then the ladder and one rendered prompt.

    Without --pilot it asks no machine, spends nothing, and guesses from a low to a high number.

    \b
    Example:
      tutelage plan
      tutelage plan --pilot 100 --budget 1
      tutelage plan --limit 1000 --json
    """
    if pilot is not None and offline:
        raise UserError("--pilot asks the machines, which --offline forbids: leave one of the two out")
    show(common, limit, budget, given, pilot, yes, offline)


def show(
    common: Common,
    limit: int | None,
    budget: str | None = None,
    given: Sequence[str] = (),
    pilot: int | None = None,
    yes: bool = False,
    offline: bool = False,
) -> None:
    """Print the plan; `tutelage run --dry-run` is this, too."""
    from agent import config as settings
    from agent.cli import hour, limits
    from agent.cli.figures import refuse_file
    from agent.cli.forecast import cost, sample
    from agent.loop import past

    if given:
        common.overrides += limits.prices(common.config(), given)
    config = common.config()
    refuse_file(config)
    most = limits.budget(config, budget, None, None)
    items, total, aside = sample(config, limit)
    unused = past.glance(config)
    asked = min(pilot or 0, total)
    tried = (
        _try(common, config, most, asked, limit, yes, (budget or "").lower() == "none") if pilot is not None else None
    )
    machines = [rung for rung in config.rung if rung.oracle and not rung.person]
    costs = [
        cost(config, rung, items, total, rung is machines[0], offline, tried.machines.get(rung.name) if tried else None)
        for rung in machines
    ]
    named = {one.name: one for one in costs}
    asked_of_people = hour.asked(config, total, tried.risk if tried else ())
    body = {
        "items": total,
        "set_aside": aside,
        "labels": list(settings.the_task(config).labels),
        "usd": _sum(one.dollars for one in costs),
        "seconds": _sum(one.seconds for one in costs),
        "worst_usd": round(sum(one.usd for one in costs), 4),
        "budget_usd": most.usd,
        "unpriced": {one.name: one.unpriced for one in costs if one.unpriced},
        "people": asked_of_people,
        "ladder": [_rung_row(config, rung, named.get(rung.name)) for rung in config.rung],
        "pilot": None if tried is None else tried.body(),
        "prompts": {one.name: one.prompt for one in costs},
        "unused": {"answers": unused, "words": past.words(unused)},
    }
    common.show(body, _text(config, body, costs, tried, common.flags) + f"\nnext: tutelage run{common.flags}")


def _sum(ranges: Any) -> list[float]:
    found: list[Range] = list(ranges)
    return [round(sum(one[0] for one in found), 6), round(sum(one[1] for one in found), 6)]


def _try(
    common: Common, config: Config, most: Budget, count: int, limit: int | None, yes: bool, priceless: bool
) -> Piloted:
    """The pilot, after its cost was said; whoever pays has agreed."""
    from agent.ask import Policy
    from agent.cli.asking import price
    from agent.cli.begin import keys, table_prices
    from agent.cli.limits import agree
    from agent.cli.pilot import pilot

    for line in (*keys(config), *table_prices(config)):
        common.say(line)

    unknown = [r.name for r in config.rung if hasattr(r.settings, "usd_per_mtok_in") and price(r) is None]

    def confirm(usd: float, questions: int) -> None:
        words = f"asking {many(questions, 'question')} of the machines, ${usd:,.4f} at most"
        if most.usd is not None and usd > most.usd:
            words += f"; the budget of {_dollars(most.usd)} in all stops it before"
        if unknown:
            words += f", and what {', '.join(unknown)} takes, whose price is not known"
        elif not usd:
            words = f"asking {many(questions, 'question')} of the machines, no charge"
        common.say(words)
        if usd or unknown:
            agree(words, yes, common.as_json)

    tried = pilot(config, count, limit, Policy(budget=most), confirm, priceless)
    common.say(f"the pilot took {f'${tried.usd:,.4f} and ' if tried.usd else ''}{span(tried.seconds)}")
    return tried


def _rung_row(config: Config, rung: Rung, cost: Cost | None) -> dict[str, Any]:
    who = "people" if rung.person else f"student {rung.student}" if rung.student else f"oracle {rung.oracle}"
    bar = None if rung.person else config.goal.accuracy if rung.bar is None else rung.bar
    row: dict[str, Any] = {"name": rung.name, "who": who, "bar": bar, "samples": rung.samples, "shots": rung.shots}
    if cost is not None:
        row |= {"calls_at_most": cost.calls, "answers_at_most": cost.answers}
        row |= {"tokens_at_most": cost.tokens, "usd_at_most": round(cost.usd, 4)}
        row |= {"questions": list(cost.questions), "tokens_each": round(cost.each, 1)}
        row |= {"tokens_shared": round(cost.prefix, 1), "tokens_from": cost.counted, "parts": round(cost.parts, 2)}
        row |= {
            "unpriced": cost.unpriced,
            "usd": [round(usd, 6) for usd in cost.dollars],
            "seconds": [round(s, 1) for s in cost.seconds],
        }
    return row


def _dollars(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}" if usd >= 0.00005 else "$0.0001"


def _between(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _text(config: Config, body: dict[str, Any], costs: Sequence[Cost], tried: Piloted | None, flags: str) -> str:
    aside = f" ({many(body['set_aside'], 'row')} set aside)" if body["set_aside"] else ""
    labels = ", ".join(body["labels"][:12]) + (" …" if len(body["labels"]) > 12 else "")
    lines = [f"{many(body['items'], 'item')}{aside}, {many(len(body['labels']), 'label')}: {labels}", ""]
    lines += [*_top(config, body, costs), *filter(None, [body["unused"]["words"]])]
    if tried is None or not any(one.answered for one in tried.machines.values()):
        lines += ["", f"these are guesses; measure with  tutelage plan --pilot {min(100, body['items'])}{flags}"]
    if tried is not None:
        lines += ["", *_tried(config, body, tried)]
    lines += ["", "the ladder"]
    for row in body["ladder"]:
        lines += _ladder_lines(row)
    if any(row["shots"] for row in body["ladder"]):
        lines.append("examples from the pilot (shots) are not in these numbers yet: they are not known before it")
    for one in costs:
        lines += ["", f"what {one.name} is sent about the first item (template {one.template}):"]
        lines += [f"  | {line}" for line in one.prompt.splitlines()]
    return "\n".join(lines)


def _top(config: Config, body: dict[str, Any], costs: Sequence[Cost]) -> list[str]:
    """What a person wants to know first."""
    from agent.cli import hour

    budget = body["budget_usd"]
    stop = "no limit is set (goal.budget_usd)" if budget is None else f"the budget stops it at {_dollars(budget)}"
    low, high = body["usd"]
    worst = (
        ""
        if any(one.counted.startswith("measured") for one in costs) or not body["worst_usd"]
        else f", at worst ${body['worst_usd']:,.2f}"
    )
    if body["unpriced"]:
        names = ", ".join(f"{model} (rung {name})" for name, model in body["unpriced"].items())
        known = f"; all others {_between(_dollars(low), _dollars(high))}" if high else ""
        money = f"not known: no price for {names}{known}: write usd_per_mtok_in and usd_per_mtok_out there"
    elif not body["worst_usd"] and not high:
        money = "no charge: no machine of this ladder sends a bill"
    else:
        money = f"{_between(_dollars(low), _dollars(high))}{worst} (every item to every machine); {stop}"
    lines = [f"{'money':<{WIDTH}}{money}"]
    slow = body["seconds"][1]
    if slow:
        lines.append(f"{'machines':<{WIDTH}}{_between(span(body['seconds'][0]), span(slow))} {_basis(config, costs)}")
    return lines + [f"{head:<{WIDTH}}{told}" for head, told in hour.lines(config, body)]


def _basis(config: Config, costs: Sequence[Cost]) -> str:
    """Where the time is from, and what is not in it."""
    paced = [one for one in costs if one.seconds[1]]
    timed = [one.name for one in paced if one.timed]
    basis = (
        "at an assumed pace" if not timed else f"at the measured pace of {', '.join(timed)}, others at an assumed one"
    )
    if timed and len(timed) == len(paced):
        basis = "at the measured pace"
    slow = [f"{one.limited} of {one.name}" for one in paced if one.limited]
    basis += f", slowed by {', '.join(slow)}" if slow else ""
    return basis + ("; the student's time comes on top" if config.rung[0].student else "")


def _ladder_lines(row: dict[str, Any]) -> list[str]:
    bar = "the last word" if row["bar"] is None else f"accepts at {row['bar']:.2f}"
    head = f"  {row['name']:<12} {row['who']:<16} {bar}"
    if "calls_at_most" not in row:
        return [head]
    each = row["answers_at_most"] // row["calls_at_most"]
    low, high = row["questions"]
    line = f"{low:,.0f} to {high:,.0f} questions" if low < high else many(round(high), "question")
    if row["parts"] > 1:
        line += f" (long texts are asked about in parts, {row['parts']:.2g} a text)"
    if each > 1 and not row["tokens_from"].startswith("measured"):
        line += f", up to {row['calls_at_most']:,} × {each} = {row['answers_at_most']:,} answers ({VOTES})"
    line += f"; {row['tokens_each']:,.0f} tokens each, {row['tokens_shared']:,.0f} of them "
    line += f"the same for all ({row['tokens_from']})"
    if row["unpriced"]:
        line += "; price not known"
    else:
        line += f"; {_between(*map(_dollars, row['usd']))}" if row["usd"][1] or row["usd_at_most"] else "; no charge"
    if row["seconds"][1]:
        line += f"; {_between(*map(span, row['seconds']))}"
    return [head, f"  {'':<12} {line}"]


def _tried(config: Config, body: dict[str, Any], tried: Piloted) -> list[str]:
    """What the pilot showed."""
    from agent.cli import hour

    lines = [f"the pilot: {many(tried.items, 'random item')}"]
    if tried.paused:
        lines.append(f"  it was cut short: {tried.paused}")
    if tried.out:
        batch = "tutelage run --batch  reads their answers"
        lines.append(f"  {many(tried.out, 'question')} not put, being out in batch files: {batch}")
    for name, one in tried.machines.items():
        lines += [
            f"  {name:<12} {line}" if number == 0 else f"  {'':<12} {line}" for number, line in enumerate(_one(one))
        ]
    return [*lines, *hour.reached(config, body, tried)]


def _one(one: Measured) -> list[str]:
    from agent.cli.hour import stands

    if one.why:
        return [f"not asked: {one.why}"]
    if not one.answered:
        return ["no answer: see  tutelage doctor"]
    cached = f" ({one.tokens_cached / one.tokens_in:.0%} of them from the cache)" if one.tokens_cached else ""
    first = f"{one.tokens_in:,.0f} tokens in{cached}, {one.tokens_out:,.0f} out" if one.tokens_in else "asked"
    first += f", ${one.usd:.6f} a question" if one.usd else ""
    first += f", {one.pace:,.1f} answers/s" if one.pace else ""
    readable = 1 - (one.unread + one.failed) / max(one.asked, 1)
    lines = [first, f"{readable:.0%} answered readably" + (f", {one.failed:,} failed" if one.failed else "")]
    if one.same[1]:
        lines[1] += f"; asked again in another order: the same in {one.same[0]:,} of {one.same[1]:,}"
    for other, (agreed, of) in one.with_others.items():
        lines[1] += f"; agrees with {other} in {agreed:,} of {of:,}"
    shares = sorted(one.shares.items(), key=lambda pair: -pair[1])
    lines.append("says " + ", ".join(f"{label} {share:.0%}" for label, share in shares[:8]))
    if one.right[1]:
        lines.append(f"right in {one.right[0]:,} of {one.right[1]:,} by people ({one.low:.0%} to {one.high:.0%})")
    if one.stands:
        lines.append(stands(one.stands))
    return lines
