"""Ground of the slow tests: one real vLLM server for all of them, one real browser a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import browser_room
import pytest

from eval import _vllm


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_vllm.Server]:
    """A running server with SmolLM2."""
    pytest.importorskip("torch", reason="making the weights needs torch")
    try:
        with _vllm.serving(tmp_path_factory.mktemp("vllm") / "log") as server:
            yield server
    except _vllm.Absent as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, by Playwright; `browser_room.window` opens a page in it.

    Gone with the module: as long as it is there this thread has an event loop at work, and other tests want their own.
    """
    with browser_room.chromium() as browser:
        yield browser
