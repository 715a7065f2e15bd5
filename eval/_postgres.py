"""A PostgreSQL cluster of our own in a temporary folder, by Debian's programs. Knows no ledger."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def absent() -> str:
    """Why there is no PostgreSQL here, or ""."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed: pip install 'tutelage[postgres]'"
    return "" if _programs() else "no PostgreSQL here: apt-get install postgresql"


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


@contextmanager
def cluster() -> Iterator[str]:
    """A cluster of our own, run by a user without privileges (PostgreSQL refuses root); the folder of its socket."""
    programs = _programs()
    assert programs is not None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]

    def become() -> None:
        if os.getuid() == 0:
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o777)
        data = f"{folder}/data"

        def call(*command: str) -> None:
            subprocess.run(command, check=True, preexec_fn=become, cwd=folder, stdout=subprocess.DEVNULL)

        call(str(programs / "initdb"), "-D", data, "-U", "tutelage", "-A", "trust", "-E", "UTF8", "--no-sync")
        told = f"-c listen_addresses='' -c unix_socket_directories={folder} -c timezone=UTC"
        call(str(programs / "pg_ctl"), "-D", data, "-l", f"{folder}/log", "-w", "-o", told, "start")
        try:
            yield folder
        finally:
            call(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
            shutil.rmtree(data, ignore_errors=True)


def emptied(folder: str) -> str:
    """An empty database in the cluster, in place of one that was there; its URL."""
    from sqlalchemy import create_engine, text

    admin = create_engine(f"postgresql+psycopg://tutelage@/postgres?host={folder}", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS ledger WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE ledger"))
    admin.dispose()
    return f"postgresql://tutelage@/ledger?host={folder}"


@contextmanager
def postgres() -> Iterator[str]:
    """A cluster of our own with an empty database; its URL."""
    with cluster() as folder:
        yield emptied(folder)
