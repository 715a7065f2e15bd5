"""Label Studio: a server of its own on loopback takes the tasks, is answered over its HTTP API, and exports.

Reads `tasks.json`, `tasks.xml` and `said.json` (key -> labels, null to skip) in each folder named on the command line;
writes `JSON.json` and `JSON_MIN.json` there, and prints for each the version, and how many tasks its own checks pass.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

TOKEN = secrets.token_hex(20)
START = 600.0
"""Seconds the server may take to make its database and answer."""
QUIET = {
    "COLLECT_ANALYTICS": "False",
    "LATEST_VERSION_CHECK": "False",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
}


def main() -> None:
    """A project a folder."""
    folders = [Path(name) for name in sys.argv[1:]]
    folder = folders[0]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-I", "-c", "from label_studio.server import main; main()", "start", "--no-browser"]
    command += ["--internal-host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder / "server")]
    command += ["--username", "a@example.org", "--password", secrets.token_hex(8), "--user-token", TOKEN]
    (folder / "server").mkdir()
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--enable-legacy-api-token"], stdout=log, stderr=log, env=os.environ | QUIET
        )
        try:
            wait(base, server)
            print(json.dumps([trip(base, one) for one in folders]))
        finally:
            server.terminate()
            server.wait()


def wait(base: str, server: subprocess.Popen[bytes]) -> None:
    """Until the server answers."""
    end = time.monotonic() + START
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{base}/health", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    sys.exit("the server did not start")


def call(base: str, method: str, path: str, body: Any = None) -> bytes:
    """One request to its API."""
    head = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
    sent = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(base + path, sent, head, method=method), timeout=120) as answer:
        return bytes(answer.read())


def trip(base: str, folder: Path) -> dict[str, Any]:
    """Import, answer, export."""
    from label_studio_sdk.label_interface import LabelInterface

    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    said = json.loads((folder / "said.json").read_text("utf-8"))
    config = (folder / "tasks.xml").read_text("utf-8")
    interface = LabelInterface(config)
    interface.validate()
    # Its check of a task fails in itself where the task has predictions: those are checked one by one.
    valid = sum(
        bool(interface.validate_task({"data": task["data"]}))
        and all(interface.validate_prediction(guess) for guess in task.get("predictions", []))
        for task in tasks
    )
    project = json.loads(call(base, "POST", "/api/projects", {"title": "trip", "label_config": config}))["id"]
    call(base, "POST", f"/api/projects/{project}/import", tasks)
    listed = json.loads(call(base, "GET", f"/api/tasks?project={project}&page_size={len(tasks)}&fields=all"))["tasks"]
    to = interface.get_control("label").to_name[0]
    for task in listed:
        labels = said[task["data"]["tutelage_key"]]
        region = {"from_name": "label", "to_name": to, "type": "choices", "value": {"choices": labels}}
        body = {"result": [region] if labels else [], "was_cancelled": labels is None, "lead_time": 2.5}
        call(base, "POST", f"/api/tasks/{task['id']}/annotations/", body)
    for form in ("JSON", "JSON_MIN"):
        path = f"/api/projects/{project}/export?exportType={form}&download_all_tasks=true"
        (folder / f"{form}.json").write_bytes(call(base, "GET", path))
    return {"version": version("label-studio"), "valid": valid}


if __name__ == "__main__":
    main()
