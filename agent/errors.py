"""The error tree. Each message names the value to change and how to mend it.

TutelageError
├── UserError                     exit 2   a bad input or configuration; the message says which and the mend
│   ├── ConfigError                        tutelage.toml or --set: unknown key, wrong type, contradiction
│   ├── DataError                          pool file: missing, unreadable, unknown column, empty
│   ├── PluginError                        a name that no module, function or entry point answers to
│   └── MissingExtra                       an optional package is absent; names the pip command
├── Pause                         exit 3   the run stops in order and can be resumed
│   ├── BudgetSpent                        the next call does not fit in the budget
│   ├── EndpointDown                       no answer any more: refused, breaker open, quota, key refused
│   └── StoreFull                          no space left for the ledger
├── Unparsable                             an answer that is not one of the options (never leaves `ask`)
├── CallFailed                             one call that will not get better by asking again
├── Transient                              one attempt that failed; asking again may mend it (429, 503, time-out)
└── Damaged                       exit 1   the ledger or a certificate does not verify
"""

from __future__ import annotations

from typing import NamedTuple


class TutelageError(Exception):
    """Anything this package raises on purpose."""


class Took(NamedTuple):
    """The most that an attempt which came to nothing has taken: US dollars, tokens (in and out), requests that left."""

    usd: float = 0.0
    tokens: int = 0
    requests: int = 0


class UserError(TutelageError):
    """A bad input or configuration."""


class ConfigError(UserError):
    """tutelage.toml says something that cannot be done."""


class DataError(UserError):
    """The pool cannot be read as told."""


class PluginError(UserError):
    """No module, function or entry point of that name."""


class MissingExtra(UserError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, why: str) -> None:
        super().__init__(f"{why} needs the package {package!r}: pip install 'tutelage[{extra}]'")


class Pause(TutelageError):
    """The run stops in order; running again goes on."""


class BudgetSpent(Pause):
    """The next call does not fit in what is left of the budget."""


class EndpointDown(Pause):
    """The endpoint does not answer, or refuses us for good.

    `billed` says whether the engine may have charged for the attempt: a part of it had been answered. `sent` says
    whether anything left; `took` what it took, where that is known.
    """

    def __init__(self, message: str, billed: bool = False, sent: bool = True) -> None:
        super().__init__(message)
        self.billed = billed
        self.sent = sent
        self.took: Took | None = None


class StoreFull(Pause):
    """There is no space left for the ledger."""


class Unparsable(TutelageError):
    """An answer that is none of the options."""


class CallFailed(TutelageError):
    """A call that asking again does not mend (too long, refused, malformed).

    `billed` says whether the engine may have charged for it; `took` what it took, where that is known.
    """

    def __init__(self, message: str, billed: bool = True) -> None:
        super().__init__(message)
        self.billed = billed
        self.took: Took | None = None


class Transient(TutelageError):
    """A call that may succeed when asked again.

    `after` is the least number of seconds to wait (Retry-After), `billed` says whether the engine may have
    charged for the attempt (a time-out: yes; a 429: no). `sent` says whether anything was sent: where nobody takes the
    connection, or every address is left alone for a while, nothing is, and that is no attempt. `gone`: nobody takes a
    connection at any address. `took`: what it took, where that is known.
    """

    def __init__(self, message: str, after: float | None = None, billed: bool = False, sent: bool = True) -> None:
        super().__init__(message)
        self.after = after
        self.gone = False
        self.billed = billed
        self.sent = sent
        self.took: Took | None = None


class Damaged(TutelageError):
    """The ledger or a certificate does not verify."""
