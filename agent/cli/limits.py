"""What a run may take and at what prices: the options that say so, read and checked. Starts nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from agent.errors import UserError

if TYPE_CHECKING:
    from agent.config import Config, Rung
    from agent.types import Budget

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


def dollars(text: str) -> float | None:
    """Dollars; None for "none".

    Raises:
        UserError: neither.
    """
    if text.lower() == "none":
        return None
    try:
        usd = float(text.removeprefix("$"))
    except ValueError:
        usd = -1.0
    if not 0 <= usd < float("inf"):
        raise UserError(f"--budget {text}: write dollars, as in --budget 5, or none for no limit")
    return usd


def count(option: str, text: str) -> int | None:
    """A whole number, as in 1500, 500k, 2M or 1.5M; None for "none".

    Raises:
        UserError: neither.
    """
    if text.lower() == "none":
        return None
    found = re.fullmatch(r"(\d[\d_,]*(?:\.\d+)?)\s*([kmgb]?)", text.strip(), re.IGNORECASE)
    number = float(re.sub("[_,]", "", found[1])) * UNITS[found[2].lower()] if found else 0.5
    if number != int(number):
        raise UserError(f"{option} {text}: write a whole number, as in {option} 2M or {option} 500k, or none")
    return int(number)


def budget(config: Config, usd: str | None, tokens: str | None, calls: str | None) -> Budget:
    """What the options say; where they say nothing, what the configuration says."""
    from agent.types import Budget

    told = config.goal.budget
    return Budget(
        told.usd if usd is None else dollars(usd),
        told.tokens if tokens is None else count("--budget-tokens", tokens),
        told.calls if calls is None else count("--budget-calls", calls),
    )


def left(config: Config) -> Budget:
    """What the configuration's budget still bears, by the ledger where there is one."""
    from agent.cli.figures import opened
    from agent.errors import TutelageError
    from agent.types import Budget

    whole = config.goal.budget
    if whole == Budget():
        return whole
    try:
        with opened(config) as store:
            total = store.spend().total
    except TutelageError:
        return whole
    return Budget(
        None if whole.usd is None else max(whole.usd - total.usd - total.reserved, 0.0),
        None if whole.tokens is None else max(whole.tokens - total.tokens - total.held_tokens, 0),
        None if whole.calls is None else max(whole.calls - total.requests - total.held_requests, 0),
    )


def agree(words: str, yes: bool, silent: bool) -> None:
    """Goes on when whoever pays has agreed to what `words` say. `silent`: nobody reads questions here.

    Raises:
        UserError: there is nobody to be asked.
    """
    if yes:
        return
    if silent or not sys.stdin.isatty():
        raise UserError(f"{words}: add --yes to spend it")
    click.confirm("go on?", abort=True, err=True)


def prices(config: Config, given: Sequence[str]) -> list[str]:
    """`--price IN,OUT` or `--price NAME=IN,OUT` as settings of the rungs that are meant, in the form of `--set`.

    Raises:
        UserError: not written so, or no rung (or more than one) that could be meant.
    """
    out: list[str] = []
    for text in given:
        name, _, pair = text.rpartition("=")
        found = re.fullmatch(r"\$?(\d*\.?\d+),\s*\$?(\d*\.?\d+)", pair.strip())
        if found is None:
            raise UserError(f"--price {text}: write dollars per million tokens in and out, as in --price 0.15,0.60")
        rung = _meant(config, name.strip(), text)
        out += [f"rung.{rung}.usd_per_mtok_in={float(found[1])}", f"rung.{rung}.usd_per_mtok_out={float(found[2])}"]
    return out


def _meant(config: Config, name: str, text: str) -> str:
    """The rung whose price it is."""
    priced = [rung.name for rung in config.rung if _has_price(rung)]
    if not name and len(priced) == 1:
        return priced[0]
    if name in priced:
        return name
    if not priced:
        raise UserError(f"--price {text}: no rung of this ladder has a price by tokens: leave it out")
    each = " ".join(f"--price {rung}=IN,OUT" for rung in priced)
    what = f"there is no rung {name!r} with a price" if name else "several rungs have a price"
    raise UserError(f"--price {text}: {what}: name the rung, as in {each}")


def _has_price(rung: Rung) -> bool:
    return hasattr(rung.settings, "usd_per_mtok_in")
