"""docetl: one map operation in a pipeline on a JSON file, its cache passed by."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from eval.peers._measure import IN_FLIGHT, PROMPT, measured, offline_vocabulary, texts

os.environ["OPENAI_API_KEY"] = "none"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
offline_vocabulary()

from docetl.api import Dataset, MapOp, Pipeline, PipelineOutput, PipelineStep  # noqa: E402


def label(url: str, count: int) -> list[str]:
    """The labels of all texts."""
    os.environ["OPENAI_API_BASE"] = os.environ["OPENAI_BASE_URL"] = url
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DOCETL_HOME_DIR"] = folder
        source, target = Path(folder) / "texts.json", Path(folder) / "labels.json"
        source.write_text(json.dumps([{"text": text} for text in texts(count)]))
        question = MapOp(
            name="label",
            type="map",
            prompt=PROMPT + "{{ input.text }}",
            output={"schema": {"label": "string"}},
            model="openai/tool",
            bypass_cache=True,
            litellm_completion_kwargs={"api_base": url},
        )
        pipeline = Pipeline(
            name="labels",
            datasets={"texts": Dataset(type="file", path=str(source))},
            operations=[question],
            steps=[PipelineStep(name="only", input="texts", operations=["label"])],
            output=PipelineOutput(type="file", path=str(target)),
            default_model="openai/tool",
        )
        pipeline.run(max_threads=IN_FLIGHT)
        return [row["label"] for row in json.loads(target.read_text())]


if __name__ == "__main__":
    measured(label)
