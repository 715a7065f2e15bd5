"""A real server on loopback that speaks /v1/files and /v1/batches and misbehaves as told. Knows nothing of our package.

    with BatchServer(judge) as server:
        server.url, server.jobs, server.asked

`judge` is given the text of a request's last message and says the right label, whose code is answered. `faults` holds
what the next jobs do wrong, one an entry, names joined by blanks; `looks` after how many looks a job is over. `answer`
does to a file of requests what such a server (or `vllm run-batch`) does, without a server.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import Any

from tests.servers.chat import Many, completion

Judge = Callable[[str], str]


def answer(requests: bytes, judge: Judge, faults: str = "") -> tuple[bytes, bytes]:
    """The output file and the error file for a file of requests."""
    lines = [json.loads(line) for line in requests.splitlines()]
    told, good, bad = faults.split(), [], []
    for i, line in enumerate(lines):
        half = i >= len(lines) // 2
        if "expired" in told and half:
            bad.append(_error(line, None, {"code": "batch_expired", "message": "expired"}))
        elif "errors-only" in told or ("status500" in told and i % 5 == 0):
            bad.append(_error(line, 500, None))
        elif "status400" in told and i % 5 == 0:
            bad.append(_error(line, 400, None))
        elif "prose" in told and i % 5 == 0:
            good.append(_good(line, judge, "prose"))
        elif not ("partial" in told and half):
            good.append(_good(line, judge, "nologprobs" if "nologprobs" in told else "ok"))
    if "duplicate" in told:
        good += [dict(good[0], response=good[1]["response"]), good[2]]
    if "stranger" in told:
        good.insert(1, dict(good[0], custom_id="somebody-else"))
        good.insert(2, {"response": good[0]["response"]})
    if "shuffled" in told:
        random.Random(0).shuffle(good)
    out = b"".join(json.dumps(line).encode() + b"\n" for line in good)
    if "nojson" in told:
        out = b'{"custom_id": oops\n' + out
    if "cut" in told:
        out = out[: len(out) * 2 // 3 - 9]
    return out, b"".join(json.dumps(line).encode() + b"\n" for line in bad)


def _good(line: dict[str, Any], judge: Judge, mode: str) -> dict[str, Any]:
    body = line["body"]
    label = judge(body["messages"][-1]["content"])
    kept = {"drawn": [label] * body.get("n", 1), "right": "", "mode": mode, "prose": "Well, it depends."}
    told = SimpleNamespace(**kept, names=False, served="tiny-2026", usage=True)
    response = {"status_code": 200, "request_id": "r", "body": completion(told, body)}
    return {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}


def _error(line: dict[str, Any], status: int | None, error: Any) -> dict[str, Any]:
    body = {"error": {"message": "trouble: SENTINEL", "code": "server_error"}}
    response = None if status is None else {"status_code": status, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": line["custom_id"], "response": response, "error": error}


@dataclass
class Job:
    """A job as this server keeps it."""

    id: str
    input: str
    metadata: dict[str, str]
    faults: str
    looks: int
    status: str = "in_progress"
    output: str | None = None
    errors: str | None = None

    def told(self) -> dict[str, Any]:
        wrong = {"object": "list", "data": [{"code": "invalid_json_line", "message": "SENTINEL", "line": 1}]}
        return {
            "id": self.id, "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h",
            "created_at": 0, "input_file_id": self.input, "status": self.status, "metadata": self.metadata,
            "output_file_id": self.output, "error_file_id": self.errors,
            "errors": wrong if self.status == "failed" else None,
            "request_counts": {"completed": 1, "failed": 0, "total": 2},
        }  # fmt: skip


@dataclass
class BatchServer:
    """Serves on a free loopback port from `with` on. `asked`: every custom_id that was worked on, once a time."""

    judge: Judge
    faults: list[str] = field(default_factory=list)
    looks: int = 0
    deaf: bool = False
    """Takes a job on and says nothing, as when the connection breaks just then."""
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Names of all headers that came, in small letters."""
    moved: str = ""
    """An address that every request is sent on to, by HTTP 307."""
    hook: Callable[[str], None] = lambda what: None
    """Told of each request, as in "POST batches" and "GET files": after its work is done, before it is answered."""

    def __post_init__(self) -> None:
        self._http = Many(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> BatchServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def keep(self, data: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return name

    def begin(self, body: dict[str, Any]) -> Job:
        faults = self.faults.pop(0) if self.faults else ""
        name = f"batch_{len(self.jobs)}"
        self.jobs.append(Job(name, body["input_file_id"], body.get("metadata") or {}, faults, self.looks))
        return self.jobs[-1]

    def look(self, job: Job) -> Job:
        """One look at a job; the last of them finds it over."""
        if job.status == "in_progress":
            job.looks -= 1
            if job.looks < 0:
                self._work(job, "expired" if "expired" in job.faults else "completed")
        return job

    def cancel(self, job: Job) -> Job:
        """What was done by then is delivered: the first half."""
        if job.status == "in_progress":
            job.faults += " partial"
            self._work(job, "cancelled")
        return job

    def _work(self, job: Job, end: str) -> None:
        if "refused" in job.faults:
            job.status = "failed"
            return
        requests = self.files[job.input]
        out, bad = answer(requests, self.judge, job.faults)
        self.asked += [
            json.loads(line)["custom_id"] for line in out.splitlines() if b"custom_id" in line and b"oops" not in line
        ]
        job.output, job.errors = self.keep(out) if out else None, self.keep(bad) if bad else None
        job.status = end


def _handler(server: BatchServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def do_GET(self) -> None:
            self._note()
            path, _, query = self.path.partition("?")
            parts = path.strip("/").split("/")
            if parts[1] == "files":
                self._send(200, server.files[parts[2]])
            elif len(parts) == 2:
                self._list(query)
            else:
                self._json(server.look(self._job(parts[2])).told())

        def do_POST(self) -> None:
            self._note()
            raw = self.rfile.read(int(self.headers["content-length"]))
            if server.moved:
                self._send(307, b"", server.moved + self.path.removeprefix("/v1"))
                return
            parts = self.path.strip("/").split("/")
            if parts[1] == "files":
                self._json(_file(server.keep(self._uploaded(raw)), len(raw)))
            elif len(parts) == 2:
                job = server.begin(json.loads(raw))
                if server.deaf:
                    server.deaf = False
                    self.close_connection = True
                    return
                self._json(job.told())
            else:
                self._json(server.cancel(self._job(parts[2])).told())

        def _note(self) -> None:
            server.keys.append(self.headers["authorization"] or "")
            server.told += [name.lower() for name in self.headers]

        def _job(self, name: str) -> Job:
            return next(job for job in server.jobs if job.id == name)

        def _list(self, query: str) -> None:
            """Two a page, newest first, as real ones page."""
            jobs = [job.told() for job in reversed(server.jobs)]
            after = next((part[6:] for part in query.split("&") if part.startswith("after=")), None)
            first = next((i + 1 for i, job in enumerate(jobs) if job["id"] == after), 0)
            page = jobs[first : first + 2]
            self._json({"object": "list", "data": page, "has_more": first + 2 < len(jobs)})

        def _uploaded(self, raw: bytes) -> bytes:
            head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
            parts = BytesParser(policy=HTTP).parsebytes(head + raw).iter_parts()
            part = next(p for p in parts if p.get_param("name", header="content-disposition") == "file")
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            return data

        def _json(self, body: Any) -> None:
            self._send(200, json.dumps(body).encode())

        def _send(self, status: int, body: bytes, elsewhere: str = "") -> None:
            server.hook(f"{self.command} {self.path.strip('/').split('/')[1].partition('?')[0]}")
            self.send_response(status)
            if elsewhere:
                self.send_header("location", elsewhere)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _file(name: str, size: int) -> dict[str, Any]:
    return {"id": name, "object": "file", "bytes": size, "created_at": 0, "filename": "f", "purpose": "batch",
            "status": "processed"}  # fmt: skip
