"""The certificate of a ledger: gathers what `certify` needs, writes it down, derives it again. Asks nobody.

Frozen and sealed: the label of every item as last decided, the random order, the audit answers. The claim is about the
items of the ledger, against the people who answered, and says how many looks were taken.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import certify, prompt
from agent import config as settings
from agent.config import Config
from agent.errors import DataError, Unparsable
from agent.pool import Pool
from agent.store import Store
from agent.types import Certificate, Traits, Value


@dataclass(frozen=True)
class Evidence:
    """What the claim rests on. Positions are the pool's; `labels` as decided, None where nothing was."""

    labels: list[Value | None]
    by_person: list[bool]
    could_not_tell: list[bool]
    audit: dict[int, Value | None]
    """Drawn item -> what a person said; None: cannot tell, or not answered."""
    unanswered: int
    turn: int
    who: tuple[str, ...]


def person_recipe(config: Config) -> str:
    """Under which recipe people answer."""
    return prompt.recipe(
        settings.the_task(config),
        config.task.kind,
        Traits(annotator="person", recipe={}, person=True, local=True, calibrate=False),
    )


def gather(config: Config, store: Store, pool: Pool, turn: int | None = None) -> Evidence:
    """Read the evidence as of the end of `turn` (None: now).

    Raises:
        DataError: nothing was decided yet, or there is no audit.
    """
    task, kind = settings.the_task(config), settings.kind(config)
    decided = store.decisions(turn)
    if len(decided) == 0:
        raise DataError("nothing is labeled yet, so there is nothing to certify: run `tutelage run` first")
    n = len(pool)
    labels: list[Value | None] = [None] * n
    person, doubt = [False] * n, [False] * n
    for item, action, by, value in zip(decided.items, decided.actions, decided.by, decided.values, strict=True):
        i = pool.position(item)
        labels[i] = value
        person[i] = by == "person" and action == "accept"
        doubt[i] = by == "person" and action == "abstain"
    recipe = person_recipe(config)
    audit: dict[int, Value | None] = {}
    drawn = [pool.position(item) for item, purpose in store.asked(recipe) if purpose == "audit"]
    said: dict[int, Value | None] = {}
    who: set[str] = set()
    for _, status, call, answer in store.events_since(0, [recipe]):
        i = pool.position(call.item)
        if status != "ok":
            said.pop(i, None)
            continue
        who.add(answer.who)
        said[i] = None
        if not answer.unsure:
            try:
                read = kind.parse(task, kind.question(task, pool.item(i), call.sample), answer)
            except Unparsable:
                read = None
            if read is not None:
                said[i] = kind.value(task, {atom: max(d, key=d.__getitem__) for atom, d in read.items()})
    for i in drawn:
        audit[i] = said.get(i)
    unanswered = sum(i not in said for i in drawn)
    last = max(decided.turns)
    return Evidence(labels, person, doubt, audit, unanswered, last, tuple(sorted(who)))


def derive(config: Config, pool: Pool, evidence: Evidence, accuracy: float, delta: float, look: int) -> Certificate:
    """The certificate that this evidence carries. An audit item that nobody answered counts as wrong.

    Items people could not tell count as wrong, too: no label of theirs is what a person said.

    Raises:
        DataError: the audited items are not the first of the random order (a claim would be worth nothing).
    """
    kind, task = settings.kind(config), settings.the_task(config)
    n = len(pool)
    labeled = [i for i in range(n) if evidence.labels[i] is not None]
    people = [i for i in labeled if evidence.by_person[i]]
    lost = n - len(labeled) + sum(evidence.could_not_tell[i] for i in labeled)
    machine = {i for i in labeled if not evidence.by_person[i] and not evidence.could_not_tell[i]}
    measured = sorted(i for i in evidence.audit if i in machine)
    wrong = missing = 0
    for i in measured:
        said, given = evidence.audit[i], evidence.labels[i]
        missing += said is None
        wrong += said is None or given is None or kind.loss(task, given, said) > 0
    spent = certify.risk_of_look(delta, look)
    bound = certify.wrong_at_most(len(machine), len(measured), wrong, spent)
    # The errors found are mended on export (a person's word replaces the label), all but those nobody could answer.
    remaining = bound - (wrong - missing) + lost
    estimate = 1 - (lost + (wrong / len(measured) * len(machine) if measured else len(machine))) / n
    ids = pool.ids
    return Certificate(
        items=n,
        people=len(people),
        machine=len(machine),
        audited=len(measured),
        wrong=wrong,
        missing=missing,
        delta=delta,
        wrong_at_most=remaining,
        accuracy_at_least=1 - remaining / n,
        accuracy_estimate=estimate,
        target=accuracy,
        met=remaining <= (1 - accuracy) * n + 1e-9,
        look=look,
        seed=config.run.seed,
        turn=evidence.turn,
        labels_sha256=certify.sha256_of((ids[i], json.dumps(evidence.labels[i])) for i in range(n)),
        audit_sha256=certify.sha256_of((ids[i], json.dumps(evidence.audit[i])) for i in sorted(evidence.audit)),
        truth=", ".join(evidence.who) if len(evidence.who) <= 5 else f"{len(evidence.who)} people",
        extra={"lost": lost, "people_are": "", "unanswered": evidence.unanswered, "risk_of_this_look": spent},
    )


