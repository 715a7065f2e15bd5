"""`tutelage review --web`: the review's pages for browsers. `agent.web` makes them; here is where and for whom."""

from __future__ import annotations

import html
import ipaddress
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agent.cli.house import Common, many
from agent.errors import ConfigError, DataError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.pool import Pool
    from agent.store import Store

F = TypeVar("F", bound=Callable[..., Any])
PORT, TRIED = 8700, 50
"""Where the pages are when no port is given, and how many after it are tried when it is taken."""
TAKES = 60.0
"""Seconds that a browser has to start and read its way in."""


@dataclass
class Where:
    """What the options said."""

    web: bool = False
    host: str = "127.0.0.1"
    port: int | None = None
    open: bool | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    behind_proxy: bool = False
    plain_http: bool = False
    allowed_host: tuple[str, ...] = ()

    @property
    def near(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def anywhere(self) -> bool:
        """Whether it listens at every address of this machine."""
        return self.host in ("0.0.0.0", "::", "")

    @property
    def https(self) -> bool:
        """Whether browsers speak TLS with it, or with the proxy before it."""
        return self.tls_cert is not None or (self.behind_proxy and not self.plain_http)

    @property
    def names(self) -> tuple[str, ...]:
        """By which names and addresses it may be called, beside those of this machine alone."""
        own = (socket.gethostname(),) if self.anywhere else (self.host,)
        return (*self.allowed_host, *own)


def _kept(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    setattr(where(context), str(parameter.name), value)
    return value


def where(context: click.Context) -> Where:
    """What this command was told of the web."""
    found: Where = context.meta.setdefault(__name__, Where())
    return found


def options(verb: F) -> F:
    """The options of the pages; `where` holds what they said."""
    option = partial(click.option, expose_value=False, callback=_kept)
    file = click.Path(dir_okay=False)
    made: Any = verb
    for add in reversed([
        option("--web", is_flag=True, help="Answer in a browser: serve the review's pages until Ctrl-C."),
        option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where --web listens."),
        option("--port", type=click.IntRange(0, 65_535), metavar="N",
               help=f"Its port; {PORT} or the next free one when not given, 0 takes any."),
        option("--open/--no-open", default=None, help="Open the page in a browser here; done where there is a screen."),
        option("--tls-cert", type=file, metavar="FILE", help="A certificate (PEM), for HTTPS."),
        option("--tls-key", type=file, metavar="FILE", help="Its key (PEM)."),
        option("--behind-proxy", is_flag=True,
               help="A proxy with TLS stands before it, passes Host and sets X-Forwarded-For."),
        option("--plain-http", is_flag=True, help="Other machines may connect without TLS: all can be read."),
        option("--allowed-host", multiple=True, metavar="NAME", help="A name browsers call it by; repeatable."),
    ]):  # fmt: skip
        made = add(made)
    return made  # type: ignore[no-any-return]


def serve(common: Common, config: Config, store: Store, pool: Pool, told: Where, name: str) -> None:
    """Serve the pages until Ctrl-C; `name`: who becomes the owner where nobody has been named.

    Raises:
        MissingExtra: what the pages stand on is not installed. ConfigError: other machines could listen in.
    """
    from agent import config as settings
    from agent.web import app, server
    from agent.web.site import Site

    server.needed()
    _safe(common, told)
    site = Site(config, settings.the_task(config), settings.kind(config), store, pool, common.flags)
    with _bound(told) as listener:
        built = app.build(site, told.names, told.https, told.behind_proxy)
        served = server.Server(built, listener, told.tls_cert, told.tls_key)
        at = _address(told, listener)
        link = _announce(common, config, store, at, name)
        with _opened(config, link if (_has_screen() if told.open is None else told.open) else None):
            served.run()
    common.say("ended; every answer is in the ledger. The same command goes on")


def _safe(common: Common, told: Where) -> None:
    """Refuse what would let others on the network read along, unless that is meant."""
    if (told.tls_cert is None) != (told.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key go together: give both")
    if told.near:
        return
    if told.https:
        return
    if not told.plain_http:
        raise ConfigError(
            f"--host {told.host} lets other machines connect, and without TLS whoever is on the network between can "
            "read texts and take over a session: give --tls-cert and --tls-key, or --behind-proxy where a proxy with "
            "TLS stands before it, or --plain-http if that is meant"
        )
    common.say(
        f"warning: {told.host} is reached without TLS (--plain-http): whoever is on the network between can read the "
        "texts and act in other people's names"
    )


@contextmanager
def _bound(told: Where) -> Iterator[socket.socket]:
    """The listening address: the port that was asked for, or the first free one."""
    from agent.serve import bind

    ports = [told.port] if told.port is not None else range(PORT, PORT + TRIED)
    for port in ports:
        try:
            listener = bind(told.host, port)
        except DataError:
            if port == ports[-1]:
                raise
            continue
        with listener:
            yield listener
        return


def _address(told: Where, listener: socket.socket) -> str:
    """As a browser writes it."""
    host, port = told.host, listener.getsockname()[1]
    if told.allowed_host:
        host = told.allowed_host[0]
    elif told.anywhere:
        host = socket.gethostname()
    named = f"[{host}]" if ":" in host else host
    if told.behind_proxy:
        return f"{'https' if told.https else 'http'}://{named}"
    return f"{'https' if told.https else 'http'}://{named}:{port}"


def _announce(common: Common, config: Config, store: Store, at: str, name: str) -> str:
    """Say where the pages are, who may come in and how many questions wait; the link that opens them.

    Where nobody has been named, `name` becomes the owner, and the link holds the token in its fragment, which no
    server and no log sees. A token is shown this once.
    """
    from agent.report.standing import cards
    from agent.review import people
    from agent.store.review import GONE

    made = people.first(store, name) if people.nobody(store.review.people()) else None
    named = [person for person in store.review.people().values() if person.role != GONE]
    link, how = f"{at}/", f"a new link for somebody who lost theirs: tutelage people token NAME{common.flags}"
    if made is not None:
        link = f"{at}/login#{made[1]}"
        how = f"this link is yours alone and shown once; others: tutelage people add NAME{common.flags}"
    if not any(person.role == people.OWNER for person in named):
        how += f"\nnobody is the owner yet, who sees all pages: tutelage people add NAME --role owner{common.flags}"
    waiting = len(cards(config, store))
    who = ", ".join(f"{person.name} ({person.role})" for person in named)
    waits = many(waiting, "question") if waiting else "no question waits yet: the page wakes when one does"
    body = {"url": at, "login": link, "people": [person.name for person in named], "open": waiting}
    common.show(body, link)
    common.say(f"{how}\n{who}; {waits + ' wait' if waiting > 1 else waits + ' waits' if waiting else waits}")
    common.say("Ctrl-C ends it")
    return link


def _has_screen() -> bool:
    """Whether somebody sits before this machine: a terminal, and a desktop that is not at the other end of a line."""
    desktop = sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
    return sys.stdout.isatty() and desktop and "SSH_CONNECTION" not in os.environ


@contextmanager
def _opened(config: Config, link: str | None) -> Iterator[None]:
    """Open the link in a browser: by a file that only this person can read, as a command line can be read by all. It
    may hold a token, so it is gone once a browser had `TAKES` seconds to read it."""
    if link is None:
        yield
        return
    way = Path(config.folder) / "open-review.html"
    way.unlink(missing_ok=True)
    with os.fdopen(os.open(way, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={html.escape(link)}">'
        )
    gone = threading.Timer(TAKES, way.unlink, [True])
    gone.daemon = True
    gone.start()
    try:
        # Some browsers return only when they are closed: the server does not wait for them.
        threading.Thread(target=webbrowser.open, args=(way.resolve().as_uri(),), daemon=True).start()
        yield
    finally:
        gone.cancel()
        way.unlink(missing_ok=True)
