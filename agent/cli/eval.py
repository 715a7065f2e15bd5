"""`tutelage eval`: which strategy and which student learn most from fewest labels, tried on data with known labels.

Asks nobody and changes no run. Knows no mathematics: `agent.bench` simulates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import Common, common, many, span
from agent.errors import MissingExtra, UserError

if TYPE_CHECKING:
    from agent.bench import Answers, Plan, Problem
    from agent.cli.labeled import Labeled
    from agent.cli.standings import Standing
    from agent.config import Config
    from agent.types import Student

FOLDS = 5
"""Without a column that says which rows are tested on, seed s tests on the fifth number s mod 5 of the rows."""
STEPS = 20
MOST = 1_000
EVERY = 15.0
"""Seconds between two lines of progress where nobody sits at a terminal."""

Tell = Callable[[int, str], None]
"""Called with the steps done in all, and what is at work."""


@dataclass(frozen=True)
class _Wanted:
    """What the command line asks for."""

    students: tuple[str, ...]
    strategies: tuple[str, ...]
    oracle: str
    seeds: int
    plan: Plan


@click.command("eval")
@click.argument("file", required=False)
@click.option("--gold", metavar="COLUMN", help="The column with known labels; found by its name when not given.")
@click.option("--text", multiple=True, metavar="COLUMN", help="A column with text; give it again for more.")
@click.option("--id", "own", metavar="COLUMN", help="A column of ids, by which recorded votes name items.")
@click.option("--strategies", default="auto,random,margin", show_default=True, metavar="A,B|all", help="Ways to pick.")
@click.option("--students", metavar="A,B", help="Who learns; the configuration's, or linear, when not given.")
@click.option("--oracle", default="gold", show_default=True, metavar="gold|noisy:P|votes:FILE", help="Who answers.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), metavar="N", help="Repetitions.")
@click.option("--labels", type=click.IntRange(1), metavar="N", help="Labels asked for; 1,000 or half of the pool.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Labels a step; a twentieth of them.")
@click.option("--rows", default=12_000, show_default=True, type=click.IntRange(1), metavar="N", help="Rows at most.")
@click.option("--out", default="tutelage-eval", show_default=True, metavar="FOLDER", help="Where the curves go.")
@common
def evaluate(
    common: Common,
    file: str | None,
    gold: str | None,
    text: tuple[str, ...],
    own: str | None,
    strategies: str,
    students: str | None,
    oracle: str,
    seeds: int,
    labels: int | None,
    batch: int | None,
    rows: int,
    out: str,
) -> None:
    """Try strategies and students on labeled data: accuracy by labels asked for, and labels needed.

    FILE holds texts and a column of known labels; without it, the configuration's pool and its gold column are taken,
    or else what its run has accepted. Rows whose column "split" says "test" are tested on; without such a column a
    fifth of the rows, another one for each seed. Asks nobody: gold is always right; noisy:0.85 is right as often as
    that, less where items are doubtful (noisy:0.85x2: two votes an item); votes:FILE has recorded ones in the columns
    id, label and, of several voters, model. curves.png, curves.csv and eval.json go to the --out folder.

    \b
    Example:
      tutelage eval reviews.csv --gold stars
      tutelage eval reviews.csv --gold stars --oracle noisy:0.85 --strategies auto,random,badge
      tutelage eval --students linear,tfidf --seeds 3
    """
    from agent import bench
    from agent.cli import labeled, standings

    if file is not None:
        found = labeled.from_file(common, file, gold, text, own)
    else:
        found = labeled.from_run(common.config(), gold, common.flags)
    _say(common, found)
    config = common.config() if file is None or common.given else None
    found = _fewer(common, found, rows)
    pool = _pool_size(found)
    total = min(labels or min(MOST, pool // 2), pool)
    if labels is not None and labels > total:
        common.say(f"--labels {labels:,}: only {total:,} rows can be asked about, so that many are")
    plan = bench.Plan(labels=total, batch=min(batch or max(total // STEPS, 1), total))
    wanted = _Wanted(_students(config, students), _named("acquire", strategies), oracle, seeds, plan)
    common.say(_begin(found, wanted, pool))
    made = _all(common, found, wanted, config, out, pool)
    told = f"against {found.against}" if found.gold else "against the run's own labels, no gold"
    document = _document(found, wanted, pool, standings.body(made))
    alt = ""
    try:
        title = f"{Path(found.name).name}: accuracy by labels asked for, answers by {oracle.partition(':')[0]}"
        alt = standings.write(Path(out), title, _band(told, wanted), document, made)
    except MissingExtra as error:
        common.say(str(error))
    lines = [_head(found, wanted, pool), "", *standings.table(made), *_right(made), "", _legend(wanted)]
    lines += [f"curves: {Path(out) / 'curves.png'}", alt] if alt else []
    common.show({**document, "picture": str(Path(out) / "curves.png") if alt else None, "alt": alt}, "\n".join(lines))


def _say(common: Common, found: Labeled) -> None:
    """What a user should know of the data before they are tried on."""
    for note in found.notes:
        common.say(note)
    if found.gold and found.task.kind == "multi":
        common.say("values with | are taken as several labels an item: put another sign there where they are one label")


def _all(common: Common, found: Labeled, wanted: _Wanted, config: Config | None, out: str, pool: int) -> list[Standing]:
    """Every student's standing."""
    steps = len(wanted.students) * wanted.seeds * len(wanted.strategies) * len(wanted.plan.sizes(pool))
    try:
        with _progress(common, steps) as tell:
            return [_standing(found, wanted, config, name, i, out, tell) for i, name in enumerate(wanted.students)]
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted; nothing of what was tried is kept: the same command begins anew"
        ) from None


