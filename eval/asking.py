"""What a small LLM's labels are worth by the way it is asked: `python -m eval.asking [--quick]`.

Six sets, two models. Of each set 100 random test rows are the pilot: people (here: gold) answer them, and they are not
scored; 120 more are. The default: the pilot is asked for label words without and with 8 examples, `agent.forms` chooses
one of the two or their mean, `agent.calibrate.damped` calibrates it by the pilot's answers. Wordings, constants and the
candidates were chosen on train rows.
What a model says is kept on disk (`eval._asked`), so a run can be cut short (`--minutes`) and taken up again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from agent import calibrate, forms, plugins
from agent.errors import CallFailed, MissingExtra, Unparsable
from agent.oracles import small
from agent.oracles._scorer import Scorer
from agent.types import Answer, Bools, Context, Floats, Ints, Layout, Question, Task
from eval import _asked, _log
from eval._asked import Asked, Draw, Form, NotYet, Wording

MODELS = {"SmolLM2-135M-Instruct": "auto", "gemma3-270m": "gemma3-270m"}
PILOT, SCORED, SEED = 100, 120, 1
QUICK = (16, 8)
"""Pilot and scored rows with --quick: enough to see that all runs, too few to compare."""

WORDS, CODES = Form("words", "none"), Form("codes", "none")
EIGHT = Form("words", "fixed")
FORMS = (WORDS, CODES, EIGHT, Form("words", "near"))
BOTH = "words, without and with 8"

STEPS = ("likelihood", "+ contextual calibration", "+ batch calibration", "+ people's answers")
DEFAULT = "default"
POOLED = "all forms, pooled"
"""Each form a rung of its own: what several calls an item would give."""

MOODS = {"negative": "negative", "positive": "positive"}
WORDINGS = {
    "sst2": Wording("Does this sentence from a review speak badly or well of the movie?", "Review", "Sentiment", MOODS),
    "ag_news": Wording(
        "",
        "Article",
        "Topic",
        {"World": "World", "Sports": "Sports", "Business": "Business", "Sci/Tech": "Technology"},
    ),
    "trec6": Wording(
        "What kind of answer does each question ask for: a person, a place, a number, a thing, a description or an"
        " abbreviation?",
        "Question",
        "Kind of answer",
        {
            "ABBR": "abbreviation",
            "DESC": "description",
            "ENTY": "thing",
            "HUM": "person",
            "LOC": "place",
            "NUM": "number",
        },
    ),
    "sms_spam": Wording("", "Message", "Type", {"ham": "normal", "spam": "spam"}),
    "news4": Wording(
        "",
        "Post",
        "Topic",
        {"rec.autos": "cars", "rec.sport.hockey": "hockey", "sci.med": "medicine", "sci.space": "space"},
    ),
    "zh_waimai": Wording(
        "Does this Chinese review of a food delivery speak badly or well of it?", "Review", "Sentiment", MOODS
    ),
}


@dataclass
class Cell:
    """One model on one set. `right`: method -> which scored rows it got right; a method that was not run is absent."""

    model: str
    set: str
    right: dict[str, Bools] = field(default_factory=dict)
    sure: dict[str, Floats] = field(default_factory=dict)
    """The probability that each method gives its label, for those that give one."""
    chosen: str = ""
    unreadable: float | None = None
    """Share of plain generations without examples that name no label."""


def fill(asked: Asked, draw: Draw) -> None:
    """Have the model say all that the table needs; what it said before is not asked again."""
    wording = WORDINGS[draw.name]
    for form in FORMS:
        if form in (WORDS, EIGHT):
            try:
                asked.written(draw, wording, form)
            except CallFailed as error:
                print(f"{draw.name}, {form}: {error}", flush=True)
        asked.logprobs(draw, wording, form)
        asked.empty(draw, wording, form)


def measure(model: str, asked: Asked, draw: Draw) -> Cell:
    """All methods on one set, from what was said; those that were not asked are left out."""
    cell, wording = Cell(model, draw.name), WORDINGS[draw.name]
    layout = Layout(("label",), (draw.labels,))
    truth = np.array([draw.labels.index(row.label) for row in draw.rows])
    scored = np.arange(len(draw.pilot), len(draw.rows))
    answered = np.setdiff1d(np.arange(len(draw.pilot)), draw.fixed)
    said = np.eye(len(draw.labels), dtype=np.float32)[truth[answered]]
    raw: dict[Form, Floats] = {}
    best: dict[Form, Floats] = {}
    for form in FORMS:
        _decoded(cell, asked, draw, form, truth[scored])
        try:
            raw[form] = asked.logprobs(draw, wording, form)
            steps = _steps(raw[form], asked.empty(draw, wording, form), layout, answered, said)
        except NotYet:
            continue
        for step, p in zip(STEPS, steps, strict=True):
            _note(cell, f"{form}: {step}", p[scored], truth[scored])
            best[form] = p
    if raw:
        _pooled(cell, [calibrate.logs(one) for one in best.values()], layout, answered, said, truth[scored])
    if WORDS in raw and EIGHT in raw:
        raws = {str(WORDS): raw[WORDS], str(EIGHT): raw[EIGHT], BOTH: (raw[WORDS] + raw[EIGHT]) / 2}
        chosen = forms.choose([one[answered] for one in raws.values()], said, layout)
        cell.chosen, mine = list(raws.items())[chosen.index]
        steps = _steps(mine, mine[:1], layout, answered, said)
        for name, p in zip((f"{DEFAULT}, raw", f"{DEFAULT}, batch", DEFAULT), (steps[0], *steps[2:]), strict=True):
            _note(cell, name, p[scored], truth[scored])
    return cell


def _steps(raw: Floats, empty: Floats, layout: Layout, answered: Ints, said: Floats) -> list[Floats]:
    """Probabilities by each calibration in turn. Contextual calibration (Zhao et al. 2021): divided by what the model
    says of texts without content."""
    of_nothing = layout.normalise(empty).mean(axis=0)
    share = calibrate.shares(said, layout)
    return [
        layout.normalise(raw),
        layout.normalise(raw - np.log(of_nothing)),
        calibrate.batch(raw, layout),
        calibrate.damped(raw, layout, answered, said, share),
    ]


def _pooled(cell: Cell, sources: list[Floats], layout: Layout, answered: Ints, said: Floats, truth: Ints) -> None:
    """The log-linear pool of the forms, weighted by people's answers."""
    weights = calibrate.fit_weights([one[answered] for one in sources], said, layout, [1 / len(sources)] * len(sources))
    together = np.tensordot(np.float32(weights), np.stack(sources), axes=1)
    _note(cell, POOLED, layout.normalise(together)[len(together) - len(truth) :], truth)


