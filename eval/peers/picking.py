"""Other libraries' strategies on arrays that are there already: `python picking.py LIBRARY STRATEGY FOLDER N PICKS`.

Each gets the probabilities (or embeddings) as the object it asks a classifier for; nothing is trained or embedded.
"""

from __future__ import annotations

import collections
import collections.abc
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _cell import measured

Work = Callable[[], object]


class Pool:
    """The arrays: p (n, classes), x (n, d), labeled (m, d), members (10, n, classes), classes of the labelled."""

    def __init__(self, folder: Path, n: int, need: str) -> None:
        def part(name: str, *where: Any) -> Any:
            return np.array(np.load(folder / f"{name}.npy", mmap_mode="r")[where])

        self.n = n
        self.p = part("probabilities", slice(n))
        self.labeled, self.said = part("labeled"), part("targets").argmax(axis=1)
        self.x = part("features", slice(n)) if "x" in need else None
        self.members = part("members", slice(None), slice(n)) if "m" in need else None

    def everything(self) -> tuple[Any, Any, Any]:
        """The labelled rows, then the pool: features, label or NaN, and probabilities."""
        m = len(self.labeled)
        x = np.concatenate([self.labeled, self.x]) if self.x is not None else np.empty((self.n + m, 1))
        y = np.concatenate([self.said, np.full(self.n, np.nan)])
        return x, y, np.concatenate([self.p[:m], self.p])


def small_text(strategy: str, pool: Pool, picks: int) -> Work:
    """A classifier that says what is known; the data set is the row numbers."""
    from small_text.query_strategies import coresets, strategies
    from small_text.query_strategies.bayesian import BALD

    m, members = len(pool.labeled), pool.members
    embedding = strategy in ("k_center", "kmeans", "cal")
    x, _, p = pool.everything() if embedding else (None, None, pool.p)
    drawn = np.ascontiguousarray(np.swapaxes(members, 0, 1)) if members is not None else None

    class Known:
        def predict_proba(self, rows: Any, dropout_sampling: int = 1) -> Any:
            return drawn if dropout_sampling > 1 else p

        def embed(self, rows: Any, return_proba: bool = False, pbar: Any = None) -> Any:
            return (x[rows], p[rows]) if return_proba else x[rows]

    made = {
        "random": strategies.RandomSampling,
        "margin": strategies.BreakingTies,
        "entropy": strategies.PredictionEntropy,
        "least_confidence": strategies.LeastConfidence,
        "bald": BALD,
        "k_center": coresets.GreedyCoreset,
        "kmeans": strategies.EmbeddingKMeans,
        "cal": lambda: strategies.ContrastiveActiveLearning(pbar=None),
    }[strategy]()
    rows = np.arange(pool.n + m) if embedding else np.arange(pool.n)
    known, open_ = (rows[:m], rows[m:]) if embedding else (np.arange(0), rows)
    y = np.zeros(len(known), dtype=np.int64)
    if strategy in ("k_center", "kmeans"):  # rows of `embeddings` are those of the open items, then of the labelled
        given = np.concatenate([x[m:], x[:m]])
        return lambda: made.query(Known(), rows, open_, known, y, n=picks, pbar=None, embeddings=given)
    return lambda: made.query(Known(), rows, open_, known, y, n=picks)


def modal(strategy: str, pool: Pool, picks: int) -> Work:
    """Its functions over a classifier that says what is known."""
    from modAL import density, uncertainty
    from modAL.utils.selection import multi_argmax

    class Known:
        def predict_proba(self, x: Any) -> Any:
            return pool.p

    if strategy == "bald":
        for name in ("torch", "skorch", "skorch.utils"):  # only named in annotations of what is measured
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torch"].__dict__.update(tensor=object, nn=types.SimpleNamespace(Module=object))
        sys.modules["skorch.utils"].__dict__["to_numpy"] = np.asarray
        from modAL import dropout

        members = list(pool.members)
        return lambda: multi_argmax(dropout._bald_divergence(members), n_instances=picks)
    if strategy == "information_density":
        return lambda: multi_argmax(
            uncertainty.classifier_entropy(Known(), pool.x) * density.information_density(pool.x, "cosine"),
            n_instances=picks,
        )
    if strategy == "expected_error":
        np.float = float  # type: ignore[attr-defined]  # gone from numpy 1.24; it asks
        from modAL.expected_error import expected_error_reduction
        from modAL.models import ActiveLearner
        from sklearn.linear_model import LogisticRegression

        learner = ActiveLearner(LogisticRegression(max_iter=100), X_training=pool.labeled, y_training=pool.said)
        return lambda: expected_error_reduction(learner, pool.x, loss="log", n_instances=picks)
    ask = {
        "margin": uncertainty.margin_sampling,
        "entropy": uncertainty.entropy_sampling,
        "least_confidence": uncertainty.uncertainty_sampling,
    }[strategy]
    x = np.empty((pool.n, 1))
    return lambda: ask(Known(), x, n_instances=picks)


