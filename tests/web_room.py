"""The pages as a real server on loopback, and a client that keeps cookies, as the tests of the web want them."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from review_room import Room

from agent import config as settings
from agent import serve
from agent.review import people
from agent.web import app, server
from agent.web.site import Site


def site_of(room: Room) -> Site:
    """A run folder's site."""
    config = room.config
    return Site(config, settings.the_task(config), settings.kind(config), room.store, room.pool)


def named(room: Room, name: str, role: str = "annotator") -> str:
    """Name somebody; their token."""
    made = people.token()
    room.store.review.set_person(name, role, people.digest(made))
    return made


@dataclass
class Got:
    """A response. `headers` by lower-case name; of several, the last."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """A browser without pictures: keeps cookies, says where it comes from, follows nothing."""

    at: str
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None,
        host: str | None = None,
    ) -> Got:  # fmt: skip
        """One request, sent as it is."""
        client = http.client.HTTPConnection(self.at, timeout=20)
        sent = {"Host": host or self.at, **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            client.request(method, path, body, sent)
            got = client.getresponse()
            raw = got.read()
            for name, value in got.getheaders():
                if name.lower() == "set-cookie":
                    key, _, rest = value.partition("=")
                    self.cookies[key] = rest.partition(";")[0]
            return Got(got.status, {k.lower(): v for k, v in got.getheaders()}, raw)
        finally:
            client.close()

    def get(self, path: str, **headers: str) -> Got:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, form: Mapping[str, Any], **headers: str) -> Got:
        """A form as one of our pages sends it; `csrf` is added where it is not given."""
        told = {"csrf": self.csrf, **form} if "csrf" not in form and path != "/login" else dict(form)
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.at}", **headers}
        return self.ask("POST", path, urlencode(told, doseq=True).encode(), sent)

    @property
    def csrf(self) -> str:
        """The token of this session's forms, as any page holds it."""
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.get("/no-such-page").text)
        assert found is not None
        return found[1]

    def sign_in(self, token: str) -> Client:
        got = self.post("/login", {"token": token})
        assert got.status == 303, got.text
        return self


@contextmanager
def at_work(
    site: Site, hosts: tuple[str, ...] = (), https: bool = False, proxied: bool = False, cert: str | None = None,
    key: str | None = None, built: Any = None,
) -> Iterator[Client]:  # fmt: skip
    """The site, or what was `built` of it, at a free port, in a thread; a client that is not signed in."""
    listener = serve.bind("127.0.0.1", 0)
    served = server.Server(built or app.build(site, hosts, https, proxied), listener, cert, key)
    thread = threading.Thread(target=served.run)
    thread.start()
    try:
        yield Client(f"127.0.0.1:{listener.getsockname()[1]}")
    finally:
        served.stop()
        thread.join(20)
        listener.close()
