"""Where texts may go: hosts held against an allow list, before anything is sent and at every connection.

Knows nothing of engines, prompts or settings. An entry of a list is "local" (this machine, always allowed), "private"
(this machine and addresses of private networks), a host ("api.openai.com"), a family of hosts ("*.corp.example", which
is not corp.example itself), an address or a network ("10.1.0.0/16"). A name is never looked up to be judged: it is far
unless it is listed, wherever it may point.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from agent.errors import ConfigError

log = logging.getLogger("tutelage")

LOCAL, PRIVATE = "local", "private"

_NAME = re.compile(r"(\*\.)?([\w-]+\.)*[\w-]+", re.IGNORECASE)
_JUDGED = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")

Allowed = tuple[str, ...]


def place(host: str) -> Literal["here", "near", "far"]:
    """This machine, an address of a private network, or anything else; every other name is far."""
    host = host.strip("[]").rstrip(".").casefold()
    if host == "localhost" or host.endswith(".localhost"):
        return "here"
    found = _address(host)
    if found is None:
        return "far"
    return "here" if found.is_loopback else "near" if found.is_private or found.is_link_local else "far"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    inner = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return inner or found


def entry(text: str) -> str:
    """An entry of an allow list as it is kept.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    plain = text.strip().rstrip(".").casefold()
    try:
        return str(ipaddress.ip_network(plain, strict=False)) if "/" in plain else str(ipaddress.ip_address(plain))
    except ValueError:
        pass
    if not _NAME.fullmatch(plain):
        raise ValueError(
            f'{text!r} is no host: write its name alone, as in "api.openai.com" or "*.corp.example", without https:// '
            'or a port; "local" is this machine, "private" also private networks'
        )
    return plain


def allows(allowed: Allowed, host: str) -> bool:
    """Whether texts may go to this host."""
    host = host.strip("[]").rstrip(".").casefold()
    where = place(host)
    if where == "here" or (where == "near" and PRIVATE in allowed):
        return True
    address = _address(host)
    for one in allowed:
        if address is not None:
            if "/" in one and address in ipaddress.ip_network(one):
                return True
            if _address(one) == address:
                return True
        elif one == host or (one.startswith("*.") and host.endswith(one[1:])):
            return True
    return False


def check(rung: str, hosts: Sequence[str], local: bool, allowed: Allowed | None) -> None:
    """Refuse an annotator whose hosts are not all on the list; anything goes where there is no list.

    Raises:
        ConfigError: names the rung, the host and the line that would allow it.
    """
    if allowed is None:
        return
    for host in hosts:
        if not allows(allowed, host):
            kept = [one for one in allowed if one != LOCAL]
            listed = ", ".join(f'"{one}"' for one in [*kept, host])
            raise ConfigError(
                f"rung {rung!r} sends texts to {host}, which privacy.egress does not allow: take the rung out, or "
                f"write egress = [{listed}] under [privacy]"
            )
    if not hosts and not local:
        raise ConfigError(
            f"rung {rung!r} does not say where it sends texts, and privacy.egress allows only some places: take the "
            "rung or the egress line out, or have its plug-in name its hosts (Traits.hosts)"
        )


_now: list[Allowed] = []
"""The lists in force, innermost last. The hook below is for good: Python takes none back."""
_hooked = False
_told: set[str] = set()


@contextmanager
def guarded(allowed: Allowed | None) -> Iterator[None]:
    """Let no socket of this process reach a host that is not on the list, whichever library opens it.

    This stands behind `check`: for a redirect, a proxy, a plug-in that says one thing and does another, a library that
    phones home. It sees what Python's `socket` does (names before they are looked up, addresses before they are
    connected to); a library that makes its connections in C, as PostgreSQL's client does, it does not see. An address
    that is not listed passes where the list holds names, as a looked-up name's address is not known beforehand.
    """
    global _hooked
    if allowed is None:
        yield
        return
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _now.append(allowed)
    try:
        yield
    finally:
        _now.remove(allowed)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _now or event not in _JUDGED:
        return
    named = event in ("socket.getaddrinfo", "socket.gethostbyname")
    target = args[0] if named else args[1]
    host = target if named else target[0] if isinstance(target, tuple) and target else None
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or not host:
        return
    for allowed in tuple(_now):
        names = any(one not in (LOCAL, PRIVATE) and "/" not in one and _address(one) is None for one in allowed)
        if not allows(allowed, host) and not (names and not named and _address(host) is not None):
            _refuse(host)


def _refuse(host: str) -> None:
    if host not in _told:
        _told.add(host)
        log.warning("privacy.egress kept this process from reaching %s", host)
    raise PermissionError(errno.EACCES, f"privacy.egress does not allow {host}")
