"""What it costs to bring the expected errors down to the goal: by prices, by fixed bars, by agreement.

    python -m eval.routing [--quick] [--only SET] [--seeds 200] [--json FILE]

Recorded answers of a cheap LLM, a dear one, (banking77) the dear one in another prompt, then people, who are the
source's labels. The cheap one speaks of every item; each seed draws a pilot of 150 items that all were asked about,
which are people's and are not counted below. From it, by logistic regression on how many votes agree and on how many of
the ten nearest texts (MiniLM) got the same answer from the cheap LLM, every policy has the same predicted errors. Each
climbs until the errors it predicts are four fifths of what the goal bears; so they differ in nothing but whom they ask.
Nothing was tuned on these sets: the shares are the product's, the prices assumed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent import route
from eval import _log

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PERSON = 25 * 8 / 3600
KAPPA, PILOT, NEAR = 0.8, 150, 10
SETS: dict[str, list[tuple[str, str, float]]] = {
    "banking77": [
        ("gpt-3.5-turbo", "fewshot_rep", 0.001),
        ("gpt-4", "fewshot_ocats", 0.01),
        ("gpt-4", "fewshot_nonrep", 0.01),
    ],
    "llm_fpb": [("gpt-3.5-turbo", "zeroshot", 0.0003), ("gpt-4", "zeroshot", 0.003)],
}
"""Model, prompt, dollars an answer: assumed, as prices of a day are; a person is 8 s at $25 an hour."""


@dataclass(frozen=True)
class World:
    """`labels`: (stages, n) the label once stage j was heard (the most votes, the dearest vote where they are even);
    `features`: (stages, n, d); `truth`: (n,); `prices`: (stages,)."""

    name: str
    labels: Ints
    features: Doubles
    truth: Ints
    prices: Doubles


@dataclass(frozen=True)
class Predicted:
    """(stages, n) errors as predicted once stage j was heard; the steps between stages, learnt on the pilot."""

    error: Doubles
    steps: list[route.Step]


def load(name: str, most: int | None) -> World:
    """Items with a vote at every stage."""
    import pyarrow.parquet as pq

    from agent import encode
    from eval._sets import data_folder

    folder = data_folder() / name
    file = "items.parquet" if (folder / "items.parquet").is_file() else "data.parquet"
    rows = pq.read_table(folder / file, columns=["id", "text", "label"]).to_pylist()
    votes: list[dict[Any, str]] = [{} for _ in SETS[name]]
    for v in pq.read_table(folder / "votes.parquet").to_pylist():
        for said, (model, prompt, _) in zip(votes, SETS[name], strict=True):
            if (v["model"], v["prompt"]) == (model, prompt) and v["label"] is not None:
                said.setdefault(v["id"], v["label"])
    rows = [r for r in rows if all(r["id"] in said for said in votes)][:most]
    names = {r["label"] for r in rows} | {label for said in votes for label in said.values()}
    code = {label: k for k, label in enumerate(sorted(names))}
    heard = np.array([[code[s[r["id"]]] for r in rows] for s in votes])
    encoder = encode.find()
    if encoder is None:
        raise SystemExit("no sentence encoder is installed: make setup")
    vectors = np.asarray(encoder.embed([r["text"] for r in rows]), np.float64)
    return world(name, heard, np.array([code[r["label"]] for r in rows]), vectors, [p for _, _, p in SETS[name]])


def world(name: str, said: Ints, truth: Ints, vectors: Doubles, prices: list[float]) -> World:
    """Labels and features from votes (stages, n) and unit vectors (n, d)."""
    near = np.argpartition(-(vectors @ vectors.T - 2 * np.eye(len(vectors))), NEAR, axis=1)[:, :NEAR]
    labels, features = np.empty_like(said), []
    for stage in range(len(said)):
        heard = said[: stage + 1]
        count = (heard[:, None, :] == heard[None, :, :]).sum(axis=1)
        # The later vote wins where they are even, but another prompt of the same model does not outvote its first.
        best = np.argmax((count + 1e-3 * np.minimum(np.arange(stage + 1), 1)[:, None]), axis=0)
        labels[stage] = heard[best, np.arange(said.shape[1])]
        agree = (heard == labels[stage]).sum(axis=0)
        share = (said[0][near] == labels[stage][:, None]).mean(axis=1)
        features.append(np.column_stack([share, (share == 1), *[(agree == k) for k in range(2, len(said) + 1)]]))
    return World(name, labels, np.array(features, np.float64), truth, np.array(prices))


def predict(world: World, pilot: Ints) -> Predicted:
    """Errors by logistic regression on the pilot, each stage by itself."""
    from sklearn.linear_model import LogisticRegression

    out = []
    for features, labels in zip(world.features, world.labels, strict=True):
        wrong = labels[pilot] != world.truth[pilot]
        if wrong.all() or not wrong.any():
            out.append(np.full(len(labels), (wrong.sum() + 0.5) / (len(pilot) + 1)))
            continue
        out.append(LogisticRegression(C=1.0).fit(features[pilot], wrong).predict_proba(features)[:, 1])
    error = np.array(out)
    steps = [route.learn(a[pilot].astype(np.float32), b[pilot].astype(np.float32)) for a, b in pairwise(error)]
    return Predicted(error, [step for step in steps if step is not None])


@dataclass(frozen=True)
class Climb:
    """`last`: (n,) the last stage heard, the number of stages stands for a person; `usd`: (n,) paid to machines."""

    last: Ints
    usd: Doubles


def by_rule(world: World, found: Predicted, bears: float, steady: bool = False) -> Climb:
    """The product's rule; `steady`: without regard to what may follow an answer (the static one)."""
    stages, n = world.labels.shape
    options = [route.Option(f"stage {k + 1}", float(world.prices[k + 1]), step) for k, step in enumerate(found.steps)]
    options.append(route.Option("person", PERSON, None))
    count = len(options)
    follows = np.arange(count)[None, :] >= np.arange(count + 1)[:, None]
    if stages > 2:
        follows[0, 1] = False  # another vote is asked of whom one was asked before
    ladder = route.Ladder(tuple(options), follows, np.full(count + 1, np.nan))
    at, usd = np.zeros(n, np.int64), np.zeros(n)
    for _ in range(stages * n):
        items = route.Items(found.error[at, np.arange(n)], at, np.ones((n, count), bool))
        action = static(ladder, items, bears) if steady else route.solve(ladder, items, route.Limits(bears)).action
        machine = (action != route.STOP) & (action < count - 1)
        if not machine.any():
            return Climb(np.where(action == count - 1, stages, at), usd)
        at[machine] = action[machine] + 1
        usd[machine] += world.prices[at[machine]]
    raise AssertionError("every round asks about something, so there cannot be more")


