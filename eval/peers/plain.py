"""The plain `openai` async client in a gather loop behind a semaphore, as its users write it: nothing is kept."""

from __future__ import annotations

import asyncio

import openai

from eval.peers._measure import IN_FLIGHT, PROMPT, measured, texts


async def label(url: str, items: list[str]) -> list[str]:
    """All labels, `IN_FLIGHT` questions at once."""
    client, gate = openai.AsyncOpenAI(base_url=url, api_key="none"), asyncio.Semaphore(IN_FLIGHT)

    async def one(text: str) -> str:
        async with gate:
            said = await client.chat.completions.create(
                model="name", max_tokens=8, temperature=0, messages=[{"role": "user", "content": PROMPT + text}]
            )
        return said.choices[0].message.content or ""

    return list(await asyncio.gather(*(one(text) for text in items)))


if __name__ == "__main__":
    measured(lambda url, n: asyncio.run(label(url, texts(n))))
