"""Who is asked next, and when enough was asked: one price list, one rule. Works on arrays; knows no store, no oracle.

`rule` weighs what an answer costs against the wrong labels it is expected to mend; `gain` learns from items already
asked what an answer does; `ladder` climbs by fixed bars, where nothing is known yet or a bar was written down.
"""

from agent.route.gain import KNOWN, Step, learn, nothing
from agent.route.ladder import ABSTAIN, ACCEPT, ASK, NOBODY, Routes, route
from agent.route.rule import STOP, Items, Ladder, Limits, Option, Solved, ask_value, fill, solve, sure_enough

__all__ = [
    "ABSTAIN",
    "ACCEPT",
    "ASK",
    "KNOWN",
    "NOBODY",
    "STOP",
    "Items",
    "Ladder",
    "Limits",
    "Option",
    "Routes",
    "Solved",
    "Step",
    "ask_value",
    "fill",
    "learn",
    "nothing",
    "route",
    "solve",
    "sure_enough",
]