def static(ladder: route.Ladder, items: route.Items, bears: float) -> Ints:
    """argmin c(a) + μ·r(a) with the mean error after an answer, μ bisected until the sum fits."""
    errors = [o.step.mean(items.error) if o.step else np.zeros(len(items.error)) for o in ladder.options]
    left = np.column_stack([items.error, *errors])
    price = np.array([0.0, *(o.price for o in ladder.options)])
    able = np.column_stack([np.ones(len(left), bool), ladder.follows[items.state]])
    low, high = 0.0, 1e4

    def best(mu: float) -> Ints:
        return np.asarray(np.where(able, price + mu * left, np.inf).argmin(axis=1))

    for _ in range(40):
        mu = (low + high) / 2
        low, high = (low, mu) if left[np.arange(len(left)), best(mu)].sum() <= bears else (mu, high)
    return best(high) - 1


def by_bars(world: World, found: Predicted, bears: float) -> Climb:
    """One bar for all rungs, as low as the sum of errors allows; below it the next rung is asked."""
    stages = len(world.labels)

    def climb(bar: float) -> Ints:
        stops = found.error <= bar
        return np.where(stops.any(axis=0), stops.argmax(axis=0), stages)

    def left(at: Ints) -> float:
        machine = np.flatnonzero(at < stages)
        return float(found.error[at[machine], machine].sum())

    # Not monotone: a lower bar may send to a rung that is surer and wrong. So the loosest of all that fit.
    bars = np.quantile(found.error, np.linspace(0, 1, 200))
    fit = [bar for bar in bars.tolist() if left(climb(bar)) <= bears]
    at = climb(max(fit, default=-1.0))
    return Climb(at, np.cumsum(np.append(world.prices, 0.0))[at] - world.prices[0])


