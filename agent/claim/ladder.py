"""The certificate of a run's labels: of all, and of the largest part that is proved good enough. Asks nobody."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from agent import config as settings
from agent.claim.classes import Part, bears, differs, judge, uniform, within
from agent.claim.drawn import check_draw
from agent.claim.evidence import Evidence, gather, people_are
from agent.claim.human import compare, ruled
from agent.claim.paper import write
from agent.claim.promise import Frozen, freeze, promise, risk_of, sha_of
from agent.claim.proof import Audit, accept, audit_of, left_wrong
from agent.claim.spent import path_of, stands
from agent.claim.walked import Walk, answers_sha, followed, follows, refuse_others, walk_of
from agent.config import Config
from agent.errors import DataError
from agent.pool import Pool
from agent.store import Store
from agent.types import Bools, Certificate


def derive(config: Config, pool: Pool, evidence: Evidence, body: Mapping[str, Any]) -> Certificate:
    """The certificate that this evidence carries under a commitment."""
    frozen, n = freeze(config, pool, evidence), len(pool)
    audit = audit_of(config, evidence, frozen, body["test"])
    units, audited = len(frozen.order), len(audit.rows)
    missing, differ = int(audit.missing.sum()), int(audit.wrong.sum())
    wrong, spent = differ + missing, float(body["risk_of_this_look"])
    found = accept(body, frozen, audit, evidence)
    # The errors found are mended on export, where a person's word replaces the label.
    remaining = left_wrong(body, frozen, audit) + frozen.lost
    guess = wrong / audited * units - differ if audited else float(units)
    return Certificate(
        items=n,
        people=frozen.people,
        machine=units,
        audited=audited,
        wrong=wrong,
        missing=missing,
        delta=body["delta"],
        wrong_at_most=remaining,
        accuracy_at_least=1 - remaining / n,
        accuracy_estimate=1 - (guess + frozen.lost) / n,
        target=body["target"],
        met=found["all"],
        look=body["look"],
        seed=body["seed"],
        turn=evidence.turn,
        labels_sha256=frozen.labels_sha256,
        audit_sha256=answers_sha(pool, evidence),
        truth=", ".join(evidence.who) if len(evidence.who) <= 5 else f"{len(evidence.who)} people",
        method="hypergeometric" if body["test"] == "exact" else "betting",
        extra={
            "lost": frozen.lost,
            "unanswered": len(evidence.silent),
            "risk_of_this_look": spent,
            "answers_up_to": evidence.upto,
            "beside_a_machine": evidence.beside,
        },
        accepted=found,
        commitment=dict(body),
        human=_human(config, evidence, body),
        classes=_classes(_parts(config, frozen, audit, evidence, body), body),
    )


def _human(config: Config, evidence: Evidence, body: Mapping[str, Any]) -> dict[str, Any]:
    """How far people differ from one another; told only when all second answers are there, whatever they say."""
    if waiting := sum(i not in evidence.second or i in evidence.alone for i in evidence.twice):
        return {"waiting": waiting}
    kind, task = settings.kind(config), settings.the_task(config)
    pairs = [(evidence.word(i), evidence.second[i]) for i in evidence.twice]
    found = compare(pairs, kind, task, risk_of(float(body["delta"]), int(body["look"]), body["terms"]))
    last = [(*pair, evidence.settled.get(i)) for pair, i in zip(pairs, evidence.twice, strict=True)]
    return found | ruled(last, kind, task)


def _classes(parts: list[Part], body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a class. Classes that were named with the answers in sight were chosen among all the task's labels, so each
    has but its share of the risk."""
    spent, apart = float(body["risk_of_this_look"]), int(body["classes_apart"])
    if apart:
        return [row for part in parts for row in judge([part], body["target"], spent / apart)]
    return judge(parts, body["target"], spent)


def _parts(config: Config, frozen: Frozen, audit: Audit, evidence: Evidence, body: Mapping[str, Any]) -> list[Part]:
    """The classes that are certified each by itself."""
    kind, task = settings.kind(config), settings.the_task(config)
    out = []
    for name in body["classes"]:
        rows = [k for k, i in enumerate(audit.rows.tolist()) if within(evidence.labels[i], name)]
        wrong = np.zeros(len(rows), bool)
        for k, row in enumerate(rows):
            given, said = evidence.labels[int(audit.rows[row])], evidence.audit[int(audit.rows[row])]
            if given is not None and said is not None:
                wrong[k] = differs(given, said, name, kind.loss(task, given, said))
        machine = sum(within(evidence.labels[i], name) for i in frozen.order.tolist())
        part = Part(name, sum(within(v, name) for v in evidence.said.values()), machine, wrong, audit.missing[rows])
        if body["test"] == "anytime":
            share = body["risk_of_this_look"] / (body["classes_apart"] or len(body["classes"]))
            plan = uniform(machine, bears(part, body["aim"]), share)
            part = dataclasses.replace(part, plan=plan, units=np.arange(len(rows)))
        out.append(part)
    return out