def _decoded(cell: Cell, asked: Asked, draw: Draw, form: Form, truth: Ints) -> None:
    """Plain generation and constrained choice."""
    if form.read != "words" or form.shots == "near":
        return
    try:
        free, forced = asked.written(draw, WORDINGS[draw.name], form)
    except NotYet:
        return
    names = list(_asked.task(draw, WORDINGS[draw.name]).labels)
    read = [_parsed(draw, text) for text in free]
    cell.right[f"plain generation, {_asked.NAMES[form.shots]}"] = np.array(
        [name == names[t] for name, t in zip(read, truth, strict=True)]
    )
    cell.right[f"constrained choice, {_asked.NAMES[form.shots]}"] = np.array(
        [name == names[t] for name, t in zip(forced, truth, strict=True)]
    )
    if form == WORDS:
        cell.unreadable = sum(name is None for name in read) / len(read)


def _parsed(draw: Draw, text: str) -> str | None:
    """The label that generated text names, read by the product's own parser; None if it names none."""
    kind = plugins.load("kinds", "single")
    the_task = _asked.task(draw, WORDINGS[draw.name])
    question: Question = kind.question(the_task, _asked.item("", ""), 0)
    try:
        read = kind.parse(the_task, question, Answer(text))
    except Unparsable:
        return None
    return max(read["label"], key=read["label"].get) if read else None


def _note(cell: Cell, name: str, p: Floats, truth: Ints) -> None:
    cell.right[name] = p.argmax(axis=1) == truth
    cell.sure[name] = p.max(axis=1)


def ece(sure: Floats, right: Bools, bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015): mean gap of certainty and accuracy, in bins of equal width."""
    place = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = [abs(float(sure[place == b].mean() - right[place == b].mean())) * (place == b).sum() for b in set(place)]
    return float(sum(gaps) / len(sure))


def methods() -> list[str]:
    """The table's lines, in order."""
    shots = [_asked.NAMES[s] for s in ("none", "fixed")]
    decoded = [f"{way}, {s}" for way in ("plain generation", "constrained choice") for s in shots]
    return [*decoded, *(f"{form}: {step}" for form in FORMS for step in STEPS), POOLED, DEFAULT]


def table(cells: list[Cell]) -> list[str]:
    """Accuracy of one model by method and set, and the mean over the sets with its standard error."""
    lines = [f"| {cells[0].model} | " + " | ".join(cell.set for cell in cells) + " | mean |"]
    lines.append("|---|" + "---|" * (len(cells) + 1))
    for method in methods():
        shares = [cell.right[method].mean() if method in cell.right else None for cell in cells]
        told = ["" if share is None else f"{share:.3f}" for share in shares]
        mean = ""
        if all(share is not None for share in shares):
            mean, se = _mean([cell.right[method].astype(float) for cell in cells])
            mean = f"{mean:.3f} ± {se:.3f}"
        lines.append(f"| {method} | {' | '.join(told)} | {mean} |")
    lines.append(f"| the default's form | {' | '.join(cell.chosen for cell in cells)} | |")
    for name in (f"{DEFAULT}, raw", f"{DEFAULT}, batch", DEFAULT):
        told = [f"{ece(cell.sure[name], cell.right[name]):.3f}" if name in cell.sure else "" for cell in cells]
        have = [cell for cell in cells if name in cell.sure]
        every = [np.concatenate([part[name] for part in parts]) for parts in _parts(have)] if have else []
        together = f"{ece(*every):.3f}" if every else ""
        lines.append(f"| calibration error: {name} | {' | '.join(told)} | {together} |")
    return lines


