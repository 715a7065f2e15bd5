"""The ledger, on SQLAlchemy Core: SQLite by default, PostgreSQL by URL. `Store.open(path_or_url)` is the door."""

from agent.store.batches import Batch
from agent.store.ledger import Came, Store
from agent.store.rows import Decisions, Reserved, Spend, Usage

__all__ = ["Batch", "Came", "Decisions", "Reserved", "Spend", "Store", "Usage"]
