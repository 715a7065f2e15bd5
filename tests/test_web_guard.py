"""The door of the review's pages: real servers on loopback; who comes in, from where, with what, and what is told."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import review_room
from cli_room import call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web_room import Client, at_work, named, site_of

from agent.review import people
from agent.web import app, guard, login

PROMISED = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> review_room.Room:
    return review_room.furnish(tmp_path_factory.mktemp("guard"))


@pytest.fixture(scope="module")
def owner(room: review_room.Room) -> str:
    """The owner's token."""
    return named(room, "ada", "owner")


@pytest.fixture(scope="module")
def door(room: review_room.Room, owner: str) -> Iterator[Client]:
    """A server, and a client that is not signed in."""
    with at_work(site_of(room), ("review.example",)) as client:
        yield client


@pytest.fixture
def ada(door: Client, owner: str) -> Client:
    return Client(door.at).sign_in(owner)


# ---------------------------------------------------------------- in and out


def test_without_a_session_every_page_leads_to_the_door_and_tells_nothing(door: Client) -> None:
    for path in ("/", "/dashboard", "/item/00", "/no-such-page", "/who"):
        got = door.get(path)
        assert got.status == 303 and got.headers["location"].startswith("/login") and not got.body
    told = door.get("/login").text
    assert "ticket" not in told and "Which team" not in told and "ada" not in told
    assert door.get("/", **{"HX-Request": "true"}).status == 401
    assert door.post("/answer", {"csrf": "0" * 64, "key": "x"}).status == 401


def test_the_cookie_is_for_this_server_alone(door: Client, owner: str) -> None:
    got = Client(door.at).post("/login", {"token": f" {owner}\n"})
    cookie = got.headers["set-cookie"]
    assert got.status == 303 and got.headers["location"] == "/"
    name, _, secret = cookie.partition(";")[0].partition("=")
    assert name.startswith("tutelage-") and len(secret) == 43
    said = cookie.lower()
    assert "httponly" in said and "samesite=strict" in said and "path=/" in said and "max-age=2592000" in said
    assert "secure" not in said and "domain" not in said


def test_neither_tokens_nor_secrets_are_kept(room: review_room.Room, ada: Client, owner: str) -> None:
    (secret,) = ada.cookies.values()
    held = b"".join(file.read_bytes() for file in (room.folder / "tutelage-run").glob("ledger.db*"))
    assert people.digest(owner).encode() in held and guard.sha256(secret).encode() in held
    assert owner.encode() not in held and secret.encode() not in held


def test_a_session_that_was_planted_is_not_taken_over(door: Client, owner: str) -> None:
    (name,) = Client(door.at).sign_in(owner).cookies
    lured = Client(door.at, {name: "A" * 43})
    assert lured.get("/who").status == 303
    lured.sign_in(owner)
    assert lured.cookies[name] != "A" * 43 and lured.get("/who").status == 200
    assert Client(door.at, {name: "A" * 43}).get("/who").status == 303


def test_signing_out_ends_the_session_on_the_server(ada: Client, door: Client) -> None:
    kept = dict(ada.cookies)
    got = ada.post("/logout", {})
    assert got.status == 303 and "max-age=0" in got.headers["set-cookie"].lower()
    assert Client(door.at, kept).get("/who").status == 303
    assert Client(door.at, kept).post("/logout", {"csrf": "0" * 64}).status == 401


def test_a_new_token_or_none_ends_every_session(room: review_room.Room, door: Client) -> None:
    bob = Client(door.at).sign_in(named(room, "bob"))
    assert bob.get("/who").status == 200
    named(room, "bob")
    assert bob.get("/who").status == 303
    back = Client(door.at).sign_in(named(room, "bob"))
    people.remove(room.store, "bob")
    assert back.get("/who").status == 303


def test_wrong_tokens_open_nothing_and_are_not_shown_again(door: Client, owner: str) -> None:
    for wrong in ("", owner[:-1], owner + "A", owner.swapcase(), "\ud800", "é" * 40):
        got = Client(door.at).ask("POST", "/login", f"token={quote(wrong, errors='surrogatepass')}".encode(),
                                  FORM | {"Origin": f"http://{door.at}"})  # fmt: skip
        assert got.status == 403 and "opens nothing" in got.text and "set-cookie" not in got.headers
        assert not wrong or wrong not in got.text


