"""Review: the questions people answer, one at a time, blind. Knows the ledger's open calls; decides nothing.

The queue is a function of the ledger (`queue`, its order in `order`); one person sits at it (`desk`), at a terminal
(`terminal`), in a sheet (`sheet`) or on a page (`agent.web`).
"""

from agent.review.desk import Desk, Outcome
from agent.review.queue import Card, Mate, Queue, pending

__all__ = ["Card", "Desk", "Mate", "Outcome", "Queue", "pending"]
