"""Review: the questions people answer, one at a time, blind. Knows the ledger's open calls; decides nothing.

The queue is a function of the ledger (`queue`); it is answered at a terminal (`terminal`) or in a sheet (`sheet`).
"""

from agent.review.queue import Card, Desk, pending

__all__ = ["Card", "Desk", "pending"]