def test_guessing_is_slowed_down_for_an_address_and_keeps_nobody_else_out(room: review_room.Room, owner: str) -> None:
    with at_work(site_of(room), proxied=True) as door:

        def tries(address: str, token: str = "wrong") -> Any:
            return Client(door.at).post("/login", {"token": token}, **{"X-Forwarded-For": f"6.6.6.6, {address}"})

        assert [tries("10.0.0.1").status for _ in range(login.EACH + 1)] == [403] * login.EACH + [429]
        waits = tries("10.0.0.1", owner)
        assert waits.status == 429 and 0 < int(waits.headers["retry-after"]) <= login.WINDOW
        assert "set-cookie" not in waits.headers
        assert tries("10.0.0.2", owner).status == 303
        for i in range(120):
            assert tries(f"10.0.1.{i}").status == 403
        assert tries("10.0.0.3", owner).status == 303


def test_of_several_forwarding_headers_the_proxys_own_counts(room: review_room.Room) -> None:
    """As HAProxy adds it: a line of its own, behind the one that the sender made up."""
    with at_work(site_of(room), proxied=True) as door:
        codes = []
        for i in range(login.EACH + 1):
            line = http.client.HTTPConnection(door.at, timeout=20)
            line.putrequest("POST", "/login")
            sent = {"Origin": f"http://{door.at}", **FORM, "Content-Length": "7"}
            for name, value in [*sent.items(), ("X-Forwarded-For", f"1.1.1.{i}"), ("X-Forwarded-For", "9.9.9.9")]:
                line.putheader(name, value)
            line.endheaders(b"token=x")
            codes.append(line.getresponse().status)
            line.close()
        assert codes == [403] * login.EACH + [429]


@given(st.text(max_size=40) | st.sampled_from(["//evil.example", "/\\evil.example", "http://evil.example", "/ok?a=b"]))
@settings(max_examples=40)
def test_after_signing_in_one_stays_on_this_server(door: Client, owner: str, wanted: str) -> None:
    if not hasattr(door, "inside"):
        door.inside = Client(door.at).sign_in(owner)  # type: ignore[attr-defined]
    got = door.inside.get(f"/login?next={quote(wanted, safe='', errors='replace')}")  # type: ignore[attr-defined]
    at = got.headers["location"]
    assert got.status == 303 and at.startswith("/") and at[1:2] not in ("/", "\\") and "\\" not in at


def test_no_page_is_served_by_a_name_that_is_not_ours(ada: Client, door: Client) -> None:
    port = door.at.rpartition(":")[2]
    for host in (f"127.0.0.1:{port}", "localhost", "LOCALHOST.", "[::1]:1", f"review.example:{port}"):
        assert ada.ask("GET", "/who", host=host).status == 200, host
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "review.example@evil.example", "a b",
                 "127.0.0.1:x", "0.0.0.0", "[::2]", "localhost/", "127.0.0.1,evil.example"):  # fmt: skip
        got = ada.ask("GET", "/who", host=host)
        assert got.status == 400 and "in" not in got.headers.get("set-cookie", ""), host
        assert ada.ask("GET", "/static/style.css", host=host).status == 400


# ---------------------------------------------------------------- what changes something


