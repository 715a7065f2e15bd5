"""Which environment variable holds a server's key. Knows no wire and no question, and never shows a key.

A key goes only where the configuration sends it: OpenAI's own variables are read for OpenAI's own hosts alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from agent.errors import EndpointDown
from agent.oracles import nearness

NAME = 'write api_key_env = "NAME" (the variable that holds this server\'s key)'
"""The mend where no variable is named."""

OPENAI = ("api.openai.com",)
AZURE = ("openai.azure.com", "cognitiveservices.azure.com")


def of_openai(url: str) -> bool:
    """Whether this is OpenAI itself, or one of its regions."""
    return _under(url, OPENAI)


def variable(url: str, named: str | None) -> str:
    """The variable that holds the key of this server: the one `named`, or the usual one of OpenAI and of Azure.

    Empty for any other: on this machine or a private network none is needed, elsewhere it has to be named.
    """
    if named:
        return named
    return "OPENAI_API_KEY" if of_openai(url) else "AZURE_OPENAI_API_KEY" if _under(url, AZURE) else ""


def lacking(urls: Sequence[str], named: str | None) -> tuple[str, str] | None:
    """What is amiss with the keys of these servers, and the mend; None where nothing is."""
    for url in urls:
        name = variable(url, named)
        if name and not _held(name):
            return f"{name} is not set", f"put the key into the environment variable {name}"
        if not name and nearness(url) == "far":
            return f"no variable is named for the key of {urlsplit(url).hostname}", NAME
    return None


def key(url: str, named: str | None, where: str) -> str:
    """The key to send to this server, or "". `where`: the address, fit to be shown.

    Raises:
        EndpointDown: a server far away needs one, and there is none, or it holds what no header may; says the mend.
    """
    name = variable(url, named)
    held = _held(name)
    if not (held.isascii() and held.isprintable()):
        odd = "a line's end or another sign that stands in no key"
        raise EndpointDown(f"the key in the environment variable {name} holds {odd}: set it anew")
    if not held and nearness(url) == "far":
        mend = f"put it into the environment variable {name}" if name else NAME
        raise EndpointDown(f"{where} needs a key: {mend}", sent=False)
    return held


def _held(name: str) -> str:
    """What the variable holds, without the line's end that a file or a shell leaves behind it."""
    return os.environ.get(name, "").strip() if name else ""


def _under(url: str, hosts: Sequence[str]) -> bool:
    host = (urlsplit(url).hostname or "").rstrip(".")
    return any(host == one or host.endswith(f".{one}") for one in hosts)
