"""What a model that leaves the house is worth: embedding a CPU second, ONNX files against the student, sizes.

    python -m eval.export [--quick] [--set NAME …] [--part embedding|onnx] [--json FILE]

Embedding is timed in CPU seconds of this process, one thread; each repetition times every way once, one after the
other, so that a busy machine is busy for all (bfloat16 once where it is three times slower). `sentence-transformers` is
its `encode(texts)` as it comes. Picks: the sixth of the rows with the smallest margins of a head that was taught on
float32 vectors, on vectors of the other precision. ONNX files are compared on test rows that the head was not taught;
accuracy is against the set's own labels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agent import encode, plugins
from agent.release import graph
from agent.release.card import interval
from agent.release.parts import parts_of
from agent.types import Context, Floats, Item, Layout, Part, Task
from eval import _log, _sets

CACHE = Path(__file__).with_name(".cache") / "embeddings"
HEAD = "| what | set | rows | ours | beside | result | goal |\n| --- | --- | --- | --- | --- | --- | --- |"
TIMED = {"banking77": 420, "ag_news": 132}
ONNX = ("banking77", "sst2", "trec6")
TAUGHT, REPEATS = 3_000, 4


def taught(name: str, count: int) -> tuple[Any, _sets.Set]:
    """A linear student taught on `count` train rows with their own labels."""
    data = _sets.load(name)
    layout = Layout(("label",), (data.labels,))
    module = plugins.load("students", "linear")
    context = Context(Task(name, "single", dict.fromkeys(data.labels, "")), layout, 0, str(CACHE))
    student = module.build(module.Settings(device="cpu", l2=0.1), context)
    rows = _sets.sample(data.train, count, 0)
    targets = np.eye(layout.width, dtype=np.float32)[[data.labels.index(row.label) for row in rows]]
    student.fit(student.features(items([row.text for row in rows])), targets, np.ones(len(rows), dtype=np.float32))
    return student, data


def items(texts: list[str]) -> list[Item]:
    """Texts as items."""
    return [Item(str(i), (Part("text/plain", text),)) for i, text in enumerate(texts)]


def spent(work: Callable[[], Any]) -> tuple[float, Floats]:
    """CPU seconds, and what was computed, rows of length one."""
    start = time.process_time()
    found = np.asarray(work(), dtype=np.float32)
    return time.process_time() - start, found / np.linalg.norm(found, axis=1, keepdims=True)


def embedding(name: str, count: int, repeats: int, found: dict[str, Any]) -> list[str]:
    """Rows of the table on embedding."""
    import torch

    torch.set_num_threads(1)
    student, data = taught(name, TAUGHT)
    texts = [row.text for row in _sets.sample(data.test, count, 0)]
    encoders = {p: encode.find(device="cpu", precision=p) for p in ("float32", "bfloat16", "int8")}
    ways: dict[str, Callable[[], Any]] = {}
    for precision, encoder in encoders.items():
        assert encoder is not None
        encoder.embed(texts[:8])
        ways[precision] = lambda encoder=encoder: encoder.embed(texts)  # type: ignore[misc]
    plain = encoders["float32"]
    assert plain is not None
    ways["peer"] = lambda: plain.model.encode(texts, show_progress_bar=False)
    times: dict[str, list[float]] = {way: [] for way in ways}
    vectors: dict[str, Floats] = {}
    for _ in range(repeats):
        for way, work in ways.items():
            if way == "bfloat16" and times[way] and times[way][0] > 3 * times["float32"][0]:
                times[way].append(times[way][0])
                continue  # so slow here that once is enough
            seconds, vectors[way] = spent(work)
            times[way].append(seconds)
    rows = []
    for precision in encoders:
        ratios = [b / a for a, b in zip(times[precision], times["peer"], strict=True)]
        cosine = (vectors[precision] * vectors["peer"]).sum(axis=1)
        changed, other = picks(student, vectors["float32"], vectors[precision])
        speed, beside = count / statistics.mean(times[precision]), count / statistics.mean(times["peer"])
        found[f"embed {name} {precision}"] = {
            "per_cpu_s": speed, "peer": beside, "ratios": ratios, "cosine_mean": float(cosine.mean()),
            "cosine_least": float(cosine.min()), "picks_changed": changed, "choices_changed": other,
        }  # fmt: skip
        goal = "≥ 1.5 ×, cosine ≥ .999" if precision == "float32" else "–"
        sd = f" ± {statistics.stdev(ratios):.2f}" if repeats > 1 else ""
        rows.append(
            f"| embedding, {precision}: texts a CPU s | {name} | {count} | {speed:.0f} "
            f"| sentence-transformers {beside:.0f} | {floor(statistics.mean(ratios), 2)}{sd} ×; cosine least "
            f"{floor(min(cosine.min(), 1), 5)}, mean {floor(min(cosine.mean(), 1), 5)}; {changed} of {count // 6} "
            f"picks and {other} of {count} choices changed | {goal} |"
        )
    return rows


def picks(student: Any, one: Floats, other: Floats) -> tuple[int, int]:
    """How many of the least margins are others, and how many choices."""
    p, q = student.predict(one), student.predict(other)
    margins = [np.diff(np.sort(x, axis=1)[:, -2:], axis=1)[:, 0] for x in (p, q)]
    least = [set(np.argsort(margin, kind="stable")[: len(one) // 6]) for margin in margins]
    return len(least[0] - least[1]), int((p.argmax(axis=1) != q.argmax(axis=1)).sum())


def floor(value: float, digits: int) -> str:
    """Never rounded up."""
    return f"{np.floor(float(value) * 10**digits) / 10**digits:.{digits}f}"


def onnx(name: str, count: int, found: dict[str, Any]) -> list[str]:
    """Rows of the table on ONNX files."""
    student, data = taught(name, TAUGHT)
    test = data.test[:count]
    texts = [row.text for row in test]
    truth = np.array([data.labels.index(row.label) for row in test])
    said = student.predict(student.features(items(texts)))
    right = int((said.argmax(axis=1) == truth).sum())
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        student.save(str(folder / "model"))
        parts = parts_of(folder / "model", student)
        assert parts is not None
        graph.write_tokenizer(parts, folder / "tokenizer.json")
        graph.export(parts, folder / graph.PLAIN)
        graph.shrink(folder / graph.PLAIN, folder / graph.SMALL)
        for file in (graph.PLAIN, graph.SMALL):
            p = graph.run(folder / file, folder / "tokenizer.json", texts)
            same, own = int(graph.alike(p, said, parts.layout).sum()), int((p.argmax(axis=1) == truth).sum())
            low, high = interval(same, len(test))
            furthest, size = float(np.abs(p - said).max()), (folder / file).stat().st_size
            found[f"onnx {name} {file}"] = {
                "same": same, "rows": len(test), "furthest": furthest, "right": own, "student_right": right,
                "bytes": size,
            }  # fmt: skip
            share = f"{floor(100 * same / len(test), 2)} % ({floor(100 * low, 2)} to {100 * high:.2f})"
            wanted = "≥ 99.9 %" if file == graph.PLAIN else "reported"
            rows.append(
                f"| {file}: same choice as the student | {name} | {len(test)} | {same} | {size / 1e6:.1f} MB "
                f"| {share}; furthest {furthest:.1e}; right {floor(100 * own / len(test), 2)} %, "
                f"student {floor(100 * right / len(test), 2)} % | {wanted} |"
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rows, one set for ONNX")
    parser.add_argument("--part", choices=("embedding", "onnx", "both"), default="both")
    parser.add_argument("--set", nargs="*", default=[*TIMED, *ONNX], help="these sets alone")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    lines = HEAD.split("\n")
    print("\n".join(lines), flush=True)
    jobs: list[Callable[[], list[str]]] = []
    if given.part != "onnx":
        for name, count in ((name, count) for name, count in TIMED.items() if name in given.set):
            size, repeats = (max(count // 6, 60), 1) if given.quick else (count, REPEATS)
            jobs.append(lambda name=name, size=size, repeats=repeats: embedding(name, size, repeats, found))  # type: ignore[misc]
    if given.part != "embedding":
        for name in [name for name in ONNX if name in given.set][: 1 if given.quick else None]:
            jobs.append(lambda name=name: onnx(name, 300 if given.quick else 5_000, found))  # type: ignore[misc]
    for job in jobs:
        rows = job()
        lines += rows
        print("\n".join(rows), flush=True)
    _log.append("export", lines, given.quick)
    if given.json:
        Path(given.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
