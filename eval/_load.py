"""A client that asks as fast as it is answered: `python -m eval._load URL CONNECTIONS TEXTS SECONDS < texts`.

Closed loop: each connection sends its next request when the last is answered. Prints one JSON line: texts, requests,
seconds, latencies (ms: p50, p99), and how many requests failed. Knows nothing of the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence

import aiohttp


async def drive(url: str, connections: int, size: int, seconds: float, texts: Sequence[str]) -> dict[str, float]:
    """Asks for `seconds`, after a warm-up of a tenth of it that counts for nothing; tells when counting begins."""
    parts = [texts[i : i + size] for i in range(0, len(texts) - size + 1, size)]
    bodies = [json.dumps({"text": p[0]} if size == 1 else {"texts": list(p)}).encode() for p in parts]
    took: list[float] = []
    failed = 0
    begin = time.perf_counter() + seconds / 10
    end = begin + seconds

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal failed
        at = number * 7
        while (sent := time.perf_counter()) < end:
            async with session.post(url, data=bodies[at % len(bodies)]) as got:
                await got.read()
                failed += got.status != 200
            if sent >= begin:
                took.append(time.perf_counter() - sent)
            at += connections

    async def tell() -> None:
        await asyncio.sleep(max(0.0, begin - time.perf_counter()))
        print("counting", flush=True)

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(tell(), *[ask(session, n) for n in range(connections)])
    took.sort()
    wall = time.perf_counter() - begin
    at50, at99 = (1_000 * took[min(len(took) - 1, int(q * len(took)))] for q in (0.5, 0.99))
    return {
        "texts": len(took) * size,
        "requests": len(took),
        "seconds": wall,
        "p50": at50,
        "p99": at99,
        "failed": failed,
    }


if __name__ == "__main__":
    words = sys.argv[1:]
    found = asyncio.run(drive(words[0], int(words[1]), int(words[2]), float(words[3]), sys.stdin.read().splitlines()))
    print(json.dumps(found))
