"""A certificate as a file. Knows nothing of what it says."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(body: Mapping[str, Any], path: Path) -> None:
    """As JSON, whole or not at all."""
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps({"tutelage": 1, **body}, indent=2, sort_keys=True) + "\n")
    draft.replace(path)