def test_only_our_own_pages_may_change_something(ada: Client) -> None:
    token, here = ada.csrf, f"http://{ada.at}"
    body = f"csrf={token}".encode()

    def status(headers: dict[str, str]) -> int:
        return ada.ask("POST", "/no-such-page", body, FORM | headers).status

    for good in (
        {"Origin": here},
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": here, "Sec-Fetch-Site": "same-origin"},
    ):
        assert status(good) == 404, good
    port = int(ada.at.rpartition(":")[2])
    for bad in (
        {}, {"Origin": "null"}, {"Origin": "http://evil.example"}, {"Origin": f"http://127.0.0.1:{port + 1}"},
        {"Origin": f"https://{ada.at}"}, {"Origin": here + ".evil.example"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}, {"Origin": here, "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, {"Referer": here + "/"},
    ):  # fmt: skip
        assert status(bad) == 403, bad


def test_a_form_must_carry_its_sessions_token(room: review_room.Room, ada: Client, door: Client) -> None:
    other = Client(door.at).sign_in(named(room, "carl"))
    from_here = {"Origin": f"http://{door.at}"}
    for body in (b"", b"csrf=", b"csrf=x", f"csrf={other.csrf}".encode(), b"csrf=%ff%fe", b"x=" + ada.csrf.encode(),
                 b"csrf[]=" + ada.csrf.encode()):  # fmt: skip
        assert ada.ask("POST", "/no-such-page", body, FORM | from_here).status == 403, body
    assert ada.ask("POST", "/no-such-page?csrf=" + ada.csrf, b"", FORM | from_here).status == 403
    assert ada.ask("POST", "/no-such-page", b"csrf=" + ada.csrf.encode(), from_here).status == 403  # no form
    parts = f'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{ada.csrf}\r\n--b--\r\n'.encode()
    as_parts = {"Content-Type": "multipart/form-data; boundary=b"} | from_here
    assert ada.ask("POST", "/no-such-page", parts, as_parts).status == 404
    assert ada.ask("POST", "/no-such-page", parts[:40], as_parts).status == 403
    file = parts.replace(b'name="csrf"', b'name="csrf"; filename="f"')
    assert ada.ask("POST", "/no-such-page", file, as_parts).status == 403
    assert ada.get("/who").status == 200


def test_a_body_of_more_than_a_megabyte_is_not_read(ada: Client, door: Client) -> None:
    big = b"csrf=" + ada.csrf.encode() + b"&x=" + b"a" * guard.BODY
    assert ada.ask("POST", "/no-such-page", big, FORM | {"Origin": f"http://{ada.at}"}).status == 413
    for path in ("/login", "/no-such-page"):
        with socket.create_connection(tuple(door.at.split(":")), timeout=20) as raw:  # type: ignore[arg-type]
            head = f"POST {path} HTTP/1.1\r\nHost: {door.at}\r\nOrigin: http://{door.at}\r\n"
            raw.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(guard.BODY // 50_000 + 5):
                    raw.sendall(b"c350\r\n" + b"a" * 50_000 + b"\r\n")
            except OSError:
                pass  # it has closed the door already
            try:
                assert raw.recv(100).split()[1] == b"413"
            except ConnectionError:
                pass
    assert door.get("/login").status == 200


def test_other_methods_do_nothing(ada: Client) -> None:
    head = ada.ask("HEAD", "/login")
    assert head.status == 303 and not head.body
    assert ada.ask("HEAD", "/who").headers["content-type"] == "application/json"
    for method in ("OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"):
        got = ada.ask(method, "/logout", headers={"Origin": "http://evil.example"})
        assert got.status in (403, 405) and not any(name.startswith("access-control") for name in got.headers)
    assert ada.get("/logout").status == 405 and ada.get("/who").status == 200


# ---------------------------------------------------------------- what is told


def test_every_response_has_the_headers(ada: Client, door: Client) -> None:
    shown = [
        door.get("/login"), door.get("/"), ada.get("/who"), ada.get("/no-such-page"), ada.get("/static/style.css"),
        ada.get("/static/none"), ada.ask("GET", "/", host="evil.example"), ada.post("/logout", {"csrf": ""}),
        ada.ask("PUT", "/"),
    ]  # fmt: skip
    assert [got.status for got in shown] == [200, 303, 200, 404, 200, 404, 400, 403, 403]
    for got in shown:
        assert {name: got.headers.get(name) for name in PROMISED} == PROMISED
        assert "server" not in got.headers
        static = "max-age" not in got.headers["cache-control"] and got.headers["cache-control"]
        assert static == ("no-cache" if got is shown[4] or got is shown[5] else "no-store")


def test_static_files_are_what_is_in_their_folder(door: Client) -> None:
    got = door.get("/static/style.css")
    assert got.headers["content-type"].startswith("text/css") and got.headers["etag"]
    assert door.get("/static/style.css", **{"If-None-Match": got.headers["etag"]}).status == 304
    for path in ("/static/../guard.py", "/static/%2e%2e/guard.py", "/static/..%2fguard.py", "/static/%2e%2e%2fguard.py",
                 "/static//etc/passwd", "/static/..\\guard.py", "/static/", "/static", "/static/%00", "/static/.",
        "/static/%5c..%5cguard.py", "/static/" + "a" * 3000):  # fmt: skip
        got = door.get(path)
        assert got.status in (303, 404) and b"import" not in got.body, path


def test_a_fault_tells_where_and_never_what(room: review_room.Room, capfd: pytest.CaptureFixture[str]) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if scope["query_string"] == b"late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("SENTINEL text of an item")

    site = site_of(room)
    with at_work(site, built=guard.Guard(broken, site, guard.Door(), app.refusal)) as door:
        got = door.get("/login?q=SENTINEL")
        assert got.status == 500 and "SENTINEL" not in got.text and "fault is ours" in got.text
        assert got.headers["cache-control"] == "no-store"
        with pytest.raises(http.client.HTTPException):
            door.get("/login?late")
    said = "".join(capfd.readouterr())
    assert "SENTINEL" not in said and "Traceback" not in said and said.startswith("error: ValueError in guard.py")


def test_nothing_is_logged_of_what_is_asked(ada: Client, capfd: pytest.CaptureFixture[str]) -> None:
    ada.get("/login?next=/SENTINEL")
    ada.get("/SENTINEL?SENTINEL=1")
    ada.post("/login", {"token": "SENTINEL"})
    assert "SENTINEL" not in "".join(capfd.readouterr())


NAMES = st.sampled_from(
    ["Cookie", "Host", "Origin", "Sec-Fetch-Site", "Content-Length", "Content-Type", "X-Forwarded-For", "HX-Request",
     "If-None-Match", "Range", "Transfer-Encoding", "Expect", "Upgrade", "Connection", "Accept-Encoding"]
)  # fmt: skip
VALUES = st.binary(max_size=60).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"")) | st.sampled_from(
    [b"-1", b"99999999999999999999", b"chunked", b"websocket", b"tutelage-00000000=x; ;=;", b"bytes=0-,1-", b"\xff"]
)


