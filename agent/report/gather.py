"""From the ledger to `Figures`. Asks nobody and decides nothing; what a run noted at its turns it takes from there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agent import __version__, claim, export, opinions
from agent import config as settings
from agent.config import Config
from agent.pool import Pool
from agent.prompt import extra_recipe, second_recipe, settled_recipe
from agent.report import asking, learning
from agent.report import figures as f
from agent.report.estimates import estimates
from agent.store import Decisions, Store
from agent.types import Certificate, Value

PAUSED = 3
"""The exit code of a run that stopped before its end."""

Columns = dict[str, list[Any]]


def gather(config: Config, store: Store, pool: Pool) -> f.Figures:
    """All figures of a run as it stands. Certificates are not made here, only shown."""
    columns = export.labels(config, store, pool, text=False)
    outcomes = store.outcomes()
    status = Counter(columns["status"])
    aside = Counter(row.reason for row in store.set_aside())
    certificate, why_none = _certificate(config, store, pool)
    final: Mapping[str, Any] = next((o for o in reversed(outcomes) if o.get("final")), {})
    task = settings.the_task(config)
    # What the audit says is shown with the look it was charged for, and not before.
    reliability, confusions, estimated = _measured(config, store, pool, certificate)
    people = _people(config, store, pool)
    return f.Figures(
        name=task.name or config.root.name,
        labels=task.labels,
        rows=len(pool) + sum(aside.values()),
        items=len(pool),
        accepted=status["accepted"],
        unsure=status["unsure"],
        waiting=status["waiting"],
        not_asked=status[export.NOT_ASKED],
        no_answer=export.lost(store.decisions()),
        question=task.question,
        kind=task.kind,
        set_aside=dict(aside.most_common()),
        sources=_sources(config, columns),
        people=people,
        spent=_spent(config, store),
        budget_usd=config.goal.budget_usd,
        network=_network(config, store),
        curve=(known := learning.points(outcomes)),
        ahead=learning.ahead(known),
        strategies=learning.tried(outcomes),
        moves=learning.moves(outcomes),
        copies=learning.copies(outcomes),
        reliability=reliability,
        confusion=confusions,
        agreement=_agreement(config, store, pool, outcomes),
        asking=asking.facts(next((o["asking"] for o in reversed(outcomes) if "asking" in o), {})),
        goal_accuracy=config.goal.accuracy,
        delta=config.goal.delta,
        certificate=certificate,
        no_certificate=why_none,
        estimated=estimated,
        gold=_gold(config, pool, columns, final),
        stopped=_sentence(str(final.get("stop", "not finished: `tutelage run` goes on"))),
        next_steps=_next(status, people, certificate, final.get("code") == PAUSED),
        files={"labels.parquet": "every item with label, probability and provenance", "model/": "the student"},
        turns=store.last_turn(),
        seed=config.run.seed,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )


def live(config: Config, store: Store, pool: Pool, standing: Mapping[str, Any]) -> f.Figures:
    """What the dashboard shows while a run goes on, beside `standing` (`agent.report.standing.figures`).

    Of decisions, which rest on no audit answer; where people's words are taken for labels, those of the audit show. No
    number moves with an answer in a way that tells what the question was for.
    """
    outcomes, task = store.outcomes(), settings.the_task(config)
    certificate, why_none = _certificate(config, store, pool)
    reliability, confusions, estimated = _measured(config, store, pool, certificate)
    return f.Figures(
        name=task.name or config.root.name,
        labels=task.labels,
        rows=standing["items"] + standing["set_aside"],
        items=standing["items"],
        accepted=sum(standing["accepted"].values()),
        unsure=standing["unsure"],
        waiting=0,  # which of them people were just asked about would tell the owner, who may answer too, for what
        undecided=standing["waiting"] + standing["open"],
        not_asked=standing["not_asked"],
        no_answer=standing["no_answer"],
        question=task.question,
        kind=task.kind,
        sources=_decided(config, store.decisions()),
        people=_people(config, store, pool),
        spent=_spent(config, store),
        budget_usd=standing["budget_usd"],
        network=_network(config, store),
        curve=(known := learning.points(outcomes)),
        ahead=learning.ahead(known),
        strategies=learning.tried(outcomes),
        moves=learning.moves(outcomes),
        copies=learning.copies(outcomes),
        reliability=reliability,
        confusion=confusions,
        agreement=_agreement(config, store, pool, outcomes),
        asking=asking.facts(standing["asking"]),
        goal_accuracy=config.goal.accuracy,
        delta=config.goal.delta,
        certificate=certificate,
        no_certificate=why_none,
        estimated=estimated,
        stopped=_sentence(standing["stopped"]) if standing["stopped"] else "",
        turns=standing["turns"],
        seed=config.run.seed,
        version=__version__,
    )


def _decided(config: Config, found: Decisions) -> tuple[f.Source, ...]:
    """Who settled how many, by the decisions alone: accepted ones."""
    by: dict[str, Counter[str]] = {}
    items = Counter(who for who, action in zip(found.by, found.actions, strict=True) if action == "accept")
    for who, action, value in zip(found.by, found.actions, found.values, strict=True):
        if action == "accept":
            by.setdefault(who, Counter()).update([value] if isinstance(value, str) else value or ["(none)"])
    return tuple(
        f.Source(r.name, _sort(config, r.name), items[r.name], dict(by[r.name])) for r in config.rung if r.name in by
    )


def _certificate(config: Config, store: Store, pool: Pool) -> tuple[Certificate | None, str]:
    """The certificate of the labels as they are; an older one is of other labels and not shown."""
    looks = store.certificates()
    if looks:
        now = claim.seal(pool, claim.gather(config, store, pool))
        same = next((c["body"] for c in reversed(looks) if c["labels_sha256"] == now), None)
        if same is not None:
            return Certificate(**same), ""
        return None, "The labels have changed since they were certified: `tutelage certify` takes another look."
    told = next((str(o["no_certificate"]) for o in reversed(store.outcomes()) if o.get("no_certificate")), "")
    if told:
        return None, f"There is no certificate: {told}."
    if config.person is None:
        return None, "There is no certificate: no rung is a person, and agreement with a machine is not accuracy."
    return None, "There is no certificate yet: `tutelage certify` makes it once people have answered the audit."


def standing(config: Config, store: Store, pool: Pool) -> tuple[Certificate | None, f.Estimated | None]:
    """The certificate of the labels as they are, None where people have answered since it was made; and the estimates
    that stand beside the last look at these labels, None where there was none."""
    made, recipe = _certificate(config, store, pool)[0], claim.person_recipe(config)
    if made is None:
        return None, None
    later = store.events_since(int(made.extra["answers_up_to"]), [recipe, second_recipe(recipe)])
    return None if later else made, estimates(config, pool, _seen(config, store, pool, made))


def _seen(config: Config, store: Store, pool: Pool, made: Certificate) -> claim.Evidence:
    """What the look saw that made a certificate: audit answers that came later are not shown before the next one."""
    return claim.gather(config, store, pool, made.turn, int(made.extra["answers_up_to"]))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _sort(config: Config, name: str) -> f.Sort:
    rung = next((r for r in config.rung if r.name == name), None)
    return "person" if name == "person" else "student" if rung is not None and rung.student else "llm"


def _sources(config: Config, columns: Columns) -> tuple[f.Source, ...]:
    by: dict[str, Counter[str]] = {}
    items: Counter[str] = Counter()
    for who, label, status in zip(columns["by"], columns["label"], columns["status"], strict=True):
        if status in ("waiting", export.NOT_ASKED) or who is None:
            continue  # what is asked is not settled
        items[who] += 1
        by.setdefault(who, Counter()).update([label] if isinstance(label, str) else label or ["(none)"])
    order = [*(rung.name for rung in config.rung), "guess", "nobody"]
    return tuple(f.Source(who, _sort(config, who), items[who], dict(by[who])) for who in order if who in by)


def _people(config: Config, store: Store, pool: Pool) -> f.People:
    if config.person is None:
        return f.People()
    recipe, unsure, clocked, beside = claim.person_recipe(config), 0, 0.0, 0
    times, stands = Counter[bool](), dict[str, str]()
    others = (second_recipe(recipe), extra_recipe(recipe), settled_recipe(recipe))
    for _, status, call, answer in store.events_since(0, [recipe, *others]):
        first = call.recipe == recipe and not opinions.marked(answer, opinions.SETTLED)
        if status == "withdrawn":
            stands.pop(call.key, None)
        elif status == "ok":
            if first:
                stands[call.key] = call.purpose
            unsure += answer.unsure and first
            beside += opinions.marked(answer, opinions.ASSISTED)
            # A label that a third person's word left behind, or a near-duplicate confirmed with another, took no time.
            if (first or call.recipe != recipe) and not opinions.marked(answer, opinions.GROUP):
                clocked += answer.seconds or config.person.settings.seconds
                times[answer.seconds > 0] += 1
    counts = Counter(stands.values())
    answers, said = counts.total(), claim.people_are(store)
    who: f.Who = "nobody" if not answers else "people"
    if said.startswith("simulated"):
        who = "gold" if "gold" in said else "votes"
    return f.People(
        who, f"People were {said}." if said.startswith("simulated") else "", counts["pilot"], counts["audit"],
        counts["escalation"], unsure, clocked / 60, times[True] > 0 == times[False], beside,
        _agree(config, store, pool),
    )  # fmt: skip


def _agree(config: Config, store: Store, pool: Pool) -> str:
    found = opinions.of_run(store, pool, settings.the_task(config), settings.kind(config))
    return opinions.told(found) if found.doubled or found.later or config.review.overlap else ""


def _network(config: Config, store: Store) -> f.Network | None:
    """None where nothing went over the network and nothing of it is limited."""
    used, most = store.spend().total, config.goal.budget
    if not used.requests and not used.held_requests and most.tokens is None and most.calls is None:
        return None
    return f.Network(
        used.requests, used.tokens, used.held_requests, used.held_tokens, used.reserved, most.calls, most.tokens
    )


def _spent(config: Config, store: Store) -> tuple[f.Spent, ...]:
    return tuple(
        f.Spent(name, u.answers, u.errors + u.failed, u.tokens_in, u.tokens_cached, u.tokens_out, u.usd)
        for name, u in store.spend().by.items()
        if name != "person"
    )


def _agreement(
    config: Config, store: Store, pool: Pool, outcomes: Sequence[Mapping[str, Any]]
) -> tuple[f.Agreement, ...]:
    """Each machine against people on the pilot, and what guessing would give."""
    last: Mapping[str, Any] = next((o["agreement"] for o in reversed(outcomes) if o.get("agreement")), {})
    shares = [o["pilot_shares"] for o in outcomes if o.get("pilot_shares")]
    guess = 1.0
    for atom in settings.layout(config).slices:
        guess *= sum(s * s for s in shares[-1][atom]) if shares else 1 / (atom.stop - atom.start)
    return tuple(f.Agreement(name, f.Share(k, n), guess) for name, (k, n) in last.items() if n)


def _measured(
    config: Config, store: Store, pool: Pool, made: Certificate | None
) -> tuple[tuple[f.Bin, ...], tuple[f.Confusion, ...], f.Estimated | None]:
    """Reliability, confusion and estimates from audited machine labels: random, blind, seen by nothing that learned."""
    if made is None:
        return (), (), None
    evidence = _seen(config, store, pool, made)
    kind, task = settings.kind(config), settings.the_task(config)
    decided = store.decisions()
    sure = {pool.position(item): c for item, c in zip(decided.items, decided.confidences, strict=True)}
    layout = settings.layout(config)
    right: list[bool] = []
    confidence: list[float] = []
    pairs: dict[str, list[tuple[str, str]]] = {atom: [] for atom in layout.atoms}
    for i, said in evidence.audit.items():
        given = evidence.labels[i]
        if said is None or given is None:
            continue
        right.append(kind.loss(task, given, said) == 0)
        confidence.append(min(max(sure[i], 0.0), 1.0))
        truth, guess = kind.atoms(task, said), kind.atoms(task, given)
        for atom in layout.atoms:
            pairs[atom].append((truth[atom], guess[atom]))
    tables = [f.confusion(pairs[a], cs, a) for a, cs in zip(layout.atoms, layout.choices, strict=True)]
    return f.bins(confidence, right), tuple(tables) if right else (), estimates(config, pool, evidence)


def _gold(config: Config, pool: Pool, columns: Columns, final: Mapping[str, Any]) -> tuple[f.Check, ...]:
    if config.pool.gold is None:
        return ()
    kind, task, gold = settings.kind(config), settings.the_task(config), pool.gold()

    def right(label: Any, truth: Value) -> bool:
        return kind.loss(task, tuple(label) if isinstance(label, list) else label, truth) == 0

    known = [i for i, g in enumerate(gold) if g is not None and columns["label"][i] is not None]
    groups: dict[str, list[int]] = {"all delivered labels": known}
    for status in ("accepted", "unsure"):
        groups[f"labels with status {status}"] = [i for i in known if columns["status"][i] == status]
    out = [
        f.Check(what, f.Share(sum(right(columns["label"][i], gold[i]) for i in rows), len(rows)))  # type: ignore[arg-type]
        for what, rows in groups.items()
        if rows
    ]
    alone = final.get("gold", {})
    return (*out, *(f.Check(f"{name} alone", f.Share(*share)) for name, share in alone.items() if share[1]))


def _next(
    status: Mapping[str, int], people: f.People, certificate: Certificate | None, paused: bool
) -> tuple[str, ...]:
    steps = ["Mend what stopped the run, then go on: tutelage run."] if paused else []
    if status.get("waiting"):
        steps.append("Answer what is open: tutelage review. Then go on: tutelage run.")
    if certificate is None and people.audit:
        steps.append("Have the claim measured: tutelage certify.")
    if status.get("unsure"):
        steps.append("More minutes of people (goal.person_minutes) repair more of the unsure labels.")
    steps.append("Take the labels away: tutelage export labels labels.parquet; label new rows: tutelage predict FILE.")
    return tuple(steps)


__all__ = ["gather", "live", "standing"]
