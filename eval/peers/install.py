"""Makes the peers' environments, `.venv-peer-NAME`, from eval/peers.toml: `make peers`. Says what failed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def main() -> None:
    """Each peer that is not there yet."""
    failed = []
    for name, peer in tomllib.loads((ROOT / "eval" / "peers.toml").read_text()).items():
        home = ROOT / f".venv-peer-{name}"
        ready = home / ".ready"
        if ready.exists():
            continue
        print(f"installing {name} into {home.name}")
        venv.create(home, with_pip=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        if all(subprocess.run([*pip, *step]).returncode == 0 for step in peer["install"]):
            ready.touch()
        else:
            failed.append(name)
    if failed:
        sys.exit(f"not installed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