@given(
    st.sampled_from(
        [b"GET / ", b"POST /login ", b"GET /static/style.css ", b"POST /answer ", b"GET //evil/ ", b"\x00 "]
    ),
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_odd_headers_never_break_it(
    door: Client, capfd: pytest.CaptureFixture[str], line: bytes, headers: list[tuple[str, bytes]]
) -> None:
    host, port = door.at.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        told = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
        raw.sendall(line + b"HTTP/1.1\r\nHost: " + door.at.encode() + b"\r\n" + told + b"\r\n")
        got = b""
        with contextlib.suppress(OSError):  # it may have closed the door already
            raw.shutdown(socket.SHUT_WR)
            got = raw.recv(64)
    assert not got or 200 <= int(got.split()[1]) < 500, got
    assert "Traceback" not in capfd.readouterr().err


def test_a_socket_of_another_protocol_is_refused(ada: Client) -> None:
    wanted = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "eA==",
    }
    assert ada.ask("GET", "/who", headers=wanted).status == 200


# ---------------------------------------------------------------- TLS, and the command


def test_under_tls_the_cookie_never_leaves_it(room: review_room.Room, owner: str, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here to make a certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    trust = ssl.create_default_context(cafile=str(cert))
    with at_work(site_of(room), https=True, cert=str(cert), key=str(key)) as door:
        port = int(door.at.rpartition(":")[2])
        sent = FORM | {"Origin": f"https://localhost:{port}"}
        client = http.client.HTTPSConnection("localhost", port, timeout=20, context=trust)
        client.request("POST", "/login", f"token={owner}", sent)
        got = client.getresponse()
        cookie = got.getheader("set-cookie") or ""
        client.close()
        assert got.status == 303 and cookie.startswith("__Host-tutelage-") and "; secure" in cookie.lower()
        client.request("POST", "/login", f"token={owner}", sent | {"Origin": f"http://localhost:{port}"})
        assert client.getresponse().status == 403
        client.close()


def test_the_command_refuses_to_let_others_listen_in(room: review_room.Room, door: Client) -> None:
    at = str(room.folder / "tutelage.toml")
    for words, told in (
        (["--web", "--host", "0.0.0.0"], "--plain-http"),
        (["--web", "--host", "192.0.2.1", "--tls-cert", "c.pem"], "give both"),
        (["--web", "--tls-cert", at, "--tls-key", at], "in PEM"),
        (["--web", "--port", door.at.rpartition(":")[2]], "give another --port"),
        (["--port", "1"], "add it"),
        (["--web", "--export", "x.csv"], "not both"),
    ):
        done = call("review", "-c", at, *words)
        assert done.exit_code == 2 and told in done.output, done.output
