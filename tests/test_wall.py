"""The tests' own wall: nothing but this machine is reached, and no key is seen."""

from __future__ import annotations

import os
import socket

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443), ("2001:db8::1", 80)])
def test_no_address_but_this_machine_is_reached(address: tuple[str, int]) -> None:
    with pytest.raises(RuntimeError, match="may not reach"):
        socket.create_connection(address, timeout=1)


def test_datagrams_stay_here_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out, pytest.raises(RuntimeError, match="may not reach"):
        out.sendto(b"hello", ("192.0.2.1", 53))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_open(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection((host, server.getsockname()[1]), timeout=10).close()


def test_no_key_is_seen() -> None:
    assert not [name for name in os.environ if name.endswith(("_API_KEY", "_TOKEN")) or name.startswith("OPENAI_")]
    assert os.environ["HF_HUB_OFFLINE"] == "1" and os.environ["OMP_NUM_THREADS"] == "1"
