"""`tutelage serve`: the saved student behind HTTP. Needs no ledger, no network but its own address, nobody to ask."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from time import perf_counter

import click

from agent.cli.house import Common, common
from agent.errors import ConfigError, DataError

SHORT = 20
"""Characters of a token below which it is said that it is short."""


@click.command()
@click.option("--model", metavar="FOLDER", help="The model's folder; that of the configuration's run when not given.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one.")
@click.option("--token-env", metavar="NAME", help="The environment variable that holds the token clients must show.")
@click.option("--abstain", metavar="BAR", help="No label below this probability; certified: the certificate's bar.")
@common
def serve(common: Common, model: str | None, host: str, port: int, token_env: str | None, abstain: str | None) -> None:
    """Answer label questions over HTTP with the student: POST /predict, and the typed-decision wires.

    Prints the address once the first prediction is made; SIGTERM or Ctrl-C ends it, after what is in flight. Only this
    machine can reach it; another --host needs --token-env.

    \b
    Example:
      tutelage serve --model my-model
      curl localhost:8000/predict -d '{"texts": ["where is my refund?"]}'
    """
    from agent import serve as served

    served.needed()
    token = _token(common, host, token_env)
    folder = model or str(common.config().folder / "model")
    if model is None and not Path(folder).is_dir():
        raise DataError(
            f"{folder} is not there: a student is saved when it has learned; first  tutelage run{common.flags}"
        )
    saved = served.Saved(folder)
    bar = saved.bar(abstain)
    began = perf_counter()

    def ready() -> None:
        common.say(f"ready after {perf_counter() - began:.1f} s; Ctrl-C ends it")
        body = {"url": at, "model": saved.student_name, "revision": service.revision, "folder": folder}
        common.show(body, at)

    service = served.Service(saved, bar, token, say=common.say, ready=ready)
    if service.monitor is None:
        common.say(f"drift is not watched: {folder} carries no reference.safetensors; run and export the model again")
    with served.bind(host, port) as listener:
        at = _address(listener)
        served.run(service, listener)
    counted = service.metrics
    common.say(f"ended; {counted.items:,} texts labeled in {sum(counted.requests.values()):,} requests")


def _token(common: Common, host: str, name: str | None) -> str:
    """The secret clients must show; empty where only this machine can ask."""
    token = ""
    if name is not None:
        token = os.environ.get(name, "")
        if not token:
            raise ConfigError(f"--token-env {name}: that environment variable is not set, or empty; set it to a secret")
        if len(token) < SHORT:
            common.say(f"the token in {name} is short ({len(token)} characters): a guess may find it")
    if not _near(host):
        if not token:
            raise ConfigError(
                f"--host {host} lets other machines ask: give --token-env NAME, the environment variable of a secret, "
                "or listen at 127.0.0.1"
            )
        common.say(f"other machines can reach {host}, and texts travel unencrypted: put a proxy with TLS before it")
    return token


def _near(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