def _named(room: str, told: str) -> tuple[str, ...]:
    """Plug-ins by name.

    Raises:
        PluginError: nothing answers to one of the names. UserError: there is none, or one stands there twice.
    """
    from agent import plugins

    names = plugins.names(room) if told == "all" else [name.strip() for name in told.split(",") if name.strip()]
    option = "--strategies" if room == "acquire" else "--students"
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"{option} {told!r}: name each one once, apart by commas. Known: {', '.join(plugins.names(room))}"
        )
    for name in names:
        plugins.load(room, name)
    return tuple(names)


def _students(config: Config | None, told: str | None) -> tuple[str, ...]:
    own = next((rung.student for rung in config.rung if rung.student), None) if config else None
    return _named("students", told or own or "linear")


def _fewer(common: Common, found: Labeled, most: int) -> Labeled:
    """At most so many rows, drawn at random."""
    import numpy as np

    if len(found.items) <= most:
        return found
    rows = np.sort(np.random.default_rng(0).permutation(len(found.items))[:most])
    common.say(f"{most:,} of {len(found.items):,} rows are taken, drawn at random (--rows)")
    tested = None if found.tested is None else found.tested[rows]
    if tested is not None and not 0 < tested.sum() < len(rows):
        raise UserError(f"--rows {most} leaves no row to test on, or none to ask about: take more")
    return replace(found, items=tuple(found.items[i] for i in rows), codes=found.codes[rows], tested=tested)


