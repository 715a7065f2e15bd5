"""The claim of how good labels are: gathered from a ledger, promised, tested, written down, derived again. Asks nobody.

Of a run (`make`, `verify`) or of a finished file that anybody labeled (`finished`). Frozen and sealed before an answer
of the audit is used: the labels, their order, the random draw, the plan. See `agent.certify` for the argument.
"""

from agent.claim.again import verify
from agent.claim.drawn import check_draw
from agent.claim.evidence import Evidence, gather, people_are, person_recipe, seal
from agent.claim.human import overlapped
from agent.claim.human import questions as second_questions
from agent.claim.ladder import certified, derive, make
from agent.claim.paper import plain, write
from agent.claim.promise import commit_terms, freeze, promise, sha_of
from agent.claim.spent import path_of, refuse_dearer
from agent.claim.walked import promise_rest, rest_of
from agent.claim.words import lines, sentence

__all__ = [
    "Evidence",
    "certified",
    "check_draw",
    "commit_terms",
    "derive",
    "freeze",
    "gather",
    "lines",
    "make",
    "overlapped",
    "path_of",
    "people_are",
    "person_recipe",
    "plain",
    "promise",
    "promise_rest",
    "rest_of",
    "seal",
    "second_questions",
    "sentence",
    "sha_of",
    "verify",
    "refuse_dearer",
    "write",
]
