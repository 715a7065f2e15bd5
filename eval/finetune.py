"""Fine-tuned and static students beside a linear head on frozen embeddings: accuracy, CPU seconds, wrong labels.

    python -m eval.finetune             the encoder fine-tuned: full, LoRA, contrastive, at 64, 256 and 1,000 labels
    python -m eval.finetune --noise     with 20 % wrong labels: plain, small loss, co-teaching
    python -m eval.finetune --static    static embeddings beside the encoder they were distilled from
    python -m eval.finetune --gpu       what a GPU does: texts a second, a fine-tuning, picks among 10M

Accuracy is against gold on test rows. What was looked at there before: rates of "full" at 256 labels (sst2 at .00005,
.0002; trec6 at .0001 only; seed 0 of trec6 is not untouched). The rule for few held-out rows was mended after seed 2 of
trec6 at 64 labels had stayed frozen, by curves on other rows of the training parts (that draw and three more). All
settings are the student's defaults.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from agent import encode, plugins
from agent.types import Context, Floats, Item, Layout, Part, Student, Task
from eval import _log, _sets

CACHE = Path(__file__).parent / ".cache" / "embeddings"
NOISE = 0.2
STATIC = {"banking77": "77 intents", "trec6": "kinds of questions", "ag_news": "topics", "sst2": "sentiment"}
MOST = 5_000
"""Training rows at most of --static."""


class Bench:
    """One data set as arrays: training rows drawn by seed, the same test rows for all."""

    def __init__(self, name: str, tests: int) -> None:
        self.data = _sets.load(name)
        self.labels = self.data.labels
        self.layout = Layout(("label",), (self.labels,))
        self.test = _sets.sample(self.data.test, tests, 0)

    def student(self, name: str, seed: int, settings: dict[str, object]) -> Student:
        plugin = plugins.load("students", name)
        task = Task("bench", "single", dict.fromkeys(self.labels, ""))
        made: Student = plugin.build(plugin.Settings(**settings), Context(task, self.layout, seed, str(CACHE)))
        return made

    def right(self, rows: Sequence[_sets.Row]) -> Floats:
        return np.eye(len(self.labels), dtype=np.float32)[[self.labels.index(row.label) for row in rows]]

    def cell(self, name: str, labels: int, seed: int, settings: dict[str, object], wrong: float = 0.0) -> list[float]:
        """[accuracy, CPU seconds of the fit, CPU seconds a 1,000 predictions]."""
        rows = _sets.sample(self.data.train, labels, seed)
        targets = self.right(rows)
        rng = np.random.default_rng(seed)
        flip = rng.random(len(rows)) < wrong
        away = rng.integers(1, len(self.labels), len(rows))
        targets[flip] = np.stack(
            [np.roll(t, a) for t, a in zip(targets[flip], away[flip], strict=True)] or [targets[0]]
        )
        student = self.student(name, seed, settings)
        features, tests = student.features(items(rows)), student.features(items(self.test))
        began = time.process_time()
        student.fit(features, targets, np.ones(len(rows), dtype=np.float32))
        fitted = time.process_time()
        said = student.predict(tests)
        done = time.process_time()
        accuracy = float((said.argmax(axis=1) == self.right(self.test).argmax(axis=1)).mean())
        return [100 * accuracy, fitted - began, (done - fitted) / len(self.test) * 1_000]


def items(rows: Sequence[_sets.Row]) -> list[Item]:
    return [Item(str(i), (Part("text/plain", row.text),)) for i, row in enumerate(rows)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± sd over the seeds."""
    if not values:
        return ""
    mean = f"{np.mean(values):.{digits}f}"
    return mean + (f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else "")


METHODS: dict[str, tuple[str, dict[str, object]]] = {
    "linear": ("linear", {"device": "cpu"}),
    "finetune, full": ("finetune", {"device": "cpu"}),
    "finetune, lora": ("finetune", {"device": "cpu", "mode": "lora"}),
    "finetune, contrastive": ("finetune", {"device": "cpu", "mode": "contrastive"}),
}
ROBUST: dict[str, tuple[str, dict[str, object]]] = {
    "linear": METHODS["linear"],
    "finetune, plain": METHODS["finetune, full"],
    "finetune, small_loss": ("finetune", {"device": "cpu", "robust": "small_loss"}),
    "finetune, co_teaching": ("finetune", {"device": "cpu", "robust": "co_teaching"}),
    "finetune, co_teaching, forget = .2": ("finetune", {"device": "cpu", "robust": "co_teaching", "forget": 0.2}),
}


def tuned(args: argparse.Namespace, keep: Callable[[str, list[float]], None]) -> Iterator[str]:
    """Accuracy and CPU seconds by method and number of labels."""
    methods, wrong = (ROBUST, NOISE) if args.noise else (METHODS, 0.0)
    bench = Bench(args.set, 100 if args.quick else 500)
    warm_up(bench)
    cells: dict[tuple[str, int], list[list[float]]] = {}
    for labels in args.labels:
        for seed in range(args.seeds):
            for method, (name, settings) in methods.items():
                if args.only and args.only not in method:
                    continue
                cell = bench.cell(name, labels, seed, settings, wrong)
                cells.setdefault((method, labels), []).append(cell)
                keep(f"{args.set} {method} {labels} labels, seed {seed}", cell)
    said = f", {NOISE:.0%} of the labels wrong (another one, evenly)" if wrong else ""
    yield f"{args.set}, {len(bench.test)} test rows, accuracy in % against gold, mean ± sd, {args.seeds} seed(s){said}."
    yield ""
    head = ["student"]
    for labels in args.labels:
        head += [f"{labels:,} labels", "fit, CPU s"]
    rows = []
    for method in methods:
        if args.only and args.only not in method:
            continue
        row = [method]
        for labels in args.labels:
            found = cells.get((method, labels), [])
            row += [spread([cell[0] for cell in found]), spread([cell[1] for cell in found])]
        rows.append(row)
    yield from table(head, rows)


