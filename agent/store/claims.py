"""Commitments and certificates as rows. Knows their numbers; nothing of what is promised in them."""

from __future__ import annotations

import json
import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from agent.errors import UserError
from agent.store import schema, tables
from agent.store.rows import to_json


def add_certificate(connection: Connection, labels_sha256: str, body: dict[str, Any], number: int | None) -> int:
    """Adds a certificate under a number, or the next; its number. UserError if it is taken."""
    table = tables.certificates
    n = number or int(connection.execute(select(func.max(table.c.look))).scalar() or 0) + 1
    row = {"look": n, "labels_sha256": labels_sha256, "body": to_json(body), "at": time.time()}
    if not connection.execute(schema.insert_new(connection, table), row).rowcount:
        raise UserError(f"certificate {n} exists already; certificates are not replaced, take the next number")
    return n


def certificates(connection: Connection) -> list[dict[str, Any]]:
    """All certificates in the order of their numbers."""
    table = tables.certificates
    query = select(table.c.look, table.c.labels_sha256, table.c.body, table.c.at).order_by(table.c.look)
    rows = connection.execute(query).all()
    return [{"look": n, "labels_sha256": sha, "body": json.loads(body), "at": at} for n, sha, body, at in rows]


def add_commitment(connection: Connection, look: int, sha256: str, body: dict[str, Any]) -> None:
    """Adds what a look promises. UserError if the look is taken."""
    row = {"look": look, "sha256": sha256, "body": to_json(body), "at": time.time()}
    if not connection.execute(schema.insert_new(connection, tables.commitments), row).rowcount:
        raise UserError(f"look {look} was promised by another process just now: run the command again")


def commitments(connection: Connection) -> list[dict[str, Any]]:
    """All commitments in the order of their looks."""
    table = tables.commitments
    rows = connection.execute(select(table.c.look, table.c.sha256, table.c.body, table.c.at).order_by(table.c.look))
    return [{"look": n, "sha256": sha, "body": json.loads(body), "at": at} for n, sha, body, at in rows]