def _parts(cells: list[Cell]) -> tuple[list[dict[str, Floats]], list[dict[str, Bools]]]:
    return [cell.sure for cell in cells], [cell.right for cell in cells]


def _mean(rows: list[Floats]) -> tuple[float, float]:
    """Mean over the sets and its standard error; sets count alike."""
    means = [row.mean() for row in rows]
    variance = sum(row.var(ddof=1) / len(row) for row in rows)
    return float(np.mean(means)), float(np.sqrt(variance) / len(rows))


def verdicts(cells: list[Cell]) -> list[str]:
    """The default against the goals, over all models and sets that were measured."""
    lines = ["| over all models and sets | default is better by | goal |", "|---|---|---|"]
    for way, goal in (("plain generation", 0.15), ("constrained choice", 0.08)):
        for shots in ("none", "fixed"):
            name = f"{way}, {_asked.NAMES[shots]}"
            have = [cell for cell in cells if name in cell.right and DEFAULT in cell.right]
            if have:
                gain, se = _mean([cell.right[DEFAULT].astype(float) - cell.right[name] for cell in have])
                lines.append(f"| {name} ({len(have)} cells) | {gain:+.3f} ± {se:.3f} | ≥ +{goal:.2f} |")
    whole = [cell for cell in cells if DEFAULT in cell.right]
    means = {
        m: _mean([cell.right[DEFAULT].astype(float) - cell.right[m] for cell in whole])
        for m in methods()
        if m not in (DEFAULT, POOLED) and whole and all(m in cell.right for cell in whole)
    }
    if means:
        best = min(means, key=lambda m: means[m][0])
        lines.append(f"| {best}: the best single method overall | {means[best][0]:+.3f} ± {means[best][1]:.3f} | ≥ 0 |")
    for cell in cells:
        singles = {m: cell.right[m].mean() for m in methods() if m in cell.right and m not in (DEFAULT, POOLED)}
        if DEFAULT in cell.right and singles:
            best = max(singles, key=lambda m: singles[m])
            gap, se = _mean([cell.right[DEFAULT].astype(float) - cell.right[best]])
            lines.append(f"| {cell.model}, {cell.set}: best single is {best} | {gap:+.3f} ± {se:.3f} | ≥ -0.02 |")
    return lines


def load(model: str, threads: int | None) -> Scorer:
    """The product's own model, loaded."""
    task = Task("none", "single", {"a": "", "b": ""})
    context = Context(task, plugins.load("kinds", "single").choices(task))
    return small.build(small.Settings(model=model, dtype="float32", threads=threads), context)._load()


def run(
    models: Mapping[str, Callable[[], Scorer]], sets: list[str], sizes: tuple[int, int], minutes: float
) -> list[Cell]:
    """Ask for what is missing while there is time, then measure what there is."""
    until = time.monotonic() + 60 * minutes
    cells = []
    draws = [_asked.draw(name, "test", *sizes, SEED) for name in sets]
    for model, loading in models.items():
        asked = Asked(model, loading, until)
        for draw in draws:
            try:
                fill(asked, draw)
            except (NotYet, CallFailed) as error:
                print(f"{model}, {draw.name}: not whole ({error or 'the time is up, run again'})", flush=True)
            except MissingExtra as error:
                print(f"{model} is left out: {error}", flush=True)
                break
        cells += [measure(model, asked.silent(), draw) for draw in draws]
    return cells


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="python -m eval.asking", description=__doc__)
    parser.add_argument("--sets", default=",".join(WORDINGS), help="comma-separated")
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated")
    parser.add_argument("--minutes", type=float, default=240, help="for which models are asked; 0: only what is kept")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="one set, few rows, to see that all runs; not logged")
    args = parser.parse_args()
    names = args.models.split(",")[:1] if args.quick else args.models.split(",")
    sets = args.sets.split(",")[:1] if args.quick else args.sets.split(",")
    models = {name: partial(load, MODELS[name], args.threads) for name in names}
    cells = [cell for cell in run(models, sets, QUICK if args.quick else (PILOT, SCORED), args.minutes) if cell.right]
    told = [f"{SCORED if not args.quick else QUICK[1]} scored test rows a cell; mean ± standard error."]
    for name in models:
        if mine := [cell for cell in cells if cell.model == name]:
            told += ["", *table(mine)]
    told += ["", *verdicts(cells)]
    print("\n".join(told))
    if args.json:
        args.json.write_text(json.dumps([_plain(cell) for cell in cells], indent=1) + "\n")
    _log.append("asking", told, quick=args.quick)


def _plain(cell: Cell) -> dict[str, object]:
    """The cell's figures as JSON takes them."""
    return {
        "model": cell.model,
        "set": cell.set,
        "chosen": cell.chosen,
        "unreadable": cell.unreadable,
        "accuracy": {name: float(right.mean()) for name, right in cell.right.items()},
        "calibration error": {name: ece(sure, cell.right[name]) for name, sure in cell.sure.items()},
    }


if __name__ == "__main__":
    main()