def skactiveml(strategy: str, pool: Pool, picks: int) -> Work:
    """Its query strategies with a classifier that is not fitted again."""
    from skactiveml import pool as theirs
    from skactiveml.base import SkactivemlClassifier

    classes = np.arange(pool.p.shape[1])
    features = strategy in ("k_center", "typiclust", "badge", "cal", "expected_error")
    if features:
        x, y, p = pool.everything()
    else:
        x, y, p = np.empty((pool.n, 1), dtype=np.float32), np.full(pool.n, np.nan), pool.p

    class Known(SkactivemlClassifier):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> Any:
            return p[: len(X)]

        def drawn(self, X: Any) -> Any:
            return pool.members

    known = Known(classes=classes)
    known.classes_ = classes
    if strategy in ("margin", "entropy", "least_confidence"):
        method = {"margin": "margin_sampling", "entropy": "entropy", "least_confidence": "least_confident"}[strategy]
        query = theirs.UncertaintySampling(method=method, random_state=0)
        return lambda: query.query(x, y, known, fit_clf=False, batch_size=picks)
    if strategy == "bald":
        greedy = theirs.GreedyBALD(random_state=0, sample_predictions_method_name="drawn")
        return lambda: greedy.query(x, y, known, fit_ensemble=False, batch_size=picks)
    if strategy == "expected_error":
        from skactiveml.classifier import SklearnClassifier
        from sklearn.linear_model import LogisticRegression

        learner = SklearnClassifier(LogisticRegression(max_iter=100), classes=classes, random_state=0)
        return lambda: theirs.MonteCarloEER(method="log_loss", random_state=0).query(x, y, learner, batch_size=picks)
    if strategy in ("badge", "cal"):
        asked = {"badge": theirs.Badge, "cal": theirs.ContrastiveAL}[strategy](random_state=0)
        return lambda: asked.query(x, y, known, fit_clf=False, batch_size=picks)
    made = {"random": theirs.RandomSampling, "k_center": theirs.CoreSet, "typiclust": theirs.TypiClust}[strategy]
    return lambda: made(random_state=0).query(x, y, batch_size=picks)


def baal(strategy: str, pool: Pool, picks: int) -> Work:
    """Its heuristics rank the whole pool."""
    from baal.active import heuristics

    made = {
        "random": heuristics.Random,
        "margin": heuristics.Margin,
        "entropy": heuristics.Entropy,
        "least_confidence": heuristics.Certainty,
        "bald": heuristics.BALD,
    }[strategy]()
    given = np.ascontiguousarray(np.moveaxis(pool.members, 0, 2)) if strategy == "bald" else pool.p
    pool.members = None
    return lambda: made(given)[:picks]


def alipy(strategy: str, pool: Pool, picks: int) -> Work:
    """Its query classes, by what they take instead of a model."""
    collections.Iterable = collections.abc.Iterable  # type: ignore[attr-defined]  # gone from Python 3.10; it asks
    from alipy import index, query_strategy
    from alipy.query_strategy import query_labels

    rows, m = np.arange(pool.n), len(pool.labeled)
    if strategy == "random":
        unlabeled = index.IndexCollection(rows.tolist())
        return lambda: query_strategy.QueryInstanceRandom().select([], unlabeled, batch_size=picks)
    if strategy == "bald":
        committee = query_strategy.QueryInstanceQBC(disagreement="KL_divergence")
        return lambda: committee.select_by_prediction_mat(rows, list(pool.members), batch_size=picks)
    if strategy == "k_center":
        x, y, _ = pool.everything()
        core = query_labels.QueryInstanceCoresetGreedy(x, y, np.arange(len(x)))
        return lambda: core.select(np.arange(m), np.arange(m, len(x)), batch_size=picks)
    if strategy == "information_density":
        dense = query_labels.QueryInstanceDensityWeighted(pool.x, None, "entropy", distance="cosine")
        return lambda: dense.select(None, rows, batch_size=picks, proba_prediction=pool.p)
    if strategy == "expected_error":
        x, y, _ = pool.everything()
        y = np.nan_to_num(y).astype(np.int64)
        from sklearn.linear_model import LogisticRegression

        # its own model no longer takes more than two classes
        model = LogisticRegression(max_iter=100).fit(pool.labeled, pool.said)
        eer = query_strategy.QueryExpectedErrorReduction(x, y)
        return lambda: eer.select(np.arange(m), np.arange(m, len(x)), model=model, batch_size=picks)
    measure = {"least_confidence": "least_confident"}.get(strategy, strategy)
    made = query_strategy.QueryInstanceUncertainty(measure=measure)
    return lambda: made.select_by_prediction_mat(rows, pool.p, batch_size=picks)


LIBRARIES = {"smalltext": small_text, "modal": modal, "skactiveml": skactiveml, "baal": baal, "alipy": alipy}


def main() -> None:
    """Warm with a small pool, so that imports do not count, then measure."""
    library, strategy, folder, n, picks = sys.argv[1:]
    take, where = LIBRARIES[library], Path(folder)
    with_x = strategy in ("k_center", "kmeans", "typiclust", "badge", "cal", "information_density", "expected_error")
    need = ("x" if with_x else "") + ("m" if strategy == "bald" else "")
    if strategy != "expected_error":
        take(strategy, Pool(where, 2_000, need), 5)()
    measured(take(strategy, Pool(where, int(n), need), int(picks)))


if __name__ == "__main__":
    main()
