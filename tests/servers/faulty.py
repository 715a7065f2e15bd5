"""A real HTTP server on loopback that fails in every way servers are known to fail. Knows nothing of the package.

It speaks chat completions (with log-probabilities), `/tokenize`, `/models`, `/decisions` and `/systemone`. A question's
text says what is right, by a mark such as `[[17 spam]]`: item 17, label spam; `[[17 spam hang]]` makes this one item
fail. Otherwise `mode` fails a seeded `share` of the requests, only the `first` so many, or all but the `late` first
ones. Hits are counted by item.

    with Faulty("quota429") as server:
        server.url, server.hits, server.total

By hand: `python -m tests.servers.faulty --mode quota429 --port 0` prints its address and serves until Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from aiohttp import web

MARK = re.compile(r"\[\[(\S+) (\S+?)(?: (\S+))?\]\]")

SAID: dict[str, tuple[int, str, str]] = {
    "401": (401, "invalid_api_key", "Incorrect API key provided: sk-SECRET"),
    "402": (402, "payment_required", "Insufficient credit"),
    "403": (403, "forbidden", "You are not allowed to use this model"),
    "404": (404, "model_not_found", "The model does not exist"),
    "400context": (400, "context_length_exceeded", "This model's maximum context length is 10 tokens"),
    "413": (413, "too_large", "Request entity too large"),
    "400filter": (400, "content_filter", "The prompt was filtered"),
    "quota429": (429, "insufficient_quota", "You exceeded your current quota, please check your plan"),
    "quota403": (403, "billing_not_active", "insufficient funds: billing_not_active"),
    "429": (429, "rate_limit_exceeded", "Rate limit reached"),
    "429seconds": (429, "rate_limit_exceeded", "Rate limit reached"),
    "429date": (429, "rate_limit_exceeded", "Rate limit reached"),
    "429long": (429, "rate_limit_exceeded", "Rate limit reached"),
    "503": (503, "overloaded", "The engine is overloaded"),
    "500": (500, "internal_error", "Internal server error"),
    "529": (529, "overloaded_error", "Overloaded"),
    "slowstart": (503, "loading", "The model is being loaded"),
}
"""Modes that are an HTTP status with an error body: status, code, message."""

BODIES: dict[str, Any] = {
    "err200": {"error": {"message": "upstream broke", "code": "upstream_error"}},
    "quota200": {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
    "nochoices": {"choices": None, "answers": None},
    "emptychoices": {"choices": [], "answers": []},
    "list200": [1, 2, 3],
    "nullcontent": {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]},
    "length": {"choices": [{"message": {"content": ""}, "finish_reason": "length"}]},
    "reasoning": {"choices": [{"message": {"content": None, "reasoning": "A"}, "finish_reason": "length"}]},
}
"""Modes that are a body with HTTP 200."""

FIRST = {"500burst": ("500", 6), "slowstart": ("slowstart", 3)}
"""Modes that pass by themselves: what is done, to the first so many requests."""

OTHER = {
    "ok": "answers well",
    "hang": "takes the request and never answers",
    "drip": "sends a byte now and then, for ever",
    "cut": "breaks off in the body",
    "reset": "resets the connection",
    "html200": "a login page, HTTP 200",
    "empty200": "nothing, HTTP 200",
    "badjson": "half a JSON body",
    "badutf8": "bytes that are no text",
    "huge": "a body of 40 MB",
    "wrongtype": "a good body that says it is plain text",
    "ignore": "prose instead of an option",
    "wrongcode": "a code that is none of the options",
    "nologprobs": "gives no log-probabilities",
    "nologprobs400": "refuses to give log-probabilities, HTTP 400",
    "top5": "refuses more than five of them, HTTP 400",
    "nanlogprobs": "log-probabilities that are no numbers",
    "noseed400": "refuses a seed, HTTP 400",
    "nousage": "does not say how many tokens it took",
    "duplicate": "every choice twice",
    "modelchange": "another model answers from the tenth request on",
    "redirect": "sends us elsewhere",
}
"""What else it does."""

MODES = (*OTHER, *SAID, *BODIES, "500burst")
"""All modes."""

LOUD = {"reset", "cut", "drip", "hang"}


class Faulty:
    """Serves from `with` on. Attributes may be set while it serves; `heal` makes it a good server.

    delay: seconds a good answer takes; capacity: so many questions are worked on at once (0: all). `hits`: requests by
    item; `good`: good answers by item; `total`: all requests for answers; `most`: most of them at once; `elsewhere`:
    requests that followed a redirect.
    """

    def __init__(
        self,
        mode: str = "ok",
        *,
        share: float = 1.0,
        first: int | None = None,
        late: int = 0,
        seed: int = 0,
        after: float = 1.0,
        delay: float = 0.0,
        capacity: int = 0,
        vllm: bool = False,
        port: int = 0,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is none of {', '.join(MODES)}")
        self.mode, self.share, self.first, self.late, self.after = mode, share, first, late, after
        self.delay, self.capacity, self.vllm = delay, capacity, vllm
        self.hits: Counter[str] = Counter()
        self.good: Counter[str] = Counter()
        self.total = self.most = self.elsewhere = self.now = 0
        self._port = port
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        """Where it is, with the version path."""
        return f"http://127.0.0.1:{self._port}/v1"

    def heal(self) -> None:
        """From now on it answers well."""
        self.mode = "ok"

    def __enter__(self) -> Faulty:
        self._thread.start()
        self._up.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._until_end())
        self._loop.close()

    async def _until_end(self) -> None:
        self._end = asyncio.Event()
        self._busy = asyncio.Semaphore(self.capacity or 10**6)
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/elsewhere", self._elsewhere)
        for path in ("chat/completions", "decisions", "systemone"):
            app.router.add_post(f"/v1/{path}", self._ask)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port, backlog=1024)
        await site.start()
        self._port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._up.set()
        await self._end.wait()
        await runner.cleanup()

    # What is asked beside questions -------------------------------------------------------------------------------

    async def _models(self, request: web.Request) -> web.Response:
        owner = "vllm" if self.vllm else "somebody"
        return web.json_response({"data": [{"id": "tiny", "owned_by": owner}]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"tokens": [token(str(body["prompt"]))]} if self.vllm else {})

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.json_response({})

    # Questions ----------------------------------------------------------------------------------------------------

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        marks = MARK.findall(_last_text(body))
        item, label, own = marks[-1] if marks else ("", "", "")
        self.total += 1
        self.hits[item] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            mode = own or self._mode_now()
            return await self._do(mode, request, body, item, label)
        finally:
            self.now -= 1

    def _mode_now(self) -> str:
        """What is done to this request, by the schedule."""
        mode, first = FIRST.get(self.mode, (self.mode, self.first))
        if self.total <= self.late or (first is not None and self.total > first):
            return "ok"
        return mode if self.share >= 1 or self._rng.random() < self.share else "ok"

    async def _do(
        self, mode: str, request: web.Request, body: dict[str, Any], item: str, label: str
    ) -> web.StreamResponse:
        if mode in SAID:
            status, code, message = SAID[mode]
            return web.json_response(
                {"error": {"message": message, "code": code}}, status=status, headers=self._after(mode)
            )
        if mode in BODIES:
            return web.json_response(BODIES[mode])
        if mode in LOUD:
            return await self._loud(mode, request)
        if mode == "redirect":
            return web.Response(status=307, headers={"location": f"http://localhost:{self._port}/elsewhere"})
        if mode in RAW:
            data, media = RAW[mode]
            return web.Response(body=data() if callable(data) else data, content_type=media)
        refused = _refused(mode, body)
        if refused:
            error = {"message": f"{refused} is not supported by this model", "param": refused}
            return web.json_response({"error": error}, status=400)
        async with self._busy:
            if self.delay:
                await asyncio.sleep(self.delay)
        self.good[item] += 1
        model = "other-2027" if mode == "modelchange" and self.total > 10 else "tiny-2026"
        answer = ANSWER[request.path.rsplit("/", 1)[1]](mode, body, label, model)
        text = json.dumps(answer)
        return web.Response(text=text, content_type="text/plain" if mode == "wrongtype" else "application/json")

    def _after(self, mode: str) -> dict[str, str]:
        """Retry-After, as this mode says it."""
        date = {"date": formatdate(time.time(), usegmt=True)}
        seconds = {"429seconds": self.after, "429long": 3600.0}.get(mode)
        if mode == "429date":
            return date | {"retry-after": formatdate(time.time() + max(self.after, 1.0), usegmt=True)}
        return {} if seconds is None else {"retry-after": f"{seconds:g}"}

    async def _loud(self, mode: str, request: web.Request) -> web.StreamResponse:
        """Fails below HTTP."""
        transport = request.transport
        assert transport is not None
        if mode == "reset":
            transport.abort()
            return web.Response()
        response = web.StreamResponse(headers={"content-length": "1000", "content-type": "application/json"})
        if mode != "hang":
            await response.prepare(request)
            await response.write(b'{"choices"')
        if mode == "cut":
            transport.close()
            return response
        while not self._end.is_set() and not transport.is_closing():
            if mode == "drip":
                await response.write(b" ")
            await asyncio.sleep(0.05)
        transport.abort()
        return response


RAW: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "html200": (b"<html><body>Please log in</body></html>", "text/html"),
    "empty200": (b"", "application/json"),
    "badjson": (b'{"choices": [{"mess', "application/json"),
    "badutf8": (b'{"choices": "\xff\xfe\xfd"}', "application/json"),
    "huge": (lambda: b'{"choices": "' + b"a" * (40 * 2**20) + b'"}', "application/json"),
}


def _last_text(body: dict[str, Any]) -> str:
    """The part of a request that holds the item, whatever the wire."""
    if "messages" in body:
        return str(body["messages"][-1]["content"])
    return json.dumps(body.get("input", body.get("state", "")), ensure_ascii=False)


def _refused(mode: str, body: dict[str, Any]) -> str:
    """The field of this request that the mode does not bear; "" when there is none."""
    if mode == "nologprobs400" and body.get("logprobs"):
        return "logprobs"
    if mode == "top5" and body.get("top_logprobs", 0) > 5:
        return "top_logprobs > 5"
    return "seed" if mode == "noseed400" and "seed" in body else ""


def token(text: str) -> int:
    """One token for any text: its bytes as one number."""
    return int.from_bytes(text.encode(), "big") % 2**31


def _codes(body: dict[str, Any]) -> dict[str, str]:
    """Label -> code, of the lines "CODE: label" of the prompt."""
    found = re.findall(r"^([A-Z0-9]{1,2}): (.+)$", body["messages"][-1]["content"], re.MULTILINE)
    return {label: code for code, label in found}


def _chat(mode: str, body: dict[str, Any], label: str, model: str) -> dict[str, Any]:
    """A completion: the right code at .8, the others share .15."""
    codes = _codes(body)
    text = {"ignore": "Well, that depends on what one means.", "wrongcode": "Q"}.get(mode) or codes.get(label, "A")
    choices: list[dict[str, Any]] = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for i in range(body.get("n") or 1)
    ]
    if body.get("logprobs") and mode != "nologprobs":
        choices[0]["logprobs"] = {"content": [_logprobs(mode, text, [*codes.values()], body)]}
    if mode == "duplicate":
        choices = [*choices, *choices]
    usage = {"prompt_tokens": 60, "completion_tokens": len(choices), "prompt_tokens_details": {"cached_tokens": 32}}
    return {"object": "chat.completion", "model": model, "choices": choices} | (
        {} if mode == "nousage" else {"usage": usage}
    )


def _logprobs(mode: str, text: str, codes: list[str], body: dict[str, Any]) -> dict[str, Any]:
    if mode in ("ignore", "wrongcode"):
        return {"token": text.split()[0], "logprob": -0.1, "top_logprobs": [{"token": "Well", "logprob": -0.1}]}
    others = [code for code in codes if code != text]
    shares = {text: 0.8} | {code: 0.15 / len(others) for code in others}
    if "logprob_token_ids" in body:
        shares = {name: p for name, p in shares.items() if token(name) in body["logprob_token_ids"]}
    worth = (lambda p: math.nan) if mode == "nanlogprobs" else math.log
    top = [{"token": name, "logprob": worth(p)} for name, p in shares.items()]
    return {"token": text, "logprob": worth(0.8), "top_logprobs": top[: body.get("top_logprobs") or None]}


def _probabilities(mode: str, choices: list[str], label: str) -> dict[str, float]:
    if mode in ("ignore", "wrongcode"):
        return {"Q": 1.0}
    return {c: 0.8 if c == label else 0.2 / max(len(choices) - 1, 1) for c in choices}


def _decisions(mode: str, body: dict[str, Any], label: str, model: str) -> dict[str, Any]:
    answers = []
    for question in body["questions"]:
        shares = _probabilities(mode, [str(choice["value"]) for choice in question["choices"]], label)
        best = max(shares, key=lambda name: shares[name])
        pairs = [{"value": name, "probability": p} for name, p in shares.items()]
        answers.append({"type": "choice", "choice": best, "confidence": shares[best], "probabilities": pairs})
    return {"model": model, "answers": answers, "usage": {"input_tokens": 60, "output_tokens": 0}}


def _systemone(mode: str, body: dict[str, Any], label: str, model: str) -> dict[str, Any]:
    answers = {}
    for name, question in body["questions"].items():
        shares = _probabilities(mode, list(question["criteria"]), label)
        best = max(shares, key=lambda choice: shares[choice])
        answers[name] = {"type": "choice", "choice": best, "probabilities": shares, "confidence": shares[best]}
    return {"model": model, "answers": answers, "usage": {"prompt_tokens": 60, "completion_tokens": 0}}


ANSWER: dict[str, Callable[[str, dict[str, Any], str, str], dict[str, Any]]] = {
    "completions": _chat,
    "decisions": _decisions,
    "systemone": _systemone,
}


def main() -> None:
    """Serve by hand."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.faulty", description="A server that fails.")
    parser.add_argument("--mode", default="ok", choices=MODES)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="share of the requests that fail")
    parser.add_argument("--first", type=int, help="only the first so many requests fail")
    parser.add_argument("--late", type=int, default=0, help="the first so many requests are answered well")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds a good answer takes")
    parser.add_argument("--capacity", type=int, default=0, help="questions worked on at once; 0: all")
    parser.add_argument("--vllm", action="store_true", help="say that it is vLLM")
    words = parser.parse_args()
    with Faulty(**vars(words)) as server:
        print(server.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"{server.total} requests, {sum(server.good.values())} good answers")


if __name__ == "__main__":
    main()
