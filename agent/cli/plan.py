"""`tutelage plan`: what a run would do and could cost at most, one prompt to look at. Asks nobody, spends nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import Common, common, many

if TYPE_CHECKING:
    from agent.config import Config, Rung
    from agent.types import Item, Kind, Layout, Prompt, Task

LOOK = 25
"""Items that are rendered to estimate tokens and prices, spread over the pool."""
VOTES = "votes are counted unless the server gives log-probabilities"
CHARS_A_TOKEN = 4.0
"""A rough number for English; other languages take more tokens."""


@click.command()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N items of the pool.")
@common
def plan(common: Common, limit: int | None) -> None:
    """Show what a run would do, without spending: the ladder, one rendered prompt, money at worst, people's time.

    \b
    Example:
      tutelage plan
      tutelage plan --limit 1000 --json
    """
    show(common, limit)


@dataclass(frozen=True)
class Cost:
    """What a machine rung would be sent for every item, at the most. `answers`: more than `calls` where votes count."""

    name: str
    bar: float
    calls: int
    answers: int
    tokens: int
    usd: float
    template: str
    prompt: str


def show(common: Common, limit: int | None) -> None:
    """Print the plan; `tutelage run --dry-run` is this, too."""
    from agent import config as settings
    from agent.loop.people import split

    config = common.config()
    items, total, aside = _items(config, limit)
    task, kind, layout = settings.the_task(config), settings.kind(config), settings.layout(config)
    costs = {
        rung.name: _cost(config, rung, task, kind, layout, items, total)
        for rung in config.rung
        if rung.oracle and not rung.person
    }
    person = config.person
    seconds = float(person.settings.seconds) if person else 0.0
    share = split(config.goal.person_minutes, seconds, config.goal.pilot, config.goal.audit, total)
    repairs = min(share.escalations, total - share.pilot - share.audit)
    worst = sum(cost.usd for cost in costs.values())
    people = {
        "questions": share.pilot + share.audit + repairs,
        "pilot": share.pilot,
        "audit": share.audit,
        "escalations": repairs,
        "minutes": round((share.pilot + share.audit + repairs) * seconds / 60, 1),
        "certifies_from": _certifies_from(config, total - share.pilot - repairs, share.audit),
    }
    ladder = [_rung_row(config, rung, costs.get(rung.name)) for rung in config.rung]
    body = {
        "items": total,
        "set_aside": aside,
        "labels": list(task.labels),
        "ladder": ladder,
        "worst_usd": round(worst, 4),
        "budget_usd": config.goal.budget_usd,
        "people": people,
        "prompts": {name: cost.prompt for name, cost in costs.items()},
    }
    common.show(body, _text(config, body, list(costs.values())) + f"\nnext: tutelage run{common.flags}")


def _certifies_from(config: Config, machine: int, audit: int) -> float | None:
    """How many of the machines' labels must be right for the audit to reach the goal, four times in five."""
    from agent.certify import accuracy_needed

    if not 0 < audit <= machine:
        return None
    return accuracy_needed(machine, audit, config.goal.accuracy, config.goal.delta)


def _items(config: Config, limit: int | None) -> tuple[list[Item], int, int]:
    """Some items spread over the pool, how many there are, how many rows are none."""
    from agent import data
    from agent.errors import UserError
    from agent.loop.ground import source

    if config.pool.path == "-":
        raise UserError("a plan looks at the pool, and standard input can be read only once: put it into a file")
    every: list[Item] = []
    total = aside = 0
    step = 1
    for batch in data.read(source(config)):
        for row in batch:
            if not isinstance(row, data.Entry):
                aside += 1
            elif limit is None or total < limit:
                if total % step == 0:
                    every.append(row.item)
                total += 1
                if len(every) > 2 * LOOK:
                    every, step = every[::2], step * 2
    if not total:
        raise UserError(f"{config.pool.path}: no row can be labeled; `tutelage doctor` says why each was set aside")
    return every[:LOOK], total, aside


