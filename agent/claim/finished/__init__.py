"""The certificate of a finished file: labels that anybody made, judged by people on rows drawn at random.

`look` does all of it and may be called at any time: it freezes the file and commits to an audit, hears the answers
there are, says where the test stands, and puts the next questions. `verify` derives a certificate again.
"""

from agent.claim.finished.again import verify
from agent.claim.finished.look import look
from agent.claim.finished.standing import Standing
from agent.claim.finished.terms import Terms, forecast

__all__ = ["Standing", "Terms", "forecast", "look", "verify"]
