"""Several addresses of one model: which is asked next, and which is left alone for a while. Knows no request's content.

The one with the fewest requests in flight is asked; a question that failed at one goes to another next. So many
failures in a row and an address is parked, twice as long each time; then one real question tries it, never a health
page, which may be well while the engine is dead. Retry-After parks only the address that said so. One that refuses us
for good (key, credit, model) is put aside while others work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from agent.errors import EndpointDown, Transient, TutelageError
from agent.oracles import _faults

log = logging.getLogger("tutelage")

STRIKES = 5
"""Failures in a row after which an address is parked."""

FIRST, LONGEST, KNOCK = 1.0, 60.0, 4.0
"""Seconds an address is parked: at first, at most, and at most where it takes no connection."""


def check(base_url: str | Sequence[str]) -> None:
    """Complain of what cannot be an address, or holds a secret.

    Raises:
        ValueError: says which and the mend.
    """
    urls = (base_url,) if isinstance(base_url, str) else tuple(base_url)
    if not urls or len(set(urls)) < len(urls):
        raise ValueError("base_url names no address, or one of them twice")
    for number, url in enumerate(urls, 1):
        parts, which = urlsplit(url), "base_url" if len(urls) == 1 else f"address {number} of base_url"
        if not url.strip():
            raise ValueError(f'{which} is empty: write it, as in "http://127.0.0.1:8000/v1", or leave it out')
        if parts.scheme not in ("http", "https") or not parts.hostname or url != url.strip():
            raise ValueError(f'{which} must be an address and nothing else, as in "http://127.0.0.1:8000/v1"')
        if parts.username or parts.password:
            raise ValueError(f"{which} must hold no password: put the key into the variable that api_key_env names")
        if parts.query or parts.fragment:
            raise ValueError(f"{which} must end with its path: leave out what stands from ? or # on")


@dataclass(slots=True, eq=False)
class Endpoint:
    """One address. `known`: it has answered, well or not; `era` counts its parkings; `refused`: why it is put aside;
    `gone`: it took no connection the last time; `good`: it has answered as a server of models does; `pages`: the
    questions to which it sent a page."""

    url: str
    known: bool = False
    flying: int = 0
    served: int = 0
    strikes: int = 0
    pause: float = FIRST
    until: float = 0.0
    tripped: bool = False
    trying: bool = False
    era: int = 0
    refused: str = ""
    last: str = ""
    gone: bool = False
    good: bool = False
    pages: set[str] = field(default_factory=set)

    @property
    def where(self) -> str:
        """The address, fit to be shown."""
        return _faults.where(self.url)


class Endpoints:
    """The addresses of one model. Each `take` is followed by one of `worked`, `failed` and `dropped`."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.all = [Endpoint(url.rstrip("/")) for url in urls]
        self._waiting: list[asyncio.Future[None]] = []
        self._been: dict[str, set[Endpoint]] = {}  # question -> where it failed, of several addresses

    def forget(self) -> None:
        """Nobody is parked or put aside any more."""
        self.all = [Endpoint(place.url, known=place.known) for place in self.all]
        self._been.clear()

    async def take(self, about: str = "") -> Endpoint:
        """An address to ask now, another than where the question `about` failed; where the only hope is one that is
        being tried, wait for how that ends.

        Raises:
            Transient: all are parked; `after` says how long the first of them will be.
            EndpointDown: all have refused us for good, or were never there.
        """
        while True:
            now = time.monotonic()
            free = [e for e in self.all if not (e.refused or e.until > now or (e.tripped and e.trying))]
            if free:
                been = self._been.get(about, ())
                chosen = free[0] if len(free) == 1 else min(free, key=lambda e: (e in been, e.flying, e.served))
                chosen.flying += 1
                chosen.served += 1
                chosen.trying = chosen.tripped
                return chosen
            if not any(e.trying for e in self.all):
                raise self._none(now)
            verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(verdict)
            await verdict

    def _none(self, now: float) -> TutelageError:
        parked = [e for e in self.all if not e.refused]
        if not any(e.known for e in parked):
            return EndpointDown("; ".join(e.refused or e.last for e in self.all), sent=False)
        soonest = min(parked, key=lambda e: e.until)
        wait = max(soonest.until - now, 0.0)
        if self._gone():
            return self._nobody(wait)
        return Transient(f"{soonest.where} is left alone for {wait:.0f} s: {soonest.last}", after=wait, sent=False)

    def _gone(self) -> bool:
        return all(e.gone or e.refused for e in self.all)

    def _nobody(self, after: float | None) -> Transient:
        error = Transient(f"no server answers at {', '.join(e.where for e in self.all)}", after=after, sent=False)
        error.gone = True
        return error

    def worked(self, endpoint: Endpoint, about: str = "") -> None:
        """It answered as it should, or refused a question that is not good."""
        self._been.pop(about, None)
        endpoint.gone, endpoint.good = False, True
        if endpoint.tripped and endpoint.trying:
            log.info("%s answers again", endpoint.where)
        if endpoint.tripped or endpoint.strikes:
            endpoint.tripped, endpoint.strikes, endpoint.pause, endpoint.until = False, 0, FIRST, 0.0
        endpoint.known = True
        self._land(endpoint)

    def failed(
        self, endpoint: Endpoint, era: int, error: TutelageError, strike: bool = True, about: str = ""
    ) -> TutelageError:
        """It did not answer as it should; what to raise. `era`: that of the endpoint when the request left; `strike`:
        whether this tells of its health."""
        endpoint.last = str(error)
        endpoint.gone = isinstance(error, Transient | EndpointDown) and not error.sent
        if isinstance(error, EndpointDown):
            error = self._put_aside(endpoint, error)
        elif isinstance(error, Transient) and era == endpoint.era:
            if error.after:
                endpoint.until = max(endpoint.until, time.monotonic() + error.after)
            if strike:
                endpoint.strikes += 1
                if endpoint.tripped or endpoint.strikes >= STRIKES:
                    self._park(endpoint)
        self._land(endpoint)
        if isinstance(error, Transient) and len(self.all) > 1:
            error.after = self._next(endpoint, about, error.after)
        if isinstance(error, Transient) and not error.sent and self._gone():
            return self._nobody(error.after)
        return error

    def _next(self, endpoint: Endpoint, about: str, after: float | None) -> float | None:
        """When to ask again: at once where a healthy address has not failed at this question, for nobody has to wait
        for the one that is to be left alone."""
        now, been = time.monotonic(), self._been.setdefault(about, set())
        been.add(endpoint)
        others = [e for e in self.all if e is not endpoint and not (e.refused or e.tripped or e.until > now)]
        if any(e not in been for e in others):
            return 0.0
        self._been[about] = {endpoint}  # all have failed at it: round again, after a while
        return None if others else after

    def dropped(self, endpoint: Endpoint) -> None:
        """The request was given up from our side: it tells nothing."""
        self._land(endpoint)

    def _land(self, endpoint: Endpoint) -> None:
        endpoint.flying -= 1
        if endpoint.trying:
            endpoint.trying = False
            waiting, self._waiting = self._waiting, []
            for verdict in waiting:
                if not verdict.done():
                    verdict.set_result(None)

    def _park(self, endpoint: Endpoint) -> None:
        if not endpoint.tripped and not self._gone():
            log.warning(
                "%s is left alone after %d failures in a row: %s", endpoint.where, endpoint.strikes, endpoint.last
            )
        endpoint.until = max(endpoint.until, time.monotonic() + endpoint.pause)
        endpoint.pause = min(2 * endpoint.pause, KNOCK if endpoint.gone else LONGEST)
        endpoint.tripped, endpoint.era = True, endpoint.era + 1

    def _put_aside(self, endpoint: Endpoint, error: EndpointDown) -> TutelageError:
        """For good where it spoke, for a while where nobody was there; the only address stays as it is."""
        if len(self.all) == 1:
            return error
        if endpoint.known:
            if not endpoint.refused:
                log.warning("put aside: %s", error)
            endpoint.refused = str(error)
        elif not endpoint.tripped:
            endpoint.strikes = 1
            self._park(endpoint)
        else:
            self._park(endpoint)
        if all(e.refused or (e.tripped and not e.known) for e in self.all):
            return EndpointDown("; ".join(e.refused or e.last for e in self.all), sent=error.sent)
        return Transient(f"{error}; another address is asked", after=0.0, sent=error.sent)
