"""How one address is knocked at: what the `openai` package makes of it. Sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.oracles import _keys


@dataclass(frozen=True, slots=True)
class Door:
    """How one address is knocked at. `base`: with its version path; `root`: without; `query`: put behind the path."""

    base: str
    root: str
    query: str
    headers: Mapping[str, str]


def door(url: str, key: str, model: str, azure: str) -> Door:
    """What the `openai` package makes of an address and a key. Its client is asked, never used."""
    import openai

    if azure:
        client: openai.AsyncOpenAI = openai.AsyncAzureOpenAI(
            azure_endpoint=url.removesuffix("/openai"), azure_deployment=model, api_key=key, api_version=azure
        )
    else:
        client = openai.AsyncOpenAI(api_key=key, base_url=url)
    given = {**client.default_headers, **client.auth_headers, **({"api-key": key} if azure else {})}
    # What the package tells of this machine is nobody's business, and an organisation of OpenAI's only theirs.
    unsaid = ("x-stainless-",) if _keys.of_openai(url) else ("x-stainless-", "openai-")
    headers = {n: value for n, value in given.items() if isinstance(value, str) and not n.lower().startswith(unsaid)}
    # A packed body saves nothing at this size, and its length could no longer be told beforehand.
    headers |= {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    query = "&".join(f"{name}={value}" for name, value in client.default_query.items())
    base = str(client.base_url).rstrip("/")
    return Door(base, base.removesuffix("/v1"), f"?{query}" if query else "", headers)
