"""Who looks at which open question until when: the one table that changes. Time is the database's own."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.engine import Connection

from agent.store.schema import clock
from agent.store.tables import leases


def take(connection: Connection, key: str, who: str, seconds: float) -> bool:
    """Leases `key` to `who` (again), unless somebody else holds it."""
    now = clock(connection)
    others = select(leases.c.key).where(leases.c.key == key, leases.c.until > now, leases.c.who != who)
    if connection.execute(others).first() is not None:
        return False
    connection.execute(delete(leases).where(leases.c.key == key))
    connection.execute(leases.insert().values(key=key, who=who, until=now + seconds))
    return True


def give_back(connection: Connection, key: str, who: str) -> bool:
    """Ends a lease of `who`; leases that ran out are swept out with it."""
    gone = connection.execute(delete(leases).where(leases.c.key == key, leases.c.who == who)).rowcount
    connection.execute(delete(leases).where(leases.c.until <= clock(connection)))
    return bool(gone)


def held(connection: Connection) -> dict[str, tuple[str, float]]:
    """Key -> (who, seconds left) of all leases that hold."""
    now = clock(connection)
    query = select(leases.c.key, leases.c.who, leases.c.until).where(leases.c.until > now)
    return {key: (who, until - now) for key, who, until in connection.execute(query)}