def by_agreement(world: World, found: Predicted, bears: float) -> Climb:
    """All machines are asked about everything; people get what they disagree on, at random, then the others."""
    stages, n = world.labels.shape
    order = np.random.default_rng(0).permutation(n)
    order = order[np.argsort(world.features[-1][order, -1] > 0, kind="stable")]
    rest = found.error[-1].sum() - np.cumsum(found.error[-1][order])
    at = np.full(n, stages - 1)
    at[order[: int(np.argmax(rest <= bears)) + 1]] = stages
    return Climb(at, np.full(n, world.prices[1:].sum()))


POLICIES: dict[str, Callable[[World, Predicted, float], Climb]] = {
    "the rule: prices, and what may follow": by_rule,
    "the static rule: prices, one step": lambda w, f, b: by_rule(w, f, b, steady=True),
    "one fixed bar for all rungs": by_bars,
    "all models, people where they disagree": by_agreement,
}


def part(world: World, found: Predicted, rows: Ints) -> tuple[World, Predicted]:
    """The same of these items alone."""
    cut = World(world.name, world.labels[:, rows], world.features[:, rows], world.truth[rows], world.prices)
    return cut, Predicted(found.error[:, rows], found.steps)


def once(world: World, goal: float, seed: int) -> dict[str, dict[str, float]]:
    """All policies on one pilot: people's answers beyond it, dollars for 1,000 items beyond the cheap LLM, and wrong
    labels against what the goal bears."""
    n = len(world.truth)
    pilot = np.random.default_rng(seed).choice(n, min(PILOT, n // 4), replace=False)
    rest, found = part(world, predict(world, pilot), np.setdiff1d(np.arange(n), pilot))
    out = {}
    for name, policy in POLICIES.items():
        path = policy(rest, found, KAPPA * (1 - goal) * n)
        person = path.last == len(world.labels)
        label = rest.labels[np.minimum(path.last, len(world.labels) - 1), np.arange(len(rest.truth))]
        wrong = int(((label != rest.truth) & ~person).sum())
        usd = float((path.usd + PERSON * person).sum()) / n * 1000
        out[name] = {"people": float(person.sum()) / n, "usd": usd, "machines": float(path.usd.sum()) / n * 1000,
                     "wrong": wrong / n, "over": float(wrong > (1 - goal) * n)}  # fmt: skip
    return out


def table(runs: dict[tuple[str, float], list[dict[str, dict[str, float]]]], sizes: dict[str, str]) -> list[str]:
    """Markdown: a row a set, goal and policy, mean ± sd over seeds."""
    lines = [
        "| set | goal | who is asked | people see, % | $ for 1,000 items | to machines | wrong, % | over the goal |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (name, goal), seeds in runs.items():
        for policy in POLICIES:
            v = {
                key: np.array([run[policy][key] for run in seeds])
                for key in ("people", "usd", "machines", "wrong", "over")
            }
            people, usd, wrong = v["people"] * 100, v["usd"], v["wrong"] * 100
            lines.append(
                f"| {sizes[name]} | {goal:.2f} | {policy} | {people.mean():.1f} ± {people.std():.1f} "
                f"| {usd.mean():.2f} ± {usd.std():.2f} | {v['machines'].mean():.2f} "
                f"| {wrong.mean():.2f} ± {wrong.std():.2f} | {100 * v['over'].mean():.1f} % |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="400 items of one set, 10 seeds")
    parser.add_argument("--only", choices=sorted(SETS), help="one set: both take ten minutes")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seeds = 10 if arguments.quick else arguments.seeds
    runs: dict[tuple[str, float], list[dict[str, dict[str, float]]]] = {}
    sizes = {}
    for name in ["llm_fpb"] if arguments.quick else [arguments.only] if arguments.only else list(SETS):
        found = load(name, 400 if arguments.quick else None)
        right = " → ".join(f"{100 * (said == found.truth).mean():.1f}" for said in found.labels)
        sizes[name] = f"{name}, {len(found.truth):,} items ({right} % right)"
        for goal in (0.95,) if arguments.quick else (0.90, 0.95):
            runs[name, goal] = [once(found, goal, seed) for seed in range(seeds)]
    lines = [
        f"Whom to ask, {seeds} seeds of the pilot, mean ± sd; wrong: against the source's labels",
        "",
        *table(runs, sizes),
    ]
    print("\n".join(lines))
    if arguments.json:
        arguments.json.write_text(
            json.dumps([{"set": n, "goal": g, "runs": r} for (n, g), r in runs.items()], indent=1)
        )
    _log.append("routing", lines, quick=arguments.quick)


if __name__ == "__main__":
    main()
