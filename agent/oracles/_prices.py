"""What well-known hosted models cost, from a dated table (`prices.toml`). Knows no account, contract or reseller.

A name is matched whole, or with the date of a snapshot behind it; never by its beginning, for `gpt-4o-audio` is not
`gpt-4o`. A model that another host serves has that host's price, which is not known here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from urllib.parse import urlsplit

from agent.oracles import nearness

SNAPSHOT = re.compile(r"-(20\d\d-\d\d-\d\d|20\d{6})$")
"""The date that a provider puts behind a model's name."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens in, out, and in from the provider's cache; `batch`: what of that a batch costs.

    `as_of`: the day the figures were read ("" for prices of the user's own); `source`: where.
    """

    usd_in: float
    usd_out: float
    usd_cached: float
    as_of: str = ""
    batch: float = 1.0
    source: str = ""

    def bill(self, tokens_in: int, tokens_out: int, cached: int = 0) -> float:
        """US dollars for so many tokens; `cached` of those in came from the cache."""
        fresh = max(tokens_in - cached, 0)
        return (fresh * self.usd_in + (tokens_in - fresh) * self.usd_cached + tokens_out * self.usd_out) / 1e6


FREE = Price(0.0, 0.0, 0.0)


def known(model: str, base_url: str | Sequence[str] = "") -> Price | None:
    """The table's price of a model, or None. With addresses: only if all are the provider's own."""
    table = _table()
    found = table.get(model) or table.get(SNAPSHOT.sub("", model))
    if found is None:
        return None
    price, hosts = found
    urls = (base_url,) if isinstance(base_url, str) else base_url
    asked = [urlsplit(url).hostname or "" for url in urls if url]
    return price if all(any(h == host or h.endswith("." + host) for host in hosts) for h in asked) else None


def price_of(model: str, urls: Sequence[str], usd_in: float | None, usd_out: float | None) -> Price | None:
    """What tokens cost: as the user says, else by the table, else nothing where the servers are near; or None."""
    if usd_in is not None and usd_out is not None:
        return Price(usd_in, usd_out, usd_in)
    found = FREE if nearness(urls) != "far" else known(model, urls)
    if found is None or (usd_in is None and usd_out is None):
        return found
    fresh = found.usd_in if usd_in is None else usd_in
    return Price(fresh, found.usd_out if usd_out is None else usd_out, fresh)


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[Price, tuple[str, ...]]]:
    out: dict[str, tuple[Price, tuple[str, ...]]] = {}
    with (files("agent.oracles") / "prices.toml").open("rb") as file:
        providers = tomllib.load(file)["provider"]
    for provider in providers:
        for name, row in provider["models"].items():
            price = Price(
                float(row["in"]),
                float(row["out"]),
                float(row.get("cached", row["in"])),
                str(row["as_of"]),
                float(provider.get("batch", 1.0)),
                str(provider["source"]),
            )
            out[name] = (price, tuple(provider["hosts"]))
    return out