def _pool_size(found: Labeled) -> int:
    """Rows that can be asked about, in the smallest fold; less a pilot."""
    n = len(found.items)
    pool = int((~found.tested).sum()) if found.tested is not None else n - -(-n // FOLDS)
    return pool - min(100, pool // 5)


def _begin(found: Labeled, wanted: _Wanted, pool: int) -> str:
    work = f"{many(len(wanted.strategies), 'strategy', 'strategies')} × {many(len(wanted.students), 'student')}"
    return f"{many(len(found.items), 'row')} with labels; {work} × {many(wanted.seeds, 'seed')}, {pool:,} to ask about"


def _standing(
    found: Labeled, wanted: _Wanted, config: Config | None, name: str, place: int, out: str, tell: Tell
) -> Standing:
    """All curves of one student."""
    import numpy as np

    from agent import bench
    from agent.cli import answerers
    from agent.cli.standings import Standing

    tell(0, f"{name} reads {many(len(found.items), 'row')}") if place == 0 else None
    student = _student(found, config, name, out)
    features = student.features(found.items)
    steps = len(wanted.plan.sizes(_pool_size(found)))
    each = steps * len(wanted.strategies)
    curves: list[Any] = []
    fulls: list[float] = []
    kept: dict[int, tuple[Problem, float, Callable[[int], Answers]]] = {}
    for seed in range(wanted.seeds):
        fold = 0 if found.tested is not None else seed % FOLDS
        if fold not in kept:
            rows = _tested(found, fold)
            problem = bench.Problem(
                found.layout, features[~rows], found.codes[~rows], features[rows], found.codes[rows]
            )
            names = [item.name for item, test in zip(found.items, rows.tolist(), strict=True) if not test]
            kept[fold] = (
                problem,
                bench.full(problem, student),
                answerers.who(wanted.oracle, wanted.plan, found, problem, student, names),
            )
        problem, full, oracle = kept[fold]
        fulls.append(full)
        begun = (place * wanted.seeds + seed) * each

        def report(done: int, total: int, words: str, begun: int = begun) -> None:
            tell(begun + done, f"{name}, {words}")

        curves += bench.run(problem, student, wanted.strategies, oracle, [seed], wanted.plan, report)
    summaries = [bench.summary([c for c in curves if c.strategy == s]) for s in wanted.strategies]
    return Standing(name, float(np.mean(fulls)), tuple(curves), tuple(summaries))


def _tested(found: Labeled, fold: int) -> Any:
    import numpy as np

    if found.tested is not None:
        return found.tested
    order = np.random.default_rng(0).permutation(len(found.items))
    out = np.zeros(len(order), bool)
    out[np.array_split(order, FOLDS)[fold]] = True
    return out


def _student(found: Labeled, config: Config | None, name: str, out: str) -> Student:
    """An untrained student, with the configuration's settings where its ladder has one of that name."""
    from agent import plugins
    from agent.types import Context

    module = plugins.load("students", name)
    rung = next((rung for rung in config.rung if rung.student == name), None) if config else None
    settings = rung.settings if rung else module.Settings()
    folder = str((config.folder if config else Path(out)) / "cache")
    root = str(config.root) if config else ""
    made: Student = module.build(settings, Context(found.task, found.layout, 0, folder, root))
    return made


@contextmanager
def _progress(common: Common, total: int) -> Iterator[Tell]:
    """How far it is, on stderr: a line that redraws itself at a terminal, else a line now and then."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    last = time.monotonic()
    first: tuple[int, float] | None = None  # the first step's time has the reading of the texts in it

    def line(done: int, words: str) -> str:
        nonlocal first
        first = first or ((done, time.monotonic()) if done else None)
        past = done - first[0] if first else 0
        left = (time.monotonic() - first[1]) / past * (total - done) if first and past else 0.0
        return f"{words} · {done:,} of {total:,} steps" + (f", {span(left)} left" if left >= 1 else "")

    if common.quiet or not console.is_terminal:

        def now_and_then(done: int, words: str) -> None:
            nonlocal last
            told = line(done, words)
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                common.say(told)

        yield now_and_then
        return
    with console.status("beginning") as status:
        yield lambda done, words: status.update(line(done, words))


def _document(found: Labeled, wanted: _Wanted, pool: int, figures: dict[str, Any]) -> dict[str, Any]:
    return {
        "file": found.name,
        "against": found.against,
        "gold": found.gold,
        "rows": len(found.items),
        "asked_about": pool,
        "test": "split" if found.tested is not None else f"{FOLDS} folds",
        "choices": [list(choices) for choices in found.layout.choices],
        "oracle": wanted.oracle,
        "seeds": wanted.seeds,
        "labels": wanted.plan.labels,
        "batch": wanted.plan.batch,
        "students": figures,
    }


def _head(found: Labeled, wanted: _Wanted, pool: int) -> str:
    tested = (
        f"tested on the {int(found.tested.sum()):,} rows of split {'test'!r}"
        if found.tested is not None
        else f"tested on a fifth of the rows, another for each seed ({FOLDS} folds)"
    )
    several = "; accuracy: the share of right yes-or-no answers, over all labels" if len(found.layout.atoms) > 1 else ""
    return (
        f"{many(len(found.items), 'row')}, {pool:,} to ask about, {tested}, {many(len(found.task.labels), 'label')}\n"
        f"against {found.against}{several}\n"
        f"answers: {wanted.oracle}; {many(wanted.plan.labels, 'label')} in steps of {wanted.plan.batch:,}; "
        f"{many(wanted.seeds, 'seed')}"
    )


def _band(told: str, wanted: _Wanted) -> str:
    return f"{told}; bands: one standard deviation over {many(wanted.seeds, 'seed')}"


def _right(made: Sequence[Standing]) -> list[str]:
    """How right the answers to each strategy's picks were, where they are not all right."""
    shares = {f"{s.student}/{one.strategy}": one.right for s in made for one in s.summaries if one.right < 1}
    if not shares:
        return []
    return ["", "right answers among those asked for: " + ", ".join(f"{n} {100 * r:.1f} %" for n, r in shares.items())]


def _legend(wanted: _Wanted) -> str:
    yard = "; × : as a part of what random needs" if "random" in wanted.strategies else ""
    return (
        "mean curve: accuracy averaged over all steps; ±: one standard deviation over seeds; to 90 % of full: labels "
        f"needed for 90 % of the accuracy with all labels{yard}"
    )
