"""Finding an LLM's errors without people. `python -m eval.errors [--quick] [--json FILE] [--sets a,b]`.

For each set with texts and recorded votes the delivered label is the majority of the votes (ties to what the student
holds likelier); for banking77 also GPT-4's single vote by itself. Which of these labels differ from the set's own? No
person's label is used. `votes`: shares of the votes alone. `student`: held-out probability by a MiniLM head that was
taught the votes' shares. `cleanlab`: the best of its three scores on the same probabilities, chosen by the
AUROC that is shown (in its favour). `ours`: `agent.suspects`: votes, student and ten neighbours. AUROC with the
half-width of its 95 % interval (Hanley & McNeil 1982); yield: share of all wrong labels found by sending the most
suspicious 10 or 20 % of the items to people. No constant is fitted; that leanings are taken off and who knows nothing
of the labels has no say was decided after a run over these sets in which neither was so (mean AUROC .65; see the log).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent import suspects, teach
from agent.posterior import neighbours
from agent.students import linear
from agent.types import Context, Floats, Item, Layout, Part, Task
from eval import _ballots, _log

SETS = (
    "banking77", "llm_fpb", "llm_babe", "llm_pac_stance", "llm_mmlu", "llm_alt_cebab_aspects", "llm_alt_mtbench",
    "llm_css_discourse", "llm_css_emotion", "llm_css_figurative", "llm_css_humor", "llm_css_politeness",
    "llm_css_stance_trump", "llm_css_tempowic", "llm_css_toxicity_forecast",
)  # fmt: skip
STRONG = {"banking77": "gpt-4 / fewshot_ocats"}
GOAL = 0.86
CACHE = Path("~/.cache/tutelage/features").expanduser()
CLEANLAB = Path(__file__).resolve().parent.parent / ".venv-peer-cleanlab"


@dataclass(frozen=True, slots=True)
class Row:
    """One set: AUROC by source, half-width of the interval of ours, and yields of ours."""

    name: str
    n: int
    wrong: float
    votes: float
    student: float
    cleanlab: float | None
    ours: float
    give: float
    at_ten: float
    at_twenty: float


def auroc(score: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    """Chance that a wrong label has a higher score than a right one, ties half."""
    from scipy.stats import rankdata

    bad, n = int(wrong.sum()), len(wrong)
    return float((rankdata(score)[wrong].sum() - bad * (bad + 1) / 2) / (bad * (n - bad)))


def half_width(a: float, bad: int, good: int) -> float:
    """1.96 standard errors of an AUROC (Hanley & McNeil 1982, eq. 2)."""
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    return float(1.96 * np.sqrt((a * (1 - a) + (bad - 1) * (q1 - a * a) + (good - 1) * (q2 - a * a)) / (bad * good)))


def found(score: NDArray[np.float64], wrong: NDArray[np.bool_], share: float) -> float:
    """Share of the wrong labels among the `share` most suspicious items."""
    first = np.argsort(-score, kind="stable")[: int(share * len(wrong))]
    return float(wrong[first].sum() / wrong.sum())


def by_cleanlab(labels: NDArray[np.int64], student: Floats, wrong: NDArray[np.bool_]) -> float | None:
    """The best AUROC of cleanlab's scores; None where it is not installed (`make peers`)."""
    if not (CLEANLAB / ".ready").exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, labels=labels, probabilities=student)
        script = Path(__file__).with_name("peers") / "cleanlab.py"
        # Run with -I: this script has the name of the package it imports.
        subprocess.run([CLEANLAB / "bin" / "python", "-I", script, given, out], check=True, capture_output=True)
        with np.load(out) as scores:
            return max(auroc(-scores[name], wrong) for name in scores.files)


def voted(ballot: _ballots.Ballot) -> _ballots.Ballot:
    """The items that most annotators voted on."""
    rows = np.flatnonzero((ballot.votes >= 0).mean(axis=1) > 0.5)
    texts = tuple(ballot.texts[i] for i in rows)
    return _ballots.Ballot(
        ballot.name,
        ballot.labels,
        ballot.annotators,
        ballot.votes[rows],
        ballot.truth[rows],
        ballot.sure[rows],
        texts,
    )


