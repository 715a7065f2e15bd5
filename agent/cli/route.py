"""`tutelage route`: the price list, and why an item is or is not put to somebody. Asks nobody and changes nothing."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import Common, common
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.loop.ground import Ground

NEAR = 20_000
"""Ids that are looked through for one like the one that was named."""
SHORTEST = 6
"""Characters of an item's id that tell it from others."""


@click.command()
@click.option("--explain", "which", metavar="ITEM", help="One item, by its id, your own id or its row in the pool.")
@common
def route(common: Common, which: str | None) -> None:
    """Show what answers cost and what a wrong label is worth; with --explain why an item is asked about or not.

    \b
    Example:
      tutelage route
      tutelage route --explain ticket-17
    """
    from agent.cli.figures import opened
    from agent.loop import explain

    config = common.config()
    with opened(config, common.flags):
        pass  # says so where there is no run yet
    look = explain.Look(config)
    try:
        found = explain.prices(look)
        if which is not None:
            found |= {"explained": explain.item(look, find(look.ground, which))}
    finally:
        look.close()
    common.show(found, explained(found["explained"]) if which is not None else table(found))


def find(ground: Ground, which: str) -> int:
    """The number of the item that is meant: by the user's own id, by its id or the beginning of it, by its row.

    Raises:
        UserError: there is none, or there are several.
    """
    ids, names = ground.pool.ids[: ground.n], ground.store.names()[: ground.n]
    found = [i for i, name in enumerate(names) if name == which]
    found = found or [i for i, one in enumerate(ids) if one == which]
    if not found and len(which) >= SHORTEST:
        found = [i for i, one in enumerate(ids) if one.startswith(which)]
    if not found and which.isdecimal():
        found = [i for i in ground.pool.at_row(int(which)) if i < ground.n]
    if len(found) == 1:
        return found[0]
    if found:
        many = ", ".join(ids[i][:16] for i in found[:3])
        raise UserError(f"--explain {which} means {len(found):,} items; name one of them by its id: {many}")
    own = [name for name in names[:NEAR] if name is not None]
    near = get_close_matches(which, own, 1)
    hint = f"did you mean {near[0]}?" if near else f"ids are like {(own or ids)[0]}"
    raise UserError(
        f"--explain {which}: there is no such item; it is none of your ids, no id of an item and no row of the pool; "
        f"{hint}"
    )


def table(found: Mapping[str, Any]) -> str:
    """The price list as text."""
    from agent.loop.explain import usd

    head = ("rung", "an answer costs", "from", "answers", "settles", "would be asked")
    rows = [
        (r["rung"], usd(r["usd"]), r["from"], "" if r["answers"] is None else f"{r['answers']:,}", f"{r['settles']:,}",
         "" if r["answers"] is None else f"{r['would_be_asked']:,}")
        for r in found["rungs"]
    ]  # fmt: skip
    return "\n".join([*_columns([head, *rows], (1, 3, 4, 5)), "", *_sums(found)])


def _columns(rows: Sequence[tuple[str, ...]], right: Container[int]) -> list[str]:
    """Rows in columns, those numbered `right` set to the right."""
    wide = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]

    def cell(k: int, text: str) -> str:
        return f"{text:>{wide[k]}}" if k in right else f"{text:<{wide[k]}}"

    return ["  ".join(cell(k, text) for k, text in enumerate(row)).rstrip() for row in rows]


def _sums(found: Mapping[str, Any]) -> list[str]:
    from agent.loop.explain import usd

    n = found["items"]
    now = f"as the labels stand {found['expected_wrong_now']:,.0f} of {n:,} are expected to be wrong"
    if "one_wrong_label_usd" not in found:
        return [
            now,
            "it is not known yet what answers are worth: a rung settles what reaches its bar, as docs/deciding.md says",
        ]
    worth = usd(found["one_wrong_label_usd"])
    lines = [now, f"one wrong label is worth {worth}" + ", for enough was asked" * (found["one_wrong_label_usd"] == 0)]
    end, may = found["expected_wrong"], max(found["may_be_wrong"], 0)
    verdict = (
        "which the plan bears" if found["reached"] else "more than it bears: minutes or money bind, or nobody is left"
    )
    lines.append(f"with all that is worth its price asked: {end:,.0f} expected wrong, of {may:,.0f} planned; {verdict}")
    still = f"that takes {found['people_expected']:,.0f} more answers of people"
    lines.append(f"{still} ({found['people_left']:,} are left) and {usd(found['machines_usd_expected'])} to machines")
    return lines


def explained(one: Mapping[str, Any]) -> str:
    """An item's explanation as text: who said what, what is believed, what each action comes to, the decision."""
    from agent.loop.explain import share, usd

    named = f"{one['id']} ({one['item'][:16]})" if one["id"] else one["item"]
    lines = [f"item {named}"]
    for said in one["said"]:
        sure = "" if said["sure"] is None else f", {share(said['sure'])} sure"
        several = f", the mean of {said['answers']:,} answers" if said.get("answers", 1) > 1 else ""
        label = "could not tell" if said["label"] is None else f"says {label_of(said['label'])}{sure}{several}"
        lines.append(f"  {said['annotator']} {label}")
    lines.append(f"  believed: {label_of(one['believed'])}, wrong with a chance of {share(one['chance_wrong'])}")
    if one["actions"]:
        head = ("action", "costs", "then wrong", "with what follows", "wrong in the end", "all told")
        rows = [
            (a["action"], usd(a["usd"]), share(a["error_after"]), usd(a["usd_in_all"]), share(a["error_in_the_end"]),
             "barred" if a["barred"] else usd(a["total_usd"]))
            for a in one["actions"]
        ]  # fmt: skip
        lines += ["", *_columns([head, *rows], range(1, 6)), ""]
    return "\n".join([*lines, one["why"]])


def label_of(value: object) -> str:
    """A label in a sentence; several joined by |, as in exports."""
    return "|".join(map(str, value)) or "none of them" if isinstance(value, list | tuple) else str(value)
