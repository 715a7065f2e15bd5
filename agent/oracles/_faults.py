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
from agent.oracles import _keys
from agent.oracles._http import Cut

LONG = re.compile(
    r"context.?length|input_tokens|too (long|many tokens)|maximum (context|input)|string_above_max|reduce the length",
    re.I,
)
QUOTA = re.compile(r"insufficient_quota|current quota|insufficient.(balance|credit|funds)|billing_(hard|not)", re.I)
CREDIT = "the account's credit is used up: add credit, then run again"

BUSY = (408, 409, 425, 429)
"""Statuses of a server that is well and wants to be left alone for a while."""

WORDS = 2_000
"""Characters of a refusal that are searched for the field it names."""


class Refused(CallFailed):
    """A question refused as it stands. `words`: what the server said of it, never shown; `status`: of HTTP; `param`:
    the field it names."""

    def __init__(self, message: str, status: int, words: str, param: str = "") -> None:
        super().__init__(message, billed=False)
        self.status, self.words, self.param = status, words, param


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
    # No digits in words: what echoes a key or an item's text is no identifier.
    return ", ".join(part for part in found if re.fullmatch(r"[A-Za-z_.]{1,40}|[0-9]{1,5}", part))


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
    """The error for an HTTP status that is no success. `key`: the environment variable that holds the key, or ""."""
    named = identifiers(body)
    said = f"HTTP {status}" + (f": {named}" if named else "")
    if 300 <= status < 400:
        return EndpointDown(f"{where(url)} redirects, and item text follows no redirect: write the final base_url")
    if status == 402 or (status in (400, 403, 429) and QUOTA.search(text)):
        return EndpointDown(f"{where(url)} refuses ({said}): {CREDIT}")
    if status in (401, 403):
        mend = f"put a good one into the environment variable {key}" if key else _keys.NAME
        return EndpointDown(f"{where(url)} refuses the key ({said}): {mend}")
    if status == 413 or (status in (400, 422) and LONG.search(text)):
        mend = 'lower max_chars of this rung, or write overflow = "chunk"'
        return CallFailed(f"the text is too long for the model ({said}): {mend}", billed=False)
    if status in BUSY or (status != 501 and status >= 500) or status < 200:
        return Transient(f"{where(url)} cannot take the question now ({said})", after=wait(headers) or None)
    inner = body.get("error", body) if isinstance(body, Mapping) else {}
    param = str(inner.get("param") or "") if isinstance(inner, Mapping) else ""
    return Refused(f"{where(url)} refuses the question ({said})", status, text[:WORDS], param)


def of_cut(cut: Cut, url: str, known: bool, deadline: float) -> TutelageError:
    """The error for a request that got no whole answer. `known`: the endpoint has answered before."""
    sent = cut.kind != "unsent"
    if "SSL" in cut.why or "Certificate" in cut.why:
        mend = "is it http and not https? An authority of your own is named by the environment variable SSL_CERT_FILE"
        return EndpointDown(f"no safe connection to {where(url)} comes about ({cut.why}): {mend}", sent=sent)
    if "Proxy" in cut.why and not known:
        return EndpointDown(
            f"the environment's proxy does not lead to {where(url)}: mend it, or name the host in no_proxy", sent=sent
        )
    if not sent and not known:
        return EndpointDown(f"no endpoint answers at {where(url)}; start the server or mend base_url", sent=False)
    if cut.kind == "files":
        return Transient("this process has too many files open: lower in_flight, or raise the limit (ulimit -n)")
    if cut.kind == "late":
        return Transient(f"{where(url)} gave no answer within {deadline:g} s (deadline)", billed=True)
    if cut.kind == "large":
        return Transient(f"{where(url)} answered with {cut.why}, which is no answer to the question", billed=True)
    return Transient(f"the connection to {where(url)} broke ({cut.why})", billed=sent, sent=sent)