def warm_up(bench: Bench) -> None:
    """Load torch and the Trainer, so that no cell pays for it."""
    plugins.load("students", "finetune")
    import sentence_transformers  # noqa: F401
    import transformers.trainer  # noqa: F401

    bench.cell("linear", 64, 0, {"device": "cpu"})


def static(args: argparse.Namespace, keep: Callable[[str, list[float]], None]) -> Iterator[str]:
    """Static embeddings beside the encoder's own, both under the same head."""
    rows = []
    for name, what in STATIC.items():
        bench = Bench(name, 300 if args.quick else 2_000)
        n = min(500 if args.quick else MOST, len(bench.data.train))
        found: dict[str, list[list[float]]] = {"linear": [], "static": []}
        for seed in range(args.seeds):
            for student, cells in found.items():
                cells.append(bench.cell(student, n, seed, {"device": "cpu"} if student == "linear" else {}))
                keep(f"{name} {student} {n}, seed {seed}", cells[-1])
        near, far = ([cell[0] for cell in found[student]] for student in ("linear", "static"))
        gap = [b - a for a, b in zip(near, far, strict=True)]
        pace = _pace(bench)
        rows.append([f"{name} ({what})", f"{n:,}", spread(near), spread(far), spread(gap), f"{pace:,.0f}"])
    yield f"Accuracy in % against gold, mean ± sd over {args.seeds} draws of the training rows; one core."
    yield ""
    yield from table(["set", "labels", "linear (MiniLM)", "static", "difference", "texts a CPU second"], rows)
    yield ""
    yield "Goal: 19,000 short texts a CPU second; FACTS expects 1 (ag_news) to 19 (trec6) points less than MiniLM."


def _pace(bench: Bench) -> float:
    """Texts that `static` turns to rows a CPU second; the best of three, the table being in memory."""
    student = bench.student("static", 0, {})
    texts = items([*bench.data.train, *bench.data.test][:10_000])
    student.features(texts[:1])
    best = 0.0
    for _ in range(3):
        began = time.process_time()
        student.features(texts)
        best = max(best, len(texts) / (time.process_time() - began))
    return best


def gpu(args: argparse.Namespace) -> Iterator[str]:
    """Texts a second, one fine-tuning and picks among 10M rows on a GPU; says so where there is none."""
    import torch

    if not torch.cuda.is_available():
        yield "No figures: torch sees no CUDA device here. On a machine with one the same command measures."
        return
    bench = Bench(args.set, 500)
    rows = bench.data.train[:5_000]
    encoder = encode.find(device="cuda")
    assert encoder is not None
    encoder.embed([row.text for row in rows[:64]])
    began = time.perf_counter()
    encoder.embed([row.text for row in rows])
    pace = len(rows) / (time.perf_counter() - began)
    yield f"{torch.cuda.get_device_name()}: {pace:,.0f} texts of {args.set} a second"
    for mode in ("full", "lora", "contrastive"):
        began = time.perf_counter()
        cell = bench.cell("finetune", min(1_000, len(rows)), 0, {"device": "cuda", "mode": mode})
        yield f"finetune, {mode}, 1,000 labels: {time.perf_counter() - began:.1f} s in all, accuracy {cell[0]:.1f} %"
    pool = torch.randn(10_000_000, 384, device="cuda", dtype=torch.float16)
    head = torch.randn(384, 77, device="cuda", dtype=torch.float16)
    torch.cuda.synchronize()
    began = time.perf_counter()
    near = torch.cat([(part @ head).float().softmax(1).topk(2).values for part in pool.split(1_000_000)])
    picks = torch.topk(near[:, 0] - near[:, 1], 256, largest=False).indices.cpu()
    yield f"margin, {len(picks)} of 10M x 384, 77 classes: {time.perf_counter() - began:.3f} s"


def main() -> None:
    """Print one table, and log it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="trec6")
    parser.add_argument("--labels", type=int, nargs="+", default=[64, 256, 1_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="methods whose name has this word")
    for word in ("noise", "static", "gpu", "quick"):
        parser.add_argument(f"--{word}", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.labels, args.seeds, args.only = [48], 1, "co_teaching, f" if args.noise else "contrastive"
    kept: dict[str, list[float]] = {}

    def keep(name: str, cell: list[float]) -> None:
        kept[name] = cell
        print(f"  {name}: {cell[0]:.1f} %, fit {cell[1]:.1f} CPU s, 1,000 predictions {cell[2]:.2f} CPU s", flush=True)

    lines = list(static(args, keep) if args.static else gpu(args) if args.gpu else tuned(args, keep))
    print("\n".join(["", *lines]))
    words = [f"--{word}" for word in ("noise", "static", "gpu") if getattr(args, word)]
    if not words or args.noise:
        words += [f"--set {args.set}", "--labels", *map(str, args.labels), f"--seeds {args.seeds}"]
        words += [f"--only '{args.only}'"] if args.only else []
    _log.append(" ".join(["finetune", *words]), lines, args.quick)
    if args.json:
        args.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
