"""What is known of each item, as arrays that grow with the ledger. Reads only what is new; decides nothing."""

from agent.board.board import AUDIT, ESCALATION, NOT_ASKED, PILOT, Board
from agent.board.heard import Heard, People, Took

__all__ = ["AUDIT", "ESCALATION", "NOT_ASKED", "PILOT", "Board", "Heard", "People", "Took"]
