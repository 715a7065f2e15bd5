"""A real server on loopback that decides: `/v1/decisions` and `/v1/systemone`. Knows nothing of the package under test.

`mode`: "ok", "501", "refusal", "few" (an answer too few), "odd" (diagnostics that warn), "empty" (no probabilities).
`right` is the value it gives .8; for yes and no questions it says yes where the instruction holds `right`.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from servers.chat import Many


class DecideServer:
    """Serves on a free loopback port from `with` on; `requests` holds (path, body) of each question."""

    def __init__(self, mode: str = "ok", right: str = "") -> None:
        self.mode, self.right = mode, right
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._http = Many(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where it is, with the version path."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> DecideServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def chances(self, instructions: str, values: list[str]) -> dict[str, float]:
        """The probability of each value."""
        right = ("yes" if self.right in instructions else "no") if set(values) == {"yes", "no"} else self.right
        rest = 0.2 / max(len(values) - 1, 1)
        return {value: 0.8 if value == right else rest for value in values}

    def decide(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """What it answers to a request."""
        if self.mode == "501":
            return 501, {"error": {"message": "not for this architecture: SENTINEL", "code": "not_implemented"}}
        usage = {} if self.mode == "nousage" else {"prompt_tokens": 50, "completion_tokens": 1}
        if path == "/v1/systemone":
            answers: Any = {
                name: {"type": "choice", "probabilities": self.chances(asked["instructions"], list(asked["criteria"]))}
                for name, asked in body["questions"].items()
            }
            odd = {name: {"label_mass": 0.4, "argmax_is_label": False} for name in answers}
            found = {"answers": answers, "usage": usage, "model": "d1"} | (
                {"diagnostics": odd} if self.mode == "odd" else {}
            )
            return 200, found
        answers = []
        for asked in body["questions"]:
            shares = self.chances(asked["instructions"], [c["value"] for c in asked["choices"]])
            listed = [{"value": value, "probability": p} for value, p in shares.items()]
            answers.append({"type": "choice", "probabilities": [] if self.mode == "empty" else listed})
        if self.mode == "refusal":
            answers[0] = {"type": "refusal", "refusal": "I cannot speak of SENTINEL"}
        found = {"answers": answers[1:] if self.mode == "few" else answers, "usage": usage}
        return 200, found | ({"model": f"d{len(self.requests)}"} if self.mode == "change" else {})


def _handler(server: DecideServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def do_GET(self) -> None:
            self._send(404, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests.append((self.path, body))
            self._send(*server.decide(self.path, body))

        def _send(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
