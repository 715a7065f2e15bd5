"""The product's own commands on real text with recorded people: `python -m eval.demo movie` and `news`.

Prepares a folder as a user would (pool, configuration), runs `tutelage run`, `certify` and `export` as child processes,
and only then opens the gold column, which no rung saw, to say what came of it. Knows nothing of how the loop works.

movie  movie-review sentences (Hutto & Gilbert 2014). The person's rung answers with the sign of one real rater's
       rating a question; gold is the sign of the mean of all raters (15 to 29 a sentence).
news   four of the 20 Newsgroups, where the small LLM is weak. There are no raters: the person's rung answers with the
       group the post was sent to, which is said in every output.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eval import _demo_table, _movie, _news

ITEMS = {"movie": 3000, "news": 2000}
PEOPLE = {
    "movie": "one real rater's rating a question, drawn by seed; gold is the sign of the mean of all raters",
    "news": "the gold column (the group a post was sent to) stands in for people: no person was asked",
}

MOVIE = """\
# Written by `python -m eval.demo movie`.
[task]
kind = "single"
name = "movie"
question = "Does this sentence from a review speak badly or well of the movie?"

[task.labels]
negative = "the writer speaks badly of the movie"
positive = "the writer speaks well of the movie"

[pool]
path = "pool.parquet"
text = ["text"]
id = "id"
gold = "gold"            # used only to check, by eval.demo

[goal]
accuracy = 0.90
delta = 0.05
person_minutes = 60

[[rung]]
student = "linear"

[[rung]]
oracle = "small"         # SmolLM2-135M on this machine
subject = "Review"
ask = "Sentiment"

[[rung]]
oracle = "person"
people = "people.parquet"
seconds = 6

[run]
seed = {seed}
"""

NEWS = """\
# Written by `python -m eval.demo news`.
[task]
kind = "single"
name = "news"
question = "Which newsgroup was this post sent to?"

[task.labels]
autos = "cars: driving, buying, repairing them"
hockey = "ice hockey: teams, players, games"
medicine = "medicine: illness, drugs, doctors, diet"
space = "space: rockets, satellites, planets, astronomy"

[pool]
path = "pool.parquet"
text = ["text"]
id = "id"
gold = "gold"

[goal]
accuracy = 0.95
delta = 0.05
person_minutes = 60

[[rung]]
student = "linear"

[[rung]]
oracle = "small"         # SmolLM2-135M on this machine
subject = "Post"
ask = "Topic"

[[rung]]
oracle = "person"
people = "gold"          # the gold column stands in for people
seconds = 8

[run]
seed = {seed}
"""


def choose(n: int, items: int, seed: int) -> list[int]:
    """`items` row numbers out of n, drawn without replacement, in order."""
    return sorted(np.random.default_rng(seed).permutation(n)[:items].tolist())


def vote(rating: int) -> str | None:
    """A rating of -4 to 4 as a label; None where it is 0: the rater could not tell."""
    return "positive" if rating > 0 else "negative" if rating < 0 else None


def prepare_movie(folder: Path, items: int, seed: int) -> None:
    """Write pool.parquet (id, text, gold), people.parquet (id, annotator, label) and tutelage.toml.

    The raters of a sentence are anonymous: "rater-03" is the fourth rating of that sentence, not a person known
    elsewhere. The 37 sentences whose mean is exactly zero have no gold.
    """
    rows = _movie.load()
    rows = [rows[i] for i in choose(len(rows), items, seed)]
    pool = {
        "id": [i for i, _, _ in rows],
        "text": [text for _, text, _ in rows],
        "gold": [_movie.sign(ratings) or None for _, _, ratings in rows],
    }
    votes = [(i, f"rater-{k:02d}", vote(r)) for i, _, ratings in rows for k, r in enumerate(ratings)]
    people = dict(zip(("id", "annotator", "label"), map(list, zip(*votes, strict=True)), strict=True))
    lay_out(folder, pool, MOVIE.format(seed=seed))
    pq.write_table(pa.table(people), folder / "people.parquet")


def prepare_news(folder: Path, items: int, seed: int) -> None:
    """Write pool.parquet (id, text, gold) and tutelage.toml."""
    rows = _news.load()
    rows = [rows[i] for i in choose(len(rows), items, seed)]
    names = ("id", "text", "gold")
    lay_out(folder, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), NEWS.format(seed=seed))


def lay_out(folder: Path, pool: dict[str, list[Any]], config: str) -> None:
    """A folder with a pool and a configuration, as a user has it before the first command.

    A run that has begun there over other items would go on with both, so that is refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table, path = pa.table(pool), folder / "pool.parquet"
    if (folder / "tutelage-run").exists() and path.exists() and not pq.read_table(path).equals(table):
        sys.exit(f"{folder} holds a run over other items: delete it, or name another with --folder")
    pq.write_table(table, path)
    (folder / "tutelage.toml").write_text(config, encoding="utf-8")


def command(folder: Path, *words: str, may: tuple[int, ...] = (0,)) -> int:
    """Run `tutelage WORDS` in the folder with its output shown; stop the demo unless its exit code is one of `may`."""
    print(f"\n$ cd {folder} && tutelage {' '.join(words)}", flush=True)
    code = subprocess.run(
        [sys.executable, "-m", "agent", *words], cwd=folder, check=False, stdout=sys.stdout
    ).returncode
    if code not in may:
        sys.exit(
            f"tutelage {words[0]} ended with exit code {code}; {folder} is as it left it, run the demo again to go on"
        )
    return code


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(ITEMS))
    parser.add_argument("--items", type=int, help="how many items to label (movie 3000, news 2000)")
    parser.add_argument("--folder", type=Path, help="where to work (demo/NAME)")
    parser.add_argument("--seed", type=int, default=0, help="draws the items, and is the run's seed")
    parser.add_argument("--prepare", action="store_true", help="write pool, people and configuration, and stop")
    parser.add_argument("--json", action="store_true", help="the closing table as JSON on stdout, the rest on stderr")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Prepare, run, certify, export, and say what came of it."""
    args = arguments(argv)
    folder: Path = args.folder or Path("demo") / args.name
    out, begun = sys.stdout, time.monotonic()
    if args.json:
        sys.stdout = sys.stderr
    prepare = {"movie": prepare_movie, "news": prepare_news}[args.name]
    prepare(folder, args.items or ITEMS[args.name], args.seed)
    print(f"{folder}: pool.parquet, tutelage.toml. People: {PEOPLE[args.name]}.")
    if args.prepare:
        return
    # 3 budget spent, 4 waiting for people, 5 target not certified: all leave labels to look at
    command(folder, "run", may=(0, 3, 4, 5))
    command(folder, "certify", may=(0, 5))
    command(folder, "export", "labels", "labels.parquet")
    command(folder, "export", "model", "model", "--force")
    command(folder, "export", "report")
    found = _demo_table.measure(folder) | {"people_are": PEOPLE[args.name], "seconds": round(time.monotonic() - begun)}
    if args.json:
        print(json.dumps(found, indent=2), file=out)
    else:
        _demo_table.show(found)


if __name__ == "__main__":
    main()
