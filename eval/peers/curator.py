"""bespokelabs-curator: an LLM subclass with prompt and parse, its rate limits raised out of the way, its cache off."""

from __future__ import annotations

import os
import tempfile

from eval.peers._measure import IN_FLIGHT, PROMPT, measured, offline_vocabulary, texts

os.environ["CURATOR_DISABLE_CACHE"] = "1"
os.environ["TELEMETRY_ENABLED"] = "0"
os.environ["OPENAI_API_KEY"] = "none"
offline_vocabulary()
from bespokelabs import curator  # noqa: E402


class Labeler(curator.LLM):
    """One question a text."""

    def prompt(self, row: dict[str, str]) -> str:
        """The question."""
        return PROMPT + row["text"]

    def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
        """The label as it was said."""
        return {"text": row["text"], "label": response}


def label(url: str, count: int) -> list[str]:
    """The labels of all texts."""
    limits = {"max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**9, "max_concurrent_requests": IN_FLIGHT}
    model = Labeler(
        model_name="openai/name", backend="openai", backend_params={"base_url": url, "api_key": "none", **limits}
    )
    with tempfile.TemporaryDirectory() as folder:
        made = model([{"text": text} for text in texts(count)], working_dir=folder)
        return list(getattr(made, "dataset", made)["label"])


if __name__ == "__main__":
    measured(label)
