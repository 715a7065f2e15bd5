"""What the settings of all oracles behind an address have in common: their checks, and what the house must know.

Knows no wire, no prompt, no answer.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from agent.oracles import Readout, _endpoints, nearness
from agent.types import Traits


class Reach(Protocol):
    """The keys that such settings share."""

    @property
    def model(self) -> str: ...
    @property
    def base_url(self) -> str | tuple[str, ...]: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def requests_per_minute(self) -> int | None: ...
    @property
    def tokens_per_minute(self) -> int | None: ...
    @property
    def usd_per_mtok_in(self) -> float | None: ...
    @property
    def usd_per_mtok_out(self) -> float | None: ...
    @property
    def deadline(self) -> float: ...
    @property
    def template(self) -> str: ...
    @property
    def max_chars(self) -> int: ...
    @property
    def may_train_student(self) -> bool: ...
    @property
    def recipe(self) -> dict[str, str]: ...


def check(at: Reach) -> None:
    """Complain of values that cannot be.

    Raises:
        ValueError: says which and the mend.
    """
    if not at.model.strip():
        raise ValueError("model is empty: write the name under which the server knows it")
    _endpoints.check(at.base_url)
    for name, value in {"in_flight": at.in_flight, "deadline": at.deadline, "max_chars": at.max_chars}.items():
        if not value > 0:
            raise ValueError(f"{name} must be more than 0")
    limits = {"requests_per_minute": at.requests_per_minute, "tokens_per_minute": at.tokens_per_minute}
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise ValueError(f"{name} must be more than 0, or left out where there is no limit")
    if min(at.usd_per_mtok_in or 0.0, at.usd_per_mtok_out or 0.0) < 0:
        raise ValueError("a price cannot be less than 0")


def urls(at: Reach) -> tuple[str, ...]:
    """All addresses."""
    return (at.base_url,) if isinstance(at.base_url, str) else at.base_url


def traits(at: Reach, readout: Readout = "codes", others: tuple[str, ...] = ()) -> Traits:
    """What the house must know of an oracle with these settings."""
    return Traits(
        annotator=at.model,
        recipe=at.recipe,
        template=at.template,
        readout=readout,
        others=others,
        in_flight=at.in_flight,
        local=nearness(urls(at)) == "here",
        may_train_student=at.may_train_student,
        hosts=tuple(dict.fromkeys(urlsplit(url).hostname or "" for url in urls(at))),
        requests_per_minute=at.requests_per_minute,
        tokens_per_minute=at.tokens_per_minute,
        deadline_s=at.deadline,
    )
