"""What an encoder wants to read before each text. Knows the files of a sentence encoder, no text."""

from __future__ import annotations

import json
import re
from pathlib import Path

SETTINGS = "config_sentence_transformers.json"


def prompt_of(folder: Path, name: str, wanted: str = "auto") -> str:
    """The words put before each text.

    Args:
        wanted: "auto": the encoder's own default prompt, else its prompt for classification, else "query: " for an E5
            (Wang et al. 2022 train and use it with that), else none. "none": no prompt. The name of one of its
            prompts: that one. Anything else: these very words, a space at their end where one is wanted.
    """
    if wanted == "none":
        return ""
    try:
        told = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    own = {str(key): str(text) for key, text in (told.get("prompts") or {}).items()}
    if wanted != "auto":
        return own.get(wanted, wanted)
    default = told.get("default_prompt_name")
    if default in own:
        return own[default]
    for key, text in own.items():
        if key.lower() == "classification":
            return text
    of_e5 = re.compile(r"(^|[/_-])(multilingual-)?e5[-_]", re.IGNORECASE)
    return "query: " if of_e5.search(name) or of_e5.search(_base(folder)) else ""


def _base(folder: Path) -> str:
    """The name under which an encoder was published, as its configuration tells; "" where it does not."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_name_or_path", ""))
    except (OSError, ValueError, AttributeError):
        return ""