def make(
    config: Config,
    store: Store,
    pool: Pool,
    accuracy: float | None = None,
    delta: float | None = None,
    early: bool = False,
) -> Certificate:
    """Take a look: commit, derive the certificate, write it into the ledger and to `certificate.json`, unless a better
    one of the same labels and answers is there (`agent.claim.spent.path_of`).

    The same labels and answers make the same certificate and spend nothing; other labels are another look. So are other
    answers under the exact test; under the any-time test they are not.

    `early`: look although questions to people are open, which count as wrong.

    Raises:
        DataError: nothing labeled, no audit, an audit that was not drawn at random, or, unless `early`, a look that
            would be charged before it can be good.
    """
    problems = check_draw(config, store, pool)
    if problems:
        raise DataError("; ".join(problems))
    accuracy = config.goal.accuracy if accuracy is None else accuracy
    delta = config.goal.delta if delta is None else delta
    evidence = gather(config, store, pool)
    made = _went_on(config, store, pool, evidence, accuracy, delta)
    if made is None:
        refuse_others(store)
        _ripe(evidence, early)
        if made := stands(config, store, pool, evidence, accuracy, delta):
            human = _human(config, evidence, made.commitment)  # second answers may have come since
            made = dataclasses.replace(made, human=human, extra={**made.extra, "answers_up_to": evidence.upto})
        else:
            made = derive(config, pool, evidence, _committed(config, store, pool, evidence, accuracy, delta))
    made = dataclasses.replace(made, extra={**made.extra, "people_are": people_are(store)})
    if not any(_seals(c["body"]) == _seals(dataclasses.asdict(made)) for c in store.certificates()):
        store.add_certificate(made.labels_sha256, dataclasses.asdict(made))
    body = dataclasses.asdict(made)
    write(body, path_of(config, store, body))
    return made


def _went_on(
    config: Config, store: Store, pool: Pool, evidence: Evidence, accuracy: float, delta: float
) -> Certificate | None:
    """The certificate of the last walk, with people's words since; None where another look is to be taken."""
    walk = walk_of(config, store, pool)
    if walk is None or not follows(config, walk, evidence, pool, accuracy, delta):
        return None
    made = derive_on(config, pool, walk, evidence)
    promised = any(c["look"] == -walk.look for c in store.commitments())
    # Where machines' labels have changed as well, another look may go further, as long as no rest was put to people.
    stands = walk.unchanged(evidence) and not walk.then.silent
    return made if made.met or promised or stands else None


def derive_on(config: Config, pool: Pool, walk: Walk, evidence: Evidence) -> Certificate:
    """The certificate that a walk carries by now."""
    body = walk.body["commitment"]
    made = followed(pool, walk, derive(config, pool, walk.then, body), evidence)
    return dataclasses.replace(made, human=_human(config, evidence, body))


def _ripe(evidence: Evidence, early: bool) -> None:
    anytime = evidence.terms.get("test") == "anytime"
    waiting = evidence.waiting + (0 if anytime else len(evidence.silent))
    if waiting and not early:
        raise DataError(
            f"{waiting:,} open question{'s' * (waiting > 1)} to people would count as wrong, and each "
            "look at the audit uses up a part of goal.delta: have them answered first (tutelage review, or run with "
            "recorded people), or look all the same with --now"
        )


def _committed(
    config: Config, store: Store, pool: Pool, evidence: Evidence, accuracy: float, delta: float
) -> dict[str, Any]:
    """The commitment under which this evidence may be looked at: one that stands, or a new one, written down."""
    frozen = freeze(config, pool, evidence)
    answers = answers_sha(pool, evidence)
    looked: dict[int, set[str]] = {}
    for made in store.certificates():
        looked.setdefault(int(made["body"]["look"]), set()).add(str(made["body"]["audit_sha256"]))
    for earlier in reversed([c for c in store.commitments() if c["look"] > 0]):
        body: dict[str, Any] = earlier["body"]
        again = promise(config, frozen, evidence, pool, accuracy, delta, int(earlier["look"]))
        free = body["test"] == "anytime" or looked.get(int(earlier["look"]), {answers}) == {answers}
        if free and body == again:
            return body
    taken = [c["look"] for c in store.commitments()] + [c["body"]["look"] for c in store.certificates()]
    look = 1 + max(taken, default=0)
    body = promise(config, frozen, evidence, pool, accuracy, delta, look)
    store.add_commitment(look, sha_of(body), body)
    return body


def _seals(body: Mapping[str, Any]) -> tuple[Any, ...]:
    return body["look"], body["labels_sha256"], body["audit_sha256"], body["target"], body.get("human", {})


def certified(config: Config, store: Store, pool: Pool, evidence: Evidence) -> Bools | None:
    """(n,) the labels that the last certificate of today's labels counted as accepted; None: there is none."""
    frozen = freeze(config, pool, evidence)
    same = [c["body"] for c in store.certificates() if c["labels_sha256"] == frozen.labels_sha256]
    if not same or not same[-1].get("accepted"):
        return None
    body = same[-1]
    if "since" in body["accepted"]:
        walk = walk_of(config, store, pool)
        return None if walk is None else walk.kept(evidence)
    if frozen.order_sha256 != body["commitment"]["order_sha256"]:
        then = gather(config, store, pool, int(body["turn"]), int(body["extra"]["answers_up_to"]))
        frozen = freeze(config, pool, then)  # the labels are the same; what was predicted of them is not
    size = int(body["accepted"]["prefix"])
    out = np.zeros(len(pool), bool)
    out[frozen.order[:size]] = True
    out[list(evidence.said)] = True
    for i, said in evidence.audit.items():
        out[i] = said is not None or (out[i] and body["accepted"]["claim"] != "walk")
    return out