def shares(ballot: _ballots.Ballot) -> Floats:
    """Votes by label, (n, labels). A single annotator's vote counts as much as it is sure of it."""
    n, k = len(ballot.votes), len(ballot.labels)
    out = np.zeros((n, k), np.float32)
    alone = ballot.votes.shape[1] == 1
    for j in range(ballot.votes.shape[1]):
        cast = np.flatnonzero(ballot.votes[:, j] >= 0)
        sure = np.nan_to_num(ballot.sure[cast, j], nan=1.0) if alone else np.ones(len(cast))
        out[cast] += ((1.0 - sure) / k).astype(np.float32)[:, None]
        out[cast, ballot.votes[cast, j]] += sure
    return out


def one(name: str) -> list[Row]:
    """The rows of one set."""
    ballot = voted(_ballots.load(name))
    k, n = len(ballot.labels), len(ballot.votes)
    layout, counts = Layout(("label",), (ballot.labels,)), shares(ballot)
    task = Task(name, "single", dict.fromkeys(ballot.labels, ""))
    student = linear.build(linear.Settings(), Context(task, layout, 0, str(CACHE)))
    features = student.features([Item(str(i), (Part("text/plain", text),)) for i, text in enumerate(ballot.texts)])
    target = ((counts + 0.5 / k) / (counts.sum(axis=1, keepdims=True) + 0.5)).astype(np.float32)
    everyone = np.ones(n, bool)
    lesson = teach.lesson(target, everyone, np.zeros_like(target), ~everyone, layout)
    says = teach.teach(student, features, lesson, n, folds=5, seed=0)
    logs, spoken = np.log(np.maximum(says, 1e-6)), suspects.votes(counts, layout)
    near = neighbours(features, target, layout)
    delivered = {"majority": (counts + 1e-3 * says).argmax(axis=1)}
    if (strong := STRONG.get(name)) is not None:
        delivered[strong] = ballot.votes[:, ballot.annotators.index(strong)]
    rows = []
    for tag, given in delivered.items():
        wrong, label = given != ballot.truth, given[:, None]

        def score(*sources: Floats, label: NDArray[np.int64] = label) -> NDArray[np.float64]:
            return suspects.suspicion(label, sources, [everyone] * len(sources), layout)

        ours = score(spoken, suspects.centred(label, logs, layout), suspects.centred(label, near, layout))
        a, bad = auroc(ours, wrong), int(wrong.sum())
        rows.append(
            Row(
                f"{name}: {tag}",
                n,
                float(wrong.mean()),
                auroc(score(spoken), wrong),
                auroc(score(logs), wrong),
                by_cleanlab(given, says, wrong),
                a,
                half_width(a, bad, n - bad),
                found(ours, wrong, 0.1),
                found(ours, wrong, 0.2),
            )
        )
    return rows


def table(rows: list[Row]) -> list[str]:
    """The rows as Markdown."""
    lines = [
        "| set: delivered label | items | wrong (gold) | votes | student | cleanlab | ours | yield at 10 % | at 20 % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        peer = "not installed" if r.cleanlab is None else f"{r.cleanlab:.3f}"
        goal = f" (goal {GOAL})" if any(strong in r.name for strong in STRONG.values()) else ""
        lines.append(
            f"| {r.name} | {r.n:,} | {100 * r.wrong:.1f} % | {r.votes:.3f} | {r.student:.3f} | {peer} | "
            f"{r.ours:.3f} ± {r.give:.3f}{goal} | {100 * r.at_ten:.1f} % | {100 * r.at_twenty:.1f} % |"
        )
    return lines


def main() -> None:
    """Prints the table."""
    asked = argparse.ArgumentParser(prog="python -m eval.errors", description=(__doc__ or "").split("\n\n")[0])
    asked.add_argument("--quick", action="store_true", help="banking77 alone")
    asked.add_argument("--sets", help="names, with commas between")
    asked.add_argument("--json", metavar="FILE", help="write the rows here too")
    options = asked.parse_args()
    names = options.sets.split(",") if options.sets else SETS[:1] if options.quick else SETS
    rows = [row for name in names for row in one(name)]
    lines = table(rows)
    print("\n".join(lines))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    _log.append("errors", lines, quick=options.quick or options.sets is not None)


if __name__ == "__main__":
    main()
