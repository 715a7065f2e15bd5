"""The certificate of a finished file: labels that anybody made, judged by people on rows drawn at random.

`look` does all of it and may be called at any time: it freezes the file and commits to an audit, hears the answers
there are, says where the test stands, and puts the next questions. `verify` derives a certificate again. Two promises:
all labels as they are (`terms`, `standing`), or people label what a walk leaves (`paced`, `along`).
"""

from agent.claim.finished.again import verify
from agent.claim.finished.along import Along
from agent.claim.finished.look import look
from agent.claim.finished.paced import Paced, promised, way
from agent.claim.finished.paced import forecast as forecast_walk
from agent.claim.finished.standing import Standing
from agent.claim.finished.terms import Committed, Terms, forecast

__all__ = [
    "Along",
    "Committed",
    "Paced",
    "Standing",
    "Terms",
    "forecast",
    "forecast_walk",
    "look",
    "promised",
    "verify",
    "way",
]