def _cost(config: Config, rung: Rung, task: Task, kind: Kind, layout: Layout, items: list[Item], total: int) -> Cost:
    """The most this rung can cost: every item, every sample. Examples chosen from the pilot are not there yet."""
    from agent import plugins, prompt
    from agent.types import Context, Oracle

    plugin = plugins.load("oracles", str(rung.oracle))
    oracle: Oracle = plugin.build(rung.settings, Context(task, layout, config.run.seed, str(config.folder / "cache")))
    traits = oracle.traits
    recipe = prompt.recipe(task, task.kind, traits, task.examples)
    prompts: list[Prompt] = [
        prompt.render(task, kind.question(task, item, 0), traits, recipe, 0, task.examples) for item in items
    ]
    calls = total * rung.samples
    asked = calls * _rounds(rung.settings, prompts[0])
    chars = sum(len(m.content) for p in prompts for m in p.messages) / len(prompts)
    usd = sum(oracle.most(p).usd for p in prompts) / len(prompts) * calls
    shown = "\n".join(f"[{m.role}]\n{m.content}" for m in prompts[0].messages)
    bar = config.goal.accuracy if rung.bar is None else rung.bar
    return Cost(rung.name, bar, calls, asked, round(chars / CHARS_A_TOKEN * asked), usd, traits.template, shown)


def _rounds(settings: Any, prompt: Prompt) -> int:
    """Answers a question may take at the most: with votes where it is not known that log-probabilities come."""
    votes = getattr(settings, "votes", None)
    wanted = getattr(settings, "logprobs", None)
    if not isinstance(votes, int) or wanted not in ("auto", "no") or prompt.question.many:
        return 1
    return 1 + votes if wanted == "auto" else votes


def _rung_row(config: Config, rung: Rung, cost: Cost | None) -> dict[str, Any]:
    who = "people" if rung.person else f"student {rung.student}" if rung.student else f"oracle {rung.oracle}"
    bar = None if rung.person else config.goal.accuracy if rung.bar is None else rung.bar
    row: dict[str, Any] = {"name": rung.name, "who": who, "bar": bar, "samples": rung.samples, "shots": rung.shots}
    if cost is not None:
        row |= {"calls_at_most": cost.calls, "answers_at_most": cost.answers}
        row |= {"tokens_at_most": cost.tokens, "usd_at_most": round(cost.usd, 4)}
    return row


def _reach(config: Config, needed: float | None) -> str:
    """What the audit can prove, in words."""
    goal = f"{100 * config.goal.accuracy:g} %"
    if needed is None:
        return f"this audit is too small to certify {goal}, whatever the labels: give more person_minutes or goal.audit"
    return (
        f"to certify {goal} four times in five, {math.ceil(1000 * needed) / 10:.1f} % of the machines' labels must be "
        "what people say; where people disagree with one another as often as that, it is out of reach"
    )


def _text(config: Config, body: dict[str, Any], costs: list[Cost]) -> str:
    aside = f" ({many(body['set_aside'], 'row')} set aside)" if body["set_aside"] else ""
    lines = [
        f"{many(body['items'], 'item')}{aside}, {many(len(body['labels']), 'label')}: {', '.join(body['labels'])}",
        "",
        "the ladder",
    ]
    for row in body["ladder"]:
        bar = "the last word" if row["bar"] is None else f"accepts at {row['bar']:.2f}"
        calls = ""
        if "calls_at_most" in row:
            each = row["answers_at_most"] // row["calls_at_most"]
            calls = f"; at most {many(row['calls_at_most'], 'question')}"
            if each > 1:
                calls += f", up to {row['calls_at_most']:,} × {each} = {row['answers_at_most']:,} answers ({VOTES})"
            calls += f", about {row['tokens_at_most']:,} tokens"
            calls += f", ${row['usd_at_most']:,.2f}" if row["usd_at_most"] else ", no charge"
        lines.append(f"  {row['name']:<12} {row['who']:<16} {bar}{calls}")
    budget = config.goal.budget_usd
    limit = "no limit is set (goal.budget_usd)" if budget is None else f"the budget stops it at ${budget:,.2f}"
    lines += ["", f"money: at worst, every item to every machine: ${body['worst_usd']:,.2f}; {limit}"]
    people = body["people"]
    if config.person is not None:
        lines.append(
            f"people: at most {many(people['questions'], 'question')} in {people['minutes']:g} minutes: "
            f"{people['pilot']:,} pilot (teach and calibrate), {people['audit']:,} audit (measure), "
            f"{many(people['escalations'], 'escalation')} (repair)"
        )
        lines.append(_reach(config, people["certifies_from"]))
    else:
        lines.append('people: none, so nothing can be measured or certified: add a rung with oracle = "person"')
    if any(row["shots"] for row in body["ladder"]):
        lines.append("examples from the pilot (shots) are not in these numbers yet: they are not known before it")
    for cost in costs:
        lines += ["", f"what {cost.name} is sent about the first item (template {cost.template}):"]
        lines += [f"  | {line}" for line in cost.prompt.splitlines()]
    return "\n".join(lines)
