"""What the student is taught, and what it says of items it was not taught on. Knows arrays and students, no ledger.

Targets are soft: what the machines that were heard said, pooled and calibrated, and people's answers as they are.
Predictions for items the student was taught on come from twins that were not (cross-fitting), so that a student's
agreement with its teachers is never mistaken for evidence.
"""

from agent.teach.cross import fold_of, teach
from agent.teach.lesson import PEOPLE_WEIGHT, Lesson, lesson, sureness
from agent.teach.noise import WAYS, Way, choose
from agent.teach.signed import TEACHERS, kept_out, sign
from agent.teach.unseen import UNSEEN, keep, unseen

__all__ = [
    "PEOPLE_WEIGHT",
    "TEACHERS",
    "UNSEEN",
    "WAYS",
    "Lesson",
    "Way",
    "choose",
    "fold_of",
    "keep",
    "kept_out",
    "lesson",
    "sign",
    "sureness",
    "teach",
    "unseen",
]
