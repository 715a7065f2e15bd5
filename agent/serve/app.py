"""The server: HTTP to questions, answers to HTTP. Knows no file and no option of the command line.

The event loop only reads and writes; one thread works the model (`batches`). A text is never written to a log.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from agent import drift
from agent.serve import wire
from agent.serve.batches import Batches, Full, Limits
from agent.serve.metrics import Metrics
from agent.serve.saved import Labeled, Saved, item_of
from agent.serve.wire import Refused

FIELDS = ("text", "texts", "proba")
WARM = "A first text, so that everything is loaded."
BIG = 16_384
"""Bytes of a body from which it is read in a thread of its own: the event loop is there for all."""
Read = TypeVar("Read")
Handle = Callable[[bytes], Awaitable[dict[str, Any]]]


class Service:
    """One model behind its endpoints.

    bar: labels below this probability are withheld. token: what a client must show, "" for none. say: where a person
    reads. ready: called once the first prediction is made; failed: the error that hindered it. stop: ends the server.
    """

    def __init__(
        self,
        saved: Saved,
        bar: float | None = None,
        token: str = "",
        limits: Limits | None = None,
        say: Callable[[str], None] = lambda text: None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.saved, self.bar, self.limits = saved, bar, limits or Limits()
        self._token, self._say, self._ready = token.encode(), say, ready
        self.revision = saved.revision
        self._names = wire.Names(saved.names, saved.many)
        self.metrics = Metrics()
        found = saved.reference()
        self.monitor = None if found is None else drift.Monitor(found, saved.layout)
        self.is_ready = False
        self.failed: BaseException | None = None
        self.stop: Callable[[], None] = lambda: None
        self._batches: Batches | None = None

    def app(self, stop: Callable[[], None] = lambda: None) -> Any:
        """The ASGI application; `stop` ends the server where the model does not start."""
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.routing import Route

        self.stop = stop
        return Starlette(
            routes=[
                Route("/predict", self._posted(self._predict, "/predict"), methods=["POST"]),
                Route("/v1/systemone", self._posted(self._wired("systemone"), "/v1/systemone"), methods=["POST"]),
                Route("/v1/decisions", self._posted(self._wired("decisions"), "/v1/decisions"), methods=["POST"]),
                Route("/health", self._health, methods=["GET"]),
                Route("/metrics", self._page, methods=["GET"]),
            ],
            exception_handlers={HTTPException: self._strayed},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        import asyncio

        del app
        self._batches = Batches(self._work, self.limits)
        warming = asyncio.get_running_loop().create_task(self._warm())
        yield
        self.is_ready = False
        warming.cancel()
        await self._batches.close()

    async def _warm(self) -> None:
        """Ready only when a text has been labeled."""
        assert self._batches is not None
        try:
            await self._batches.aside(self._first)
        except Exception as error:  # noqa: BLE001 - told by whoever started us
            self.failed = error
            self.stop()
            return
        self.is_ready = True
        self._ready()

    def _first(self) -> None:
        labeled = self.saved.label([item_of(WARM)])
        if self.monitor is not None:
            self.monitor.hear(labeled.features[:0], labeled.said[:0])  # the reference of another model is found here

    def _work(self, texts: list[str]) -> Labeled:
        """In the worker thread."""
        labeled = self.saved.label([item_of(text) for text in texts])
        self.metrics.batches.add(len(texts))
        self.metrics.items += len(texts)
        if self.monitor is not None:
            before = self.monitor.alarm
            self.monitor.hear(labeled.features, labeled.said)
            if self.monitor.alarm and not before:
                self._say(drift.words(self.monitor.found()))
        return labeled

    def _posted(self, handle: Handle, path: str) -> Callable[[Any], Awaitable[Any]]:
        """An endpoint: may the client, are we ready, is the body sound; then `handle`. Refusals in plain words."""

        async def endpoint(request: Any) -> Any:
            began, code, after = time.perf_counter(), 200, None
            try:
                self._admit(request)
                if not self.is_ready:
                    raise Refused(503, "the model is not loaded yet; ask again in a moment", 1)
                body = await handle(await self._read(request))
            except Refused as refused:
                code, after, body = refused.status, refused.after, _error(str(refused))
            except Full:
                code, after, body = 503, 1, _error(f"{self.limits.queue:,} texts wait already; ask again in a second")
            except Exception as error:  # noqa: BLE001 - its words may hold a text: only its name leaves
                code, body = 500, _error(f"this text cannot be labeled: {type(error).__name__} in the model")
            self.metrics.requests[path, code] += 1
            self.metrics.seconds.add(time.perf_counter() - began)
            return _response(body, code, after)

        return endpoint

    def _admit(self, request: Any) -> None:
        if not self._token:
            return
        shown = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(shown, b"Bearer " + self._token):
            raise Refused(401, "this server wants a token: send the header Authorization: Bearer …")

    async def _read(self, request: Any) -> bytes:
        limit = self.limits.body
        too_long = Refused(413, f"the body has more than {limit:,} bytes; send fewer texts at once")
        try:
            if int(request.headers.get("content-length") or 0) > limit:
                raise too_long
        except ValueError:
            raise Refused(400, "content-length is no number") from None
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise too_long
            parts.append(part)
        return b"".join(parts)

    def _checked(self, text: Any, where: str) -> str:
        if not isinstance(text, str):
            raise Refused(400, f"{where} must be a text in quotes")
        if not text.strip():
            raise Refused(400, f"{where} is empty; leave it out")
        if len(text) > self.limits.chars:
            raise Refused(
                400, f"{where} has {len(text):,} characters, more than the {self.limits.chars:,} allowed; cut it"
            )
        return text if text.isascii() else text.encode("utf-8", "replace").decode()

    async def _label(self, texts: list[str]) -> list[Labeled]:
        if len(texts) > min(self.limits.texts, self.limits.queue):
            raise Refused(413, f"{len(texts):,} texts at once, more than the {self.limits.texts:,} allowed; send fewer")
        assert self._batches is not None
        return await self._batches.ask(texts)

    async def _predict(self, raw: bytes) -> dict[str, Any]:
        body = await _apart(raw, _object)
        wire.known(body, FIELDS)
        if ("text" in body) == ("texts" in body):
            raise Refused(400, 'give either "text", one text, or "texts", a list of them')
        proba = body.get("proba", False)
        if not isinstance(proba, bool):
            raise Refused(400, '"proba" must be true or false')
        if "text" in body:
            texts = [self._checked(body["text"], '"text"')]
        elif isinstance(body["texts"], list) and body["texts"]:
            texts = [self._checked(text, f'text {number} of "texts"') for number, text in enumerate(body["texts"], 1)]
        else:
            raise Refused(400, '"texts" must be a list of texts, at least one')
        rows = [row for labeled in await self._label(texts) for row in self._rows(labeled, proba)]
        self.metrics.abstained += sum(row["abstained"] for row in rows)
        return {"predictions": rows, "model": self.saved.student_name, "revision": self.revision}

    def _rows(self, labeled: Labeled, proba: bool) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for label, sure in zip(labeled.labels, labeled.sure.tolist(), strict=True):
            short = self.bar is not None and sure < self.bar
            row: dict[str, Any] = {"label": None if short else label, "probability": round(sure, 6), "abstained": short}
            if short:
                row["guess"] = label
            rows.append(row)
        if proba:
            for row, chances in zip(rows, self.saved.chances(labeled.said).tolist(), strict=True):
                row["probabilities"] = {n: round(p, 6) for n, p in zip(self.saved.names, chances, strict=True)}
        return rows

    def _wired(self, name: str) -> Handle:
        def read(raw: bytes) -> tuple[str, list[wire.Asked]]:
            return wire.questions(_object(raw), name, self._names)

        async def handle(raw: bytes) -> dict[str, Any]:
            text, asked = await _apart(raw, read)
            (labeled,) = await self._label([self._checked(text, "the text")])
            chances = self.saved.chances(labeled.said)[0]
            return wire.answers(asked, chances, name, f"{self.saved.student_name}-{self.revision}", len(text.split()))

        return handle

    async def _health(self, request: Any) -> Any:
        del request
        told = {"ready": self.is_ready, "model": self.saved.student_name, "revision": self.revision}
        return _response(told, 200 if self.is_ready else 503, None if self.is_ready else 1)

    async def _page(self, request: Any) -> Any:
        from starlette.responses import Response

        try:
            self._admit(request)
        except Refused as refused:
            return _response(_error(str(refused)), refused.status)
        gauges: dict[str, tuple[str, float]] = {
            "ready": ("1 when the model is loaded.", float(self.is_ready)),
            "waiting": ("Texts in the queue.", float(self._batches.waiting if self._batches else 0)),
        }
        if self.monitor is not None:
            found = self.monitor.found()
            gauges |= {
                "drift_rows": ("Texts that drift was looked for in.", float(found["rows"])),
                "drift_p": ("Chance of such evidence of drift without any; holds whenever it is read.", found["p"]),
                "drift_alarm": ("1 once drift is beyond chance.", float(found["alarm"])),
                "drift_distance": ("Mean distance of texts to the pool.", found["distance"]),
                "drift_distance_of_pool": ("The same within the pool.", found["distance_of_pool"]),
                "drift_doubt": ("Mean expected error, 1 - probability.", found["doubt"]),
                "drift_doubt_of_pool": ("The same of the pool.", found["doubt_of_pool"]),
                "drift_labels_moved": ("Total variation between labels' shares and the pool's.", found["labels_moved"]),
            }
        return Response(self.metrics.text(gauges), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _strayed(self, request: Any, error: Any) -> Any:
        paths = "POST /predict, POST /v1/decisions, POST /v1/systemone, GET /health, GET /metrics"
        return _response(_error(f"{error.detail}: this server answers {paths}"), error.status_code)


async def _apart(raw: bytes, read: Callable[[bytes], Read]) -> Read:
    """What a body says; a big one is read in a thread, so that others are answered meanwhile."""
    import asyncio

    return read(raw) if len(raw) < BIG else await asyncio.to_thread(read, raw)


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(raw)
    except RecursionError:
        raise Refused(400, "the body is nested too deep") from None
    except json.JSONDecodeError as error:
        raise Refused(400, f"the body is no sound JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError:
        raise Refused(400, "the body is no sound JSON: save it as UTF-8") from None
    if not isinstance(body, dict):
        raise Refused(400, 'the body must be a JSON object, as {"text": "…"}')
    return body


def _error(words: str) -> dict[str, Any]:
    return {"error": {"message": words}}


def _response(body: Mapping[str, Any], code: int, after: int | None = None) -> Any:
    from starlette.responses import Response

    headers = {} if after is None else {"Retry-After": str(after)}
    if code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), code, headers, "application/json")
