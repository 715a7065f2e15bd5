"""What goes wrong on the wire of an OpenAI-compatible server, as our errors. Knows nothing of questions or prompts.

No message quotes a body: an error may repeat the item's text or a part of the key. Only short identifiers are shown.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from agent.errors import CallFailed, EndpointDown, Transient, TutelageError

LONG = re.compile(
    r"context.?length|input_tokens|too (long|many tokens)|maximum (context|input)|string_above_max|reduce the length",
    re.I,
)
QUOTA = re.compile(r"insufficient_quota|current quota|insufficient.(balance|credit|funds)|billing_(hard|not)", re.I)
WORDS = 2_000
"""Characters of a refusal that are searched for the field it names."""

UNSENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError")
"""Causes under which the request never reached the engine."""


class Refused(CallFailed):
    """A question refused as it stands. `words`: what the server said of it, never shown; `status`: of HTTP."""

    def __init__(self, message: str, status: int, words: str) -> None:
        super().__init__(message)
        self.status, self.words = status, words


def where(url: str) -> str:
    """An address that can be shown: without user, password or query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}".rstrip("/")


def identifiers(body: Any) -> str:
    """The short identifiers an error body names (code, type, param), for a message."""
    inner = body.get("error", body) if isinstance(body, Mapping) else {}
    inner = inner if isinstance(inner, Mapping) else {}
    found = [str(inner.get(key)) for key in ("code", "type", "param") if inner.get(key)]
    return ", ".join(part for part in found if re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", part))


def wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for: a number, or a date against the server's own clock where it tells it."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    try:
        now = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        now = time.time()
    return max(until - now, 0.0)


def of_status(status: int, text: str, body: Any, headers: Mapping[str, str], url: str, key: str) -> TutelageError:
    """The error for an HTTP status that is no success. `key`: the environment variable that holds the key."""
    named = identifiers(body)
    said = f"HTTP {status}" + (f": {named}" if named else "")
    if 300 <= status < 400:
        return EndpointDown(f"{where(url)} redirects, and item text follows no redirect: write the final base_url")
    if status == 402 or (status in (400, 403, 429) and QUOTA.search(text)):
        return EndpointDown(f"{where(url)} says the account's credit is used up ({said}): add credit, then run again")
    if status in (401, 403):
        return EndpointDown(
            f"{where(url)} refuses the key ({said}): put a good one into the environment variable {key}"
        )
    if status == 413 or (status in (400, 422) and LONG.search(text)):
        return CallFailed(f"the text is too long for the model ({said}): lower max_chars of this rung", billed=False)
    if status in (408, 409, 425, 429) or status >= 500:
        return Transient(f"{where(url)} cannot take the question now ({said})", after=wait(headers))
    return Refused(f"{where(url)} refuses the question ({said})", status, text[:WORDS])


def of_connection(error: BaseException, url: str, known: bool, deadline: float) -> TutelageError:
    """The error for a request that got no whole answer. `known`: the endpoint has answered before."""
    cause = type(error.__cause__).__name__
    unsent = cause in UNSENT
    if unsent and not known:
        return EndpointDown(f"no endpoint answers at {where(url)}; start the server or mend base_url")
    if "Timeout" in type(error).__name__ or isinstance(error, TimeoutError):
        return Transient(f"{where(url)} gave no answer within {deadline:g} s (deadline)", billed=not unsent)
    return Transient(f"the connection to {where(url)} broke ({cause})", billed=not unsent)
