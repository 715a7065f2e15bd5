"""What is worth saying as a run begins: keys that are not set, rows set aside, items that left the pool, odd gold.

Reads settings, ledger and pool; asks nobody and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.cli.house import many

if TYPE_CHECKING:
    from agent.config import Config, Rung
    from agent.pool import Pool
    from agent.store import Store
    from agent.types import SetAside, Value

FIRST = 3
"""How many rows or labels are named in one line."""


def unset_key(rung: Rung) -> tuple[str, str] | None:
    """What is amiss with this rung's key, and the mend; None where all is well.

    A server on this machine or a private network needs no key, unless its rung names a variable.
    """
    from agent.oracles import _keys

    if not hasattr(rung.settings, "api_key_env"):
        return None
    return _keys.lacking(addresses(rung), rung.settings.api_key_env)


def addresses(rung: Rung) -> tuple[str, ...]:
    """Where a rung sends to; none where it sends nothing."""
    url = getattr(rung.settings, "base_url", ())
    return (url,) if isinstance(url, str) else tuple(url)


def keys(config: Config) -> list[str]:
    """One line a rung whose key is not set."""
    return [f"rung {rung.name}: {': '.join(amiss)}" for rung in config.rung if (amiss := unset_key(rung))]


def table_prices(config: Config) -> list[str]:
    """One line a rung whose price is taken from the table that ships, for nobody has told it."""
    from agent.oracles import _prices

    lines = []
    for rung in config.rung:
        at = rung.settings
        if not hasattr(at, "usd_per_mtok_in"):
            continue
        price = _prices.price_of(at.model, addresses(rung), at.usd_per_mtok_in, at.usd_per_mtok_out)
        if price is not None and price.as_of:
            lines.append(
                f"price of {at.model}: ${price.usd_in:g} in, ${price.usd_out:g} out per million tokens, "
                f"as of {price.as_of} (prices.toml); --price changes it"
            )
    return lines


def sent_to(config: Config) -> dict[str, tuple[str, ...]]:
    """Rung -> hosts outside this machine that it sends texts to, as far as its settings tell."""
    from agent import egress
    from agent.loop import private
    from agent.types import Traits

    told = {r.name: private.hosts(r, Traits(r.name, {})) for r in config.rung if r.oracle and not r.person}
    outside = {name: tuple(h for h in hosts if egress.place(h) != "here") for name, hosts in told.items()}
    return {name: hosts for name, hosts in outside.items() if hosts}


def leaving(config: Config, sent_to: Mapping[str, Sequence[str]]) -> list[str]:
    """Where texts go, and what of them is covered: one line, none where no text leaves this machine."""
    hosts = dict.fromkeys(host or "an unnamed place" for found in sent_to.values() for host in found or ("",))
    if not hosts:
        return []
    covered = f", with {', '.join(config.privacy.mask)} covered" if config.privacy.mask else ""
    limit = "" if config.privacy.egress is not None else " (privacy.egress limits where they may go)"
    return [f"texts leave this machine to {', '.join(hosts)}{covered}{limit}"]


def untaught(config: Config) -> list[str]:
    """One line about the rungs whose answers the student does not learn from."""
    rungs = [rung.name for rung in config.rung if getattr(rung.settings, "may_train_student", True) is False]
    if not rungs or config.rung[0].student is None:
        return []
    return [f"the student learns nothing from {', '.join(rungs)} (may_train_student = false)"]


def listed(rows: Sequence[SetAside], count: int) -> str:
    """The first of `count` rows that were set aside, with file, row and reason, in one line."""
    shown = "; ".join(f"{row.file}, row {row.row}: {row.reason}" for row in rows[:FIRST])
    return shown + (f"; and {count - FIRST:,} more" if count > FIRST else "")


def left(gone: int, changed: int) -> list[str]:
    """What the pool file lost since it was taken in: one line each."""
    lines = []
    if gone:
        are = "is" if gone == 1 else "are"
        stay = "it stays" if gone == 1 else "they stay"
        lines.append(f"{many(gone, 'item')} {are} in the run and not in the pool file any more; {stay}")
    if changed:
        has, keep = ("row has", "that text stays") if changed == 1 else ("rows have", "those texts stay")
        lines.append(f"{changed:,} {has} an id that is in the run with another text; {keep}")
    return lines


def strangers(golds: Iterable[Value | None], labels: Iterable[str]) -> tuple[int, Counter[str]]:
    """How many items have a known label that the task has not, and which labels those are."""
    known, unknown, items = set(labels), Counter[str](), 0
    for value in golds:
        names = () if value is None else (value,) if isinstance(value, str) else value
        odd = [name for name in names if name not in known]
        unknown.update(odd)
        items += bool(odd)
    return items, unknown


def named(unknown: Counter[str], first: int = FIRST) -> str:
    """Labels with their counts, commonest first."""
    shown = ", ".join(f"{name[:60]!r} ({count:,})" for name, count in unknown.most_common(first))
    return shown + (f" and {len(unknown) - first:,} more" if len(unknown) > first else "")


def notes(config: Config, store: Store, pool: Pool, numbers: Mapping[str, Any]) -> list[str]:
    """One line each about the pool that was just taken in. `numbers`: of the loop's event "intake"."""
    lines = [*leaving(config, numbers.get("sent_to", {})), *untaught(config)]
    first = numbers.get("first")
    aside = store.set_aside() if first is None else first
    if count := len(aside) if first is None else int(numbers["set_aside"]):
        lines.append(f"{many(count, 'row')} set aside: {listed(aside, count)} (`tutelage doctor` lists them)")
    lines += left(int(numbers.get("gone", 0)), int(numbers.get("changed", 0)))
    if config.pool.gold:
        items, unknown = strangers(pool.gold(), config.task.labels)
        if items:
            have = "item has a known label" if items == 1 else "items have known labels"
            lines.append(f"{items:,} {have} not in task.labels: {named(unknown)} (`tutelage doctor` names the rows)")
    return lines
