"""Simulated active learning on labeled data: strategies × seeds for one student and one oracle. Knows no files.

What a run would have done is done again with the answers known beforehand: picks by the strategies' own `pick`, lessons
by `agent.teach`, and accuracy on rows that were never asked about. Everything is computed from arrays and seeds.
"""

from agent.bench.answers import Answers, doubts, gold, noisy, recorded
from agent.bench.curves import Curve, Summary, needed, summary
from agent.bench.engine import Known, Plan, full, know, run
from agent.bench.problem import Problem

__all__ = [
    "Answers",
    "Curve",
    "Known",
    "Plan",
    "Problem",
    "Summary",
    "doubts",
    "full",
    "gold",
    "know",
    "needed",
    "noisy",
    "recorded",
    "run",
    "summary",
]
