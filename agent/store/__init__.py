"""The ledger, on SQLAlchemy Core: SQLite by default, PostgreSQL by URL. `Store.open(path_or_url)` is the door."""

from agent.store.ledger import Store
from agent.store.rows import Decisions, Reserved, Spend, Usage

__all__ = ["Decisions", "Reserved", "Spend", "Store", "Usage"]
