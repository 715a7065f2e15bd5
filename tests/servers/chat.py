"""A real chat-completions server on loopback that misbehaves as told. Knows nothing of the package under test.

    with ChatServer("429", after="7") as server:
        server.url, server.requests

`mode` is what it does with chat requests; `right` the label whose code it answers, read from the lines "CODE: label"
of the prompt; `then` the mode for requests with much room; `drawn` the labels of sampled answers, in order; `vllm`
makes it say that it is vLLM and speak /tokenize and `logprob_token_ids`. `names` are labels that it answers as they
are, in tokens of three letters (mode "words").
"""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSE = {
    "nologprobs400": ("logprobs", "logprobs is not supported by this model"),
    "noids400": ("logprob_token_ids", "logprob_token_ids is not supported"),
}
STATUS: dict[str, tuple[int, dict[str, Any]]] = {
    "401": (401, {"error": {"message": "bad key sk-SECRET", "code": "invalid_api_key"}}),
    "402": (402, {"error": {"message": "no credit"}}),
    "quota429": (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
    "429": (429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}),
    "503": (503, {"error": {"message": "overloaded"}}),
    "500": (500, {"error": {"message": "EngineCore encountered an issue: SENTINEL"}}),
    "501": (501, {"error": {"message": "not implemented"}}),
    "404": (404, {"error": {"message": "no such model", "code": "model_not_found"}}),
    "long400": (400, {"error": {"message": "maximum context length is 10 tokens: SENTINEL", "param": "input_tokens"}}),
    "bad400": (400, {"error": {"message": "I dislike SENTINEL", "code": "content_filter"}}),
}
BODIES: dict[str, Any] = {
    "err200": {"error": {"message": "upstream broke: SENTINEL", "code": "upstream_error"}},
    "nochoices": {"choices": None},
    "emptychoices": {"choices": []},
    "list200": [1],
    "null": {"choices": [{"message": {"content": None}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9}},
    "quota200": {"error": {"message": "current quota", "code": "insufficient_quota"}},
    "thinking": {"choices": [{"message": {"content": None, "reasoning": "SENTINEL A"}, "finish_reason": "stop"}]},
    "declines": {"choices": [{"message": {"content": None, "refusal": "not SENTINEL"}, "finish_reason": "stop"}]},
    "filtered": {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]},
    "length": {"choices": [{"message": {"content": None, "reasoning": "A"}, "finish_reason": "length"}]},
}


