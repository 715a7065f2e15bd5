"""A chat server on loopback that can do as much, or as little, as it is told. Knows nothing of the package under test.

with Able(obeys=("structured_outputs",), top=20, thinks=40) as server:
    server.url, server.bodies
"""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from servers.chat import Many


@dataclass
class Able:
    """obeys: fields by which it lets its choices be limited. top: log-probabilities it lists; 0: none, 5: refuses more.

    processed: they are of what a constraint leaves. thinks: tokens it spends first, in `message.reasoning`. quiet: a
    field that keeps it from that. context: told in its list of models. says: in its refusal of a wish too large.
    cached: tokens of a prompt it has kept. headers: sent with every answer. models: names by which it answers, in
    turn. owner: who it says it is.
    """

    obeys: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    top: int = 20
    processed: bool = False
    quiet: str = ""
    thinks: int = 0
    context: int | None = None
    says: str = ""
    cached: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ("able",)
    owner: str = "somebody"
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> Able:
        self._http = Many(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        """Where it is, with the version path."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and body of one chat completion."""
        self.bodies.append(body)
        for name in self.refuses:
            if name in body:
                return 400, {"error": {"message": f"{name} is not supported", "param": name}}
        if body.get("top_logprobs", 0) > 5 == self.top:
            return 400, {"error": {"message": "top_logprobs must be at most 5", "param": "top_logprobs"}}
        if self.says and body.get("max_tokens", 0) > 1_000_000:
            return 400, {"error": {"message": self.says}}
        text = self._text(body)
        message: dict[str, Any] = {"content": text}
        if self.thinks and not (self.quiet and self.quiet in body):
            message["reasoning"] = "Let me see …"
            if body["max_tokens"] <= self.thinks:
                message["content"], text = None, ""
        choice: dict[str, Any] = {"message": message, "finish_reason": "stop" if text else "length"}
        if body.get("logprobs") and self.top:
            choice["logprobs"] = {"content": [self._token(text, body)]}
        usage: dict[str, Any] = {"prompt_tokens": 80, "completion_tokens": self.thinks + 1}
        if self.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self.cached}
        model = self.models[len(self.bodies) % len(self.models)]
        return 200, {"model": model, "choices": [choice] * body.get("n", 1), "usage": usage}

    def _text(self, body: dict[str, Any]) -> str:
        if "structured_outputs" in self.obeys and "structured_outputs" in body:
            return str(body["structured_outputs"]["choice"][0])
        if "response_format" in self.obeys and "response_format" in body:
            schema = body["response_format"]["json_schema"]["schema"]
            return json.dumps({"answer": schema["properties"]["answer"]["enum"][0]})
        if "six digits" in body["messages"][-1]["content"]:
            return str(100_000 + body.get("seed", 0))
        return "A"

    def _token(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        limited = self.processed and "structured_outputs" in body
        shares = {text: 1.0} if limited else {"A": 0.6, "B": 0.2} | {f"w{i}": 0.2 / 18 for i in range(18)}
        listed = list(shares.items())[: min(self.top, body.get("top_logprobs", 0))]
        top = [{"token": name, "logprob": math.log(share)} for name, share in listed]
        return {"token": text, "logprob": math.log(shares.get(text, 0.01)), "top_logprobs": top}


def _handler(server: Able) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def do_GET(self) -> None:
            entry = {"id": "able", "owned_by": server.owner}
            if server.context:
                entry["max_model_len"] = server.context  # type: ignore[assignment]
            self._send(200, {"data": [entry]} if self.path == "/v1/models" else {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._send(*(server.answer(body) if self.path == "/v1/chat/completions" else (404, {})))

        def _send(self, status: int, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {
                "content-length": str(len(raw)),
                "content-type": "application/json",
                **server.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

    return Handler
