"""Asks an oracle: reserve, ask, record. Knows money, time and trouble; knows nothing of labels or of what is asked.

Every attempt is paid for in the ledger before it is sent, and every answer is durable before it counts. This is the
one place that tries again (tenacity), that has deadlines, that finds out how much at once an endpoint bears, and that
stops when it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.ask.asking import Asking
from agent.ask.learnt import Learnt
from agent.ask.terms import Asked, Job, Lack, OnEvent, Policy, Read
from agent.store import Store
from agent.types import Oracle

__all__ = ["Asked", "Job", "Lack", "Learnt", "OnEvent", "Policy", "Read", "ask"]


async def ask(
    store: Store,
    oracle: Oracle,
    jobs: Iterable[Job],
    policy: Policy | None = None,
    on_event: OnEvent | None = None,
    read: Read | None = None,
    learnt: Learnt | None = None,
) -> Asked:
    """Asks all jobs, at most `oracle.traits.in_flight` at once; returns when each has come to an end.

    `jobs` is gone through once and only a little ahead of the questions under way, so a generator that renders prompts
    as they are wanted keeps a million of them small. An oracle that sends to `traits.hosts` is asked `policy.start`
    questions at once to begin with, and more where that pays; what was learnt of it is kept in `learnt`.

    An endpoint that is down ends it in order: what is in flight comes in, `paused` says why. When cancelled (Ctrl-C
    under `asyncio.run`) it lets calls in flight come in for `grace_s`, then drops the rest, which stay open and
    reserved. An answer that `read` finds unreadable is kept as an error at its price, and the call given up: it may be
    asked another day, of a better server. Raises StoreFull or Pause for a ledger that cannot be written, UserError when
    the oracle raises one.
    """
    return await Asking(store, oracle, policy or Policy(), on_event, read, learnt or Learnt()).run(jobs)