@dataclass
class Request:
    """One request as it came: path, headers (lower case), body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)


class Many(ThreadingHTTPServer):
    """A server that many connections may knock at at once."""

    daemon_threads = True
    request_queue_size = 256


class ChatServer:
    """Serves on a free loopback port from `with` on; `requests` holds the chat requests, `others` all others.

    `then`: the mode where much room is given; `later`: from the second request on; `usage`: whether tokens are counted.
    """

    def __init__(self, mode: str = "ok", right: str = "", vllm: bool = False, after: str = "", to: str = "") -> None:
        self.mode, self.right, self.vllm, self.after, self.to = mode, right, vllm, after, to
        self.served, self.then, self.later = "tiny-2026", "", ""
        self.usage = True
        self.prose = "Well, I would say it depends."
        self.drawn: list[str] = []
        self.names: list[str] = []
        self.requests: list[Request] = []
        self.others: list[Request] = []
        self.released = threading.Event()
        self._http = Many(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where it is, with the version path."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body leave together, or each answer waits 40 ms for an acknowledgement

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def do_GET(self) -> None:
            server.others.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()}))
            owner = "vllm" if server.vllm else "somebody"
            self._json(200, {"data": [{"id": "tiny", "owned_by": owner}, {"id": "big", "owned_by": owner}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            if self.path == "/tokenize":
                server.others.append(seen)
                text = str(body.get("prompt", "many"))
                found = [tokenize(part) for part in (pieces(text) if server.names else [text])]
                self._json(200, {"tokens": found} if server.vllm else {})
                return
            server.requests.append(seen)
            self._chat(body)

        def _chat(self, body: dict[str, Any]) -> None:
            mode = server.then if server.then and body.get("max_tokens", 0) >= 200 else server.mode
            if server.later and len(server.requests) > 1:
                mode = server.later
            if mode in REFUSE and REFUSE[mode][0] in body:
                self._json(400, {"error": {"message": REFUSE[mode][1], "param": REFUSE[mode][0]}})
            elif mode in STATUS:
                self._json(*STATUS[mode], {"retry-after": server.after} if server.after else {})
            elif mode in BODIES:
                self._json(200, BODIES[mode])
            elif mode == "redirect":
                self._json(307, {}, {"location": f"{server.to}/chat/completions"})
            elif mode == "html200":
                self._send(200, b"<html>Please log in</html>", "text/html")
            elif mode == "empty200":
                self._send(200, b"", "application/json")
            elif mode == "204":
                self._send(204, b"", "application/json")
            elif mode == "early":
                self.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                self._json(200, completion(server, body))
            elif mode == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            elif mode == "huge":
                self._send(200, b'{"choices": "' + b"x" * (33 << 20) + b'"}', "application/json")
            elif mode == "badjson":
                self._send(200, b'{"choices": [{"mess', "application/json")
            elif mode == "hang":
                server.released.wait(30)
            elif mode == "drip":
                self._drip()
            elif mode == "cut":
                self.send_response(200)
                self.send_header("content-length", "1000")
                self.end_headers()
                self.wfile.write(b'{"choices"')
                self.close_connection = True
            else:
                self._json(200, completion(server, body))

        def _drip(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            while not server.released.wait(0.1):
                try:
                    self.wfile.write(b" ")
                    self.wfile.flush()
                except OSError:
                    return

        def _json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            self._send(status, json.dumps(body).encode(), "application/json", headers)

        def _send(self, status: int, body: bytes, media: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"content-type": media, "content-length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                return

    return Handler


def tokenize(text: str) -> int:
    """One token for any text: its characters as one number."""
    return int.from_bytes(text.encode(), "big") % 2**31


def pieces(name: str) -> list[str]:
    """A name in tokens of three letters, a space before it in the first."""
    head = 4 if name.startswith(" ") else 3
    return [name[:head], *(name[i : i + 3] for i in range(head, len(name), 3))]


def spelt(server: ChatServer, body: dict[str, Any], label: str) -> tuple[str, list[dict[str, Any]]]:
    """The answer and its log-probabilities, of a model that writes names: the first token of the right one has .7 in
    two spellings, those of others share .2; what goes on otherwise has an eighth of that."""
    own = pieces(label)
    others = sorted({pieces(name)[0] for name in server.names} - {own[0]})
    shares = {own[0]: 0.6, f" {own[0]}": 0.1} | {other: 0.2 / len(others) for other in others} | {"The ": 0.05}
    if any(pieces(name)[0] == own[0] for name in server.names if name != label):
        shares = {own[0]: 0.8} | {other: 0.1 / len(others) for other in others}
    ids = body.get("logprob_token_ids")
    if ids:
        shares = {text: share for text, share in shares.items() if tokenize(text) in ids}
        own = own[: body["max_tokens"]]
    numbered = bool(body.get("return_tokens_as_token_ids"))
    out = []
    for place, text in enumerate(own):
        if place:
            begun = "".join(own[:place])
            on = {name[len(begun) :][:3] for name in server.names if name.startswith(begun) and name != begun}
            shares = {text: 0.7} | dict.fromkeys(on - {text}, 0.1) | {"zz": 0.1}
        listed = {f"token_id:{tokenize(t)}" if numbered else t: math.log(share) for t, share in shares.items()}
        name = f"token_id:{tokenize(text)}" if numbered else text
        top = [{"token": one, "logprob": value} for one, value in listed.items()]
        out.append({"token": name, "logprob": listed[name], "top_logprobs": top})
    return "".join(own), out


def code_of(body: dict[str, Any], label: str) -> str:
    """The code under which the prompt of this request shows a label."""
    lines = body["messages"][-1]["content"].splitlines()
    return next((line.split(": ")[0] for line in lines if line.endswith(f": {label}")), "no code")


def completion(server: ChatServer, body: dict[str, Any]) -> dict[str, Any]:
    """A good answer: the right code with probability .7, the other codes share .2, the rest is for other tokens."""
    count = body.get("n", 1)
    labels = server.drawn[:count] or [server.right] * count
    texts = [
        server.prose if server.mode == "prose" else label if server.names else code_of(body, label) for label in labels
    ]
    words: list[dict[str, Any]] = []
    if server.mode == "words":
        texts[0], words = spelt(server, body, labels[0])
    if server.mode == "why":
        texts = [f"{text}\nBecause it says so." for text in texts]
    choices: list[dict[str, Any]] = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for i, text in enumerate(texts)
    ]
    if server.mode == "schema" and "response_format" in body:
        for choice in choices:
            choice["message"]["content"] = json.dumps({"label": choice["message"]["content"]})
    if server.mode in ("roomy", "thinks") and body.get("max_tokens", 0) < 200:
        choices = [{"message": {"content": None, "reasoning": "hm"}, "finish_reason": "length"}]
        choices[0]["logprobs"] = {"content": THOUGHT[:1]}
    elif server.mode == "astray" and body.get("max_tokens") == 1:
        choices[0] = {"message": {"content": "The"}, "finish_reason": "length"}
        found = logprobs(texts[0], body, "ok")[0]["top_logprobs"]
        choices[0]["logprobs"] = {"content": [{"token": "The", "logprob": math.log(0.5), "top_logprobs": found}]}
    elif body.get("logprobs") and server.mode not in ("nologprobs", "nologprobs400", "schema"):
        choices[0]["logprobs"] = {"content": words or logprobs(texts[0], body, server.mode)}
    usage = {"prompt_tokens": 100, "completion_tokens": 2 * count, "prompt_tokens_details": {"cached_tokens": 64}}
    return {"model": server.served, "choices": choices} | ({"usage": usage} if server.usage else {})


def logprobs(text: str, body: dict[str, Any], mode: str) -> list[dict[str, Any]]:
    """Log-probabilities as the wire has them: space, then the code in two variants, and one code that is not listed."""
    lines = body["messages"][-1]["content"].splitlines()
    codes = [line.split(": ")[0] for line in lines if ": " in line and len(line.split(": ")[0]) <= 2]
    if mode == "prose":
        return [{"token": word, "logprob": -0.1, "top_logprobs": []} for word in text.split()]
    text, _, why = text.partition("\n")
    others = [code for code in codes if code != text]
    shares = {text: 0.6, f" {text}": 0.1} | {code: 0.2 / len(others) for code in others} | {"The": 0.05}
    if mode == "unlisted":
        shares.pop(others[0])
    if "logprob_token_ids" in body:
        shares = {name: p for name, p in shares.items() if tokenize(name) in body["logprob_token_ids"]}
    top = [{"token": name, "logprob": math.log(p)} for name, p in shares.items()]
    first = {"token": text, "logprob": math.log(0.6), "top_logprobs": top}
    space = {"token": "\n", "logprob": -0.01, "top_logprobs": [{"token": "\n", "logprob": -0.01}]}
    after = [{"token": word, "logprob": -3.0, "top_logprobs": []} for word in ["\n", *why.split()]] if why else []
    if mode == "thinks":
        return [*THOUGHT, first, {"token": "<|end|>", "logprob": 0.0, "top_logprobs": []}]
    return [space, first] if mode == "space" else [first, *after]


THOUGHT = [
    {"token": token, "logprob": -1.0, "top_logprobs": [{"token": token, "logprob": -1.0}]}
    for token in ("hm", " A", " or", " B", "</think>", "\n\n")
]
"""What a model thinks first: its tokens are listed before those of the answer, as vLLM lists them."""