def check_draw(config: Config, store: Store, pool: Pool) -> list[str]:
    """Is the audit the random draw it has to be? In the order of the seed, everything before the last audited item must
    have been put to people as well: nothing was left out by choice."""
    asked = {pool.position(item): purpose for item, purpose in store.asked(person_recipe(config))}
    order = certify.draw(pool.ids, config.run.seed)
    ranks = [rank for rank, i in enumerate(order) if asked.get(i) == "audit"]
    if not ranks:
        return ['no item was audited: give people some minutes (goal.person_minutes) and a rung with oracle = "person"']
    passed_over = [rank for rank in range(max(ranks)) if order[rank] not in asked]
    if passed_over:
        missed = len(passed_over)
        return [f"{missed} items of the random order were passed over: seed {config.run.seed} did not draw this audit"]
    return []


def make(
    config: Config, store: Store, pool: Pool, accuracy: float | None = None, delta: float | None = None
) -> Certificate:
    """Take a look: derive the certificate, write it into the ledger and to `certificate.json`.

    The same labels and answers make the same certificate and spend nothing; other labels are another look.

    Raises:
        DataError: nothing labeled, no audit, or an audit that was not drawn at random.
    """
    problems = check_draw(config, store, pool)
    if problems:
        raise DataError("; ".join(problems))
    accuracy = config.goal.accuracy if accuracy is None else accuracy
    delta = config.goal.delta if delta is None else delta
    evidence = gather(config, store, pool)
    earlier = store.certificates()
    found = derive(config, pool, evidence, accuracy, delta, 1)
    same = next((c["look"] for c in earlier if _seal(c["body"]) == (found.labels_sha256, found.audit_sha256)), None)
    look = same or len(earlier) + 1
    extra = {**found.extra, "people_are": _people_are(store)}
    made = dataclasses.replace(derive(config, pool, evidence, accuracy, delta, look), truth=found.truth)
    extra["risk_of_this_look"] = made.extra["risk_of_this_look"]
    made = dataclasses.replace(made, extra=extra)
    if same is None:
        store.add_certificate(made.labels_sha256, dataclasses.asdict(made), look)
    write(made, config.folder / "certificate.json")
    return made


def _seal(body: dict[str, Any]) -> tuple[str, str]:
    return body["labels_sha256"], body["audit_sha256"]


def _people_are(store: Store) -> str:
    return next((o["people_are"] for o in reversed(store.outcomes()) if o.get("people_are")), "")


def write(certificate: Certificate, path: Path) -> None:
    """As JSON, whole or not at all."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps({"tutelage": 1, **dataclasses.asdict(certificate)}, indent=2, sort_keys=True) + "\n")
    draft.replace(path)


def verify(config: Config, store: Store, pool: Pool, path: Path) -> list[str]:
    """Derive a certificate file again from the ledger; what does not agree, in plain words (empty: it holds)."""
    try:
        claimed = json.loads(path.read_text("utf-8"))
        turn, look = int(claimed["turn"]), int(claimed["look"])
        accuracy, delta = float(claimed["target"]), float(claimed["delta"])
    except FileNotFoundError:
        return [f"{path.name} is not there: `tutelage certify` makes it"]
    except (ValueError, KeyError, TypeError):
        return [f"{path.name} is not a certificate of this program"]
    problems = check_draw(config, store, pool) + store.verify()
    recorded = next((c for c in store.certificates() if c["look"] == look), None)
    if recorded is None:
        problems.append(f"the ledger knows no look number {look}")
    made = dataclasses.asdict(derive(config, pool, gather(config, store, pool, turn), accuracy, delta, look))
    for name, value in made.items():
        if name != "extra" and claimed.get(name) != value:
            problems.append(f"{name}: the file says {claimed.get(name)!r}, the ledger gives {value!r}")
    return problems


def sentence(c: Certificate) -> str:
    """The claim in one plain sentence, floored, never rounded up."""
    floor = int(c.accuracy_at_least * 1000) / 10
    goal = "meets" if c.met else "does not meet"
    simulated = (
        f" (people: {c.extra['people_are']})" if str(c.extra.get("people_are", "")).startswith("simulated") else ""
    )
    return (
        f"At least {max(floor, 0):.1f} % of the {c.items:,} labels are what the people said or would have said, "
        f"with {100 * (1 - c.delta):.4g} % confidence: {c.audited:,} machine labels drawn at random were checked, "
        f"{c.wrong:,} were wrong{f' ({c.missing:,} of them not answered, or nobody could tell)' if c.missing else ''}, "
        f"look {c.look}. This {goal} the goal of {100 * c.target:.4g} %{simulated}."
    )
