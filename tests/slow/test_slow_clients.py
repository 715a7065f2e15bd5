"""Clients that fall silent: half a head, half a body, and a page that only waits. A real server on loopback."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from review_room import furnish
from web_room import at_work, named, site_of

from agent.web import guard, server

pytestmark = pytest.mark.slow


def answer(raw: socket.socket, seconds: float) -> bytes:
    """What comes, until the other side hangs up; fails where it does not within so long."""
    raw.settimeout(seconds)
    got = b""
    while more := raw.recv(4096):
        got += more
        if b"\r\n\r\n" in got:
            break
    return got


def test_half_a_request_is_hung_up_on_and_a_silent_page_is_not(tmp_path: Path) -> None:
    room = furnish(tmp_path)
    named(room, "ada")
    with at_work(site_of(room)) as client:
        where = tuple(client.at.split(":"))
        lines = [socket.create_connection(where) for _ in range(4)]  # type: ignore[arg-type]
        nothing, head, body, page = lines
        asked = f"GET /login HTTP/1.1\r\nHost: {client.at}\r\n"
        head.sendall(asked.encode())
        told = (
            f"POST /login HTTP/1.1\r\nHost: {client.at}\r\nOrigin: http://{client.at}\r\nContent-Length: 10\r\n\r\ntok"
        )
        body.sendall(told.encode())
        page.sendall(f"{asked}\r\n".encode())
        assert answer(page, 10).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        assert answer(nothing, server.HEAD + 15) == b"" and answer(head, 15) == b""
        assert answer(body, guard.SLOW + 15).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - begun >= server.HEAD - 2
        while _more(page):
            page.recv(1 << 16)
        page.sendall(f"{asked}\r\n".encode())
        assert answer(page, 10).startswith(b"HTTP/1.1 200"), "who only reads is not hung up on"
        for line in lines:
            line.close()


def _more(raw: socket.socket) -> bool:
    """Whether something is left to read."""
    raw.settimeout(0.2)
    try:
        return bool(raw.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
