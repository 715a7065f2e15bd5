"""A real vLLM server on the CPU with SmolLM2, from `.venv-vllm` (`make vllm-env`): started, counted, killed, restarted.

Knows nothing of questions. Its metrics are vLLM's own counters at /metrics.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".venv-vllm"
MODEL = "smollm2"
PATIENCE = 600
"""Seconds a start may take on a busy machine."""


class Absent(RuntimeError):
    """What is missing for a server; the message says how to get it."""


def weights() -> Path:
    """SmolLM2 as safetensors, as the oracle `small` makes it from the package's GGUF.

    Raises:
        Absent: the package with the weights, or what is needed to convert them, is not installed.
    """
    from agent.errors import UserError
    from agent.oracles import _gguf, _weights

    try:
        source = _weights.find("auto")
        return _gguf.convert(Path(source.path), source.revision, _gguf.cache_folder())
    except (UserError, ImportError) as error:
        raise Absent(str(error)) from error


def surroundings() -> Mapping[str, str]:
    """The environment vLLM on a CPU wants: no reports home, no hub, a small cache, Intel's OpenMP first."""
    found = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    if (HOME / "lib" / "libiomp5.so").exists():
        found["LD_PRELOAD"] = str(HOME / "lib" / "libiomp5.so")
    return {**os.environ, **found, "PATH": f"{HOME / 'bin'}:{os.environ['PATH']}"}


class Server:
    """One server on a fixed loopback port, in a process group of its own: its workers outlive it otherwise."""

    def __init__(self, folder: Path, log: Path, port: int = 0) -> None:
        self.folder, self._log = folder, log
        self.port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, with the version path."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start, and wait until it answers."""
        flags = ["--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(self.port)]
        flags += ["--max-model-len", "2048", "--dtype", "float32", "--block-size", "32", "--enforce-eager"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [HOME / "bin" / "vllm", "serve", self.folder, *flags],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(surroundings()),
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended before it answered:\n{self._log.read_text()[-3000:]}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2).close()
                return
            except (OSError, urllib.error.URLError):
                time.sleep(1)
        self.kill()
        raise RuntimeError(f"the server did not answer within {PATIENCE} s")

    def kill(self) -> None:
        """SIGKILL to the server and all it started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def counter(self, name: str) -> float:
        """The sum of one of vLLM's counters, as `vllm:prompt_tokens_total`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(float(found) for found in re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(log: Path) -> Iterator[Server]:
    """A server that answers; killed at the end.

    Raises:
        Absent: there is no `.venv-vllm`, or no weights.
    """
    if not (HOME / "bin" / "vllm").exists():
        raise Absent("there is no .venv-vllm here: run `make vllm-env` (3.5 GB)")
    server = Server(weights(), log)
    server.start()
    try:
        yield server
    finally:
        server.kill()
