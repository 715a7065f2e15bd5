"""Recorded answers of language models on texts with gold. Knows files, nothing of students.

Each set has items with text and gold, and one condition (model, prompt) whose first answer an item is the teacher's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from agent.types import Ints
from eval._sets import data_folder

TEACHERS = {
    "banking77": ("gpt-4", "fewshot_ocats"),
    "banking77 (3.5)": ("gpt-3.5-turbo", "fewshot_rep"),
    "llm_fpb": ("gpt-4", "zeroshot"),
    "llm_fpb (3.5)": ("gpt-3.5-turbo", "zeroshot"),
    "llm_babe": ("gpt_4", "2-shot-cot"),
    "llm_babe (3.5)": ("gpt_3_5", "8-shot-cot"),
    "llm_alt_cebab_aspects": ("gpt-4o", "default"),
    "llm_pac_stance": ("gpt-4o", "pac"),
    "llm_css_emotion": ("chatgpt", "zeroshot"),
    "llm_css_stance_trump": ("chatgpt", "zeroshot"),
    "llm_css_politeness": ("chatgpt", "zeroshot"),
    "llm_css_figurative": ("chatgpt", "zeroshot"),
}
"""Row of the table -> (model, prompt); what stands in brackets is no part of the set's name."""


@dataclass(frozen=True)
class Taught:
    """Items that a teacher answered. gold, said: (n,) numbers of labels; −1: no valid label."""

    texts: list[str]
    labels: dict[str, str]
    gold: Ints
    said: Ints

    @property
    def teacher(self) -> float:
        """The teacher's accuracy; an answer without a valid label is wrong."""
        return float((self.gold == self.said).mean())


def load(row: str) -> Taught:
    """The items of a row of `TEACHERS`, in the order of their ids.

    Raises:
        FileNotFoundError: the set does not lie in the data folder.
    """
    import pyarrow.parquet as pq

    folder = data_folder() / row.partition(" ")[0]
    path = next((folder / name for name in ("items.parquet", "data.parquet") if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{folder} holds no items: set TUTELAGE_DATA to the folder of data sets")
    items = {r["id"]: r for r in pq.read_table(path, columns=["id", "text", "label"]).to_pylist()}
    model, prompt = TEACHERS[row]
    said: dict[int, str | None] = {}
    for vote in pq.read_table(folder / "votes.parquet", columns=["id", "model", "prompt", "label"]).to_pylist():
        if (vote["model"], vote["prompt"]) == (model, prompt) and vote["id"] in items:
            said.setdefault(vote["id"], vote["label"])
    told = json.loads((folder / "labels.json").read_text("utf-8"))["labels"]
    found = {str(one["name"]): str(one.get("description") or "") for one in told}
    names = sorted({items[i]["label"] for i in said})
    place = {name: number for number, name in enumerate(names)}
    ids = sorted(said)
    return Taught(
        [items[i]["text"] for i in ids],
        {name: found.get(name, "") for name in names},
        np.array([place[items[i]["label"]] for i in ids], dtype=np.int64),
        np.array([place.get(said[i] or "", -1) for i in ids], dtype=np.int64),
    )
