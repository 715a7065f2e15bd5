"""The ground all tests stand on: no network but loopback, no secrets, fixed seeds, a place to find public data.

The wall stands in the test process: `socket.connect` to anything but loopback and Unix sockets raises, and names other
than localhost are not resolved. A child process is not behind it, so children get HF_HUB_OFFLINE=1 and an environment
without keys or proxies. Nothing of ours is patched here or in any test.
"""

from __future__ import annotations

import ipaddress
import os
import random
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

SECRET = re.compile(r"(_API_KEY|_TOKEN|_SECRET|_PASSWORD)$|^(OPENAI|ANTHROPIC|AZURE|HF)_|_proxy$", re.IGNORECASE)
OURS = {"TUTELAGE_DATA"}


def clean_environment() -> None:
    """Take keys, proxies and our own settings out of the environment; set what libraries must not guess."""
    for name in list(os.environ):
        if SECRET.search(name) or (name.startswith("TUTELAGE_") and name not in OURS):
            del os.environ[name]
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["MPLBACKEND"] = "Agg"
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"


clean_environment()  # before any test module imports a library that reads these
settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("house")


class NetworkRefused(RuntimeError):
    """A test tried to leave this machine. Not an OSError, so that no retry loop swallows it."""


def is_near(host: Any) -> bool:
    """Whether a host is this machine: None, localhost, 127.0.0.0/8 or ::1."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host is None or host in ("", "localhost", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return False


def refuse(host: Any) -> None:
    """Raise unless the host is this machine."""
    if not is_near(host):
        raise NetworkRefused(f"tests may not reach {host!r}: start a server on 127.0.0.1, or ship the data")


@pytest.fixture(scope="session", autouse=True)
def wall() -> Any:
    """Refuse every connection but loopback and Unix sockets, for the whole session."""
    kept = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}
    resolve = socket.getaddrinfo

    def guarded(name: str) -> Any:
        real = kept[name]

        def call(self: socket.socket, *args: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                refuse(args[-1][0])
            return real(self, *args)

        return call

    def getaddrinfo(host: Any, *args: Any, **rest: Any) -> Any:
        refuse(host)
        return resolve(host, *args, **rest)

    for name in kept:
        setattr(socket.socket, name, guarded(name))
    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]
    yield
    socket.getaddrinfo = resolve
    for name, real in kept.items():
        setattr(socket.socket, name, real)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test starts from the same random state; code under test is given its own seeds anyway."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Public data sets, one folder a set: $TUTELAGE_DATA, or ../shared/data beside the repository."""
    places = [Path(os.environ["TUTELAGE_DATA"])] if os.environ.get("TUTELAGE_DATA") else []
    places.append(ROOT.parent / "shared" / "data")
    for place in places:
        if place.is_dir():
            return place
    pytest.skip("no data sets here: set TUTELAGE_DATA to a folder that holds them, one folder a set")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu are skipped, with the reason, where no NVIDIA device is seen."""
    if shutil.which("nvidia-smi") and Path("/dev/nvidiactl").exists():
        return
    reason = pytest.mark.skip(reason="needs an NVIDIA GPU, and none is seen here")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(reason)
