"""refuel-autolabel: its classification task on a table, its cache off."""

from __future__ import annotations

import os

from eval.peers._measure import LABELS, PROMPT, measured, offline_vocabulary, texts

os.environ["OPENAI_API_KEY"] = "none"
offline_vocabulary()

import pandas  # noqa: E402
from autolabel import AutolabelDataset, LabelingAgent  # noqa: E402


def label(url: str, count: int) -> list[str]:
    """The labels of all texts."""
    os.environ["OPENAI_API_BASE"] = os.environ["OPENAI_BASE_URL"] = url
    config = {
        "task_name": "order",
        "task_type": "classification",
        "dataset": {"label_column": "label", "delimiter": ","},
        "model": {"provider": "openai", "name": "gpt-3.5-turbo"},
        "prompt": {
            "task_guidelines": PROMPT.partition("\n\nText")[0],
            "labels": list(LABELS),
            "example_template": "Text: {text}\nLabel: {label}",
        },
    }
    agent = LabelingAgent(config=config, cache=False, console_output=False)
    table = pandas.DataFrame({"text": texts(count)})
    made = agent.run(AutolabelDataset(table, config=config), skip_eval=True)
    return list(made.df["label_label"])


if __name__ == "__main__":
    measured(label)
