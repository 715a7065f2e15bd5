"""The README.md of an exported model: what it does, who taught it, how far it can be trusted, how it is used.

Knows facts as plain data. No item's text stands in it; numbers are cut downwards, with their intervals.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from agent import encode
from agent.release.facts import Bar, Facts
from agent.release.graph import FOLDER, PLAIN, SMALL, Parity
from agent.release.parts import Parts

MOST = 30
"""Labels that are described one by one; --json of `tutelage status` and the report have all."""


def write(facts: Facts, student: str, parts: Parts | None, onnx: Mapping[str, Parity], why_no_onnx: str) -> str:
    """The card as Markdown, with the header the Hugging Face Hub reads.

    Args:
        student: the plug-in's name. parts: None for a student that is no encoder and head.
        onnx: what `graph.write` found, empty where nothing was written, for the reason `why_no_onnx`.
    """
    sections = [
        _header(parts),
        f"# {facts.name}\n\n{_what(facts, student, parts)}",
        f"## Labels\n\n{_labels(facts)}",
        f"## Who taught it\n\n{_teachers(facts)}",
        f"## Certificate\n\n{_certificate(facts)}",
        f"## Calibration and thresholds\n\n{_thresholds(facts)}",
        f"## ONNX\n\n{_onnx(onnx, why_no_onnx)}",
        f"## Use\n\n{_use(parts, onnx)}",
        f"## Limits\n\n{_limits(facts)}",
    ]
    return "\n\n".join(sections) + "\n"


def _header(parts: Parts | None) -> str:
    lines = ["---", "pipeline_tag: text-classification"]
    tags = ["text-classification", "tutelage"]
    if parts is not None:
        lines.append("library_name: sentence-transformers")
        tags.append("sentence-transformers")
        name = encode.HUB if parts.encoder.name == encode.PACKAGE else parts.encoder.name
        if name.count("/") == 1 and not parts.encoder.name.startswith((".", "/", "~")):
            lines.append(f"base_model: {json.dumps(name)}")
    lines += ["tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join([*lines, "# license: yours to choose. language: not known to the program that wrote this.", "---"])


def _what(facts: Facts, student: str, parts: Parts | None) -> str:
    many = "any of these labels" if facts.kind == "multi" else "one of these labels"
    made = {
        "linear": "a linear layer on sentence embeddings that were left as they are",
        "finetune": "a linear layer on an encoder that was fine-tuned",
        "static": "a linear layer on sums of token vectors; it needs no deep network",
        "tfidf": "a linear layer on tf-idf of words and letters; it needs no deep network",
    }.get(student, f"a student of the kind {student}")
    asked = f"It was made for the question: {facts.question}\n\n" if facts.question else ""
    return f"Gives a text {many}, with a probability. It is {made}.\n\n{asked}Made with tutelage."


def _labels(facts: Facts) -> str:
    total = sum(facts.given.values())
    if not total:
        head = "No item of the pool carries a label yet."
    else:
        one = facts.kind != "multi"
        some = f", {total:,} of which carry a label; the others do not yet" if one and total < facts.items else ""
        head = f"The pool it was made on has {facts.items:,} items{some}. How many of them carry each label:"
    rows = [
        f"| {_cell(name)} | {facts.given.get(name, 0):,} | {_cell(about)} |"
        for name, about in list(facts.labels.items())[:MOST]
    ]
    left = len(facts.labels) - len(rows)
    more = f"\n\n{left:,} more labels stand in `student.json`." if left > 0 else ""
    return f"{head}\n\n| label | items | description |\n|---|---|---|\n" + "\n".join(rows) + more


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _teachers(facts: Facts) -> str:
    lines = [f"- taught by: {', '.join(facts.taught_by) or 'nobody that was noted'}"]
    if facts.kept_out:
        lines.append(f"- not taught by: {', '.join(facts.kept_out)} (may_train_student = false)")
    lines += [f"- labels of the pool settled by {who}: {count:,}" for who, count in facts.settled.items()]
    if facts.people:
        lines.append(f"- people: {facts.people}")
    return "\n".join(lines)


def _certificate(facts: Facts) -> str:
    if not facts.lines:
        return f"There is none: {facts.none}. How often this model is right was not measured against people."
    said = "\n".join(f"- {line}" for line in facts.lines)
    return f"Of the pool's labels, measured against people; not of this model alone, not of other texts:\n\n{said}"


def _thresholds(facts: Facts) -> str:
    rows = "\n".join(_bar(bar, bool(facts.audited)) for bar in facts.bars)
    head = "| at least this sure | share of the pool | right, by people's audit | 95 % interval |\n|---|---|---|---|\n"
    if not facts.audited:
        return (
            f"Not measured: {facts.unmeasured}. How often the model is so sure of itself says nothing of how often it "
            f"is right. {_shares(facts)}\n\n{head}{rows}"
        )
    error = math.ceil(1000 * (facts.ece or 0.0)) / 1000
    return (
        f"Measured on {facts.audited:,} items of the pool, drawn at random, that people were asked about; one that "
        "nobody could tell, or answered, counts as wrong. Twins of the model that were not taught an item spoke of it. "
        f"Expected calibration error: {error:.3f} (ten bins). {_shares(facts)} A bar of your own: "
        f"`tutelage predict --abstain 0.9`.\n\n{head}{rows}\n\n{_certified(facts)}"
    )


def _shares(facts: Facts) -> str:
    """Whose word the shares are, and of how many items."""
    of = f"{facts.rows:,} items drawn at random from the pool"
    if facts.twins:
        return (
            f"Shares are of {of}, by what twins of the model that were not taught them say: about what new texts like "
            "the pool's get."
        )
    return (
        f"Shares are of {of}, by what the model itself says. It was taught some of them, and is surer of those than "
        "of new ones: expect less."
    )


def _certified(facts: Facts) -> str:
    sure, goal = trimmed(100 * (1 - facts.delta)), trimmed(100 * facts.goal)
    if facts.certified is None:
        return f"No bar is certified: above none of them {goal} % right was shown with {sure} % confidence."
    return (
        f"At {facts.certified.at:.2f} and above, at least {goal} % of the labels that such a twin gives to items of "
        f"this pool are right, with about {sure} % confidence: `tutelage predict --abstain certified`. This is a claim "
        "by itself, with a risk of its own beside the certificate's; about, because people's answers to some audited "
        "items may have taught the twins that spoke of others. It says nothing of other texts."
    )


def trimmed(share: float) -> str:
    """At most two decimals, rounded down."""
    return f"{math.floor(round(100 * share, 6)) / 100:g}"


def _bar(bar: Bar, measured: bool) -> str:
    share = f"{math.floor(1000 * bar.share) / 10:.1f} %"
    if not measured or not bar.audited:
        return f"| {bar.at:.2f} | {share} | – | – |"
    low, high = interval(bar.right, bar.audited)
    floor, top = math.floor(1000 * low) / 10, math.ceil(1000 * high) / 10
    return f"| {bar.at:.2f} | {share} | {bar.right:,} of {bar.audited:,} | {floor:.1f} % to {top:.1f} % |"


def interval(right: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a share (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    half = (1 - level) / 2
    low = float(beta.ppf(half, right, of - right + 1)) if right else 0.0
    return low, float(beta.ppf(1 - half, right + 1, of - right)) if right < of else 1.0


def _onnx(onnx: Mapping[str, Parity], why: str) -> str:
    if not onnx:
        return f"None: {why}."
    lines = ["| file | MB | same choice as the student | greatest difference of a probability |", "|---|---|---|---|"]
    for name, p in onnx.items():
        kept = "" if p.kept else ": too few, so the file is left out"
        share = math.floor(10_000 * p.same / max(p.rows, 1)) / 100
        furthest = math.ceil(1e6 * p.furthest) / 1e6
        size = f"{p.bytes / 1e6:.0f}"
        lines.append(
            f"| {name} | {size} | {p.same:,} of {p.rows:,} items of the pool ({share:.2f} %){kept} | {furthest:g} |"
        )
    return "\n".join(lines)


def _use(parts: Parts | None, onnx: Mapping[str, Parity]) -> str:
    lines = ["```sh", "tutelage predict --model THIS-FOLDER rows.csv", "```"]
    if parts is not None:
        lines += ["", "```python", "from sentence_transformers import SentenceTransformer", ""]
        lines += [
            'logits = SentenceTransformer("THIS-FOLDER").encode(texts)  # of the choices, in student.json\'s order'
        ]
        lines += [f'vectors = SentenceTransformer("THIS-FOLDER/{parts.place}").encode(texts)', "```"]
        if parts.encoder.prompt:
            lines += ["", f"Before each text the encoder reads {json.dumps(parts.encoder.prompt)}."]
    if PLAIN in onnx and onnx[PLAIN].kept:
        small = f" (or `{SMALL}`)" if SMALL in onnx and onnx[SMALL].kept else ""
        feed = f"takes `input_ids` and `attention_mask` from `{FOLDER}/tokenizer.json` and gives `probabilities`"
        lines += ["", f"`{FOLDER}/{PLAIN}`{small} {feed}."]
    return "\n".join(lines)


def _limits(facts: Facts) -> str:
    return (
        "- It knows the labels above and nothing else: a text that fits none of them gets one all the same.\n"
        "- What is measured holds for texts like those of its pool. For others, `tutelage serve` tells drift; nothing "
        "here speaks of them.\n"
        "- A probability is the student's own word. Where people audited it, the table above says how far it holds.\n"
        "- It repeats the mistakes its teachers made alike."
    )
