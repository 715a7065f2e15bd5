"""A chat-completions server that answers every question after a fixed time and never tires: `python -m eval._server`.

For measuring clients, so it does as little as it can: no HTTP library, no parsing of what is asked beyond the model's
name, which says in what form to answer. It knows nothing of the package that is measured.
  codes   option code "A" with log-probabilities of 20 tokens      name   the words "positive"
  json    {"label": "positive"}                                    tool   the same as a call of the tool offered
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import string
from typing import Any

LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
MODEL = re.compile(rb'"model": ?"([a-z/]+)"')
TOOL = re.compile(rb'"tools".*?"name": ?"([A-Za-z_]+)"', re.S)
USAGE = {"prompt_tokens": 160, "completion_tokens": 1, "total_tokens": 161}


def _completion(message: dict[str, Any], **more: Any) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}, **more}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "fast", "choices": [choice], "usage": USAGE}
    return json.dumps(body).encode()


def _codes() -> bytes:
    top = [{"token": letter, "logprob": -0.1 - number} for number, letter in enumerate(string.ascii_uppercase[:20])]
    return _completion({"content": "A"}, logprobs={"content": [{**top[0], "top_logprobs": top}]})


ANSWERS = {
    b"codes": _codes(),
    b"name": _completion({"content": "positive"}),
    b"json": _completion({"content": json.dumps({"label": "positive"})}),
}


def _called(tool: str) -> bytes:
    call = {"id": "t", "type": "function", "function": {"name": tool, "arguments": json.dumps({"label": "positive"})}}
    return _completion({"content": None, "tool_calls": [call]})


def answer(request: bytes) -> bytes:
    """The whole response to a whole request."""
    if request.startswith(b"GET"):
        body = b'{"object":"list","data":[{"id":"codes","object":"model","owned_by":"eval"}]}'
    else:
        model = MODEL.search(request)
        name = model.group(1).rpartition(b"/")[2] if model else b"name"
        tool = TOOL.search(request) if name == b"tool" else None
        body = _called(tool.group(1).decode()) if tool else ANSWERS.get(name, ANSWERS[b"name"])
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection: requests one after another, each answered `delay` seconds after its last byte."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect; answer each request that is whole."""
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._got, 0, end)
            size = end + 4 + (int(length.group(1)) if length else 0)
            if len(self._got) < size:
                return
            whole, self._got = self._got[:size], self._got[size:]
            asyncio.get_running_loop().call_later(self._delay, self._send, answer(whole))

    def _send(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(body)


async def serve(delay: float) -> None:
    """Serve for ever on a free loopback port; its number is the first line on stdout."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(delay), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds")
    asyncio.run(serve(parser.parse_args().delay))
