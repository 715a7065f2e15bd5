"""Ground of the slow tests: one real vLLM server for all of them, and a way to kill it and start it again."""

from __future__ import annotations

from collections.abc import Iterator

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
