"""Argilla: its client reads settings and records, responses are added to them, and its own writer exports.

Reads `tasks.json`, `tasks.settings.json` and `said.json` (key -> labels, null to discard) in each folder named on the
command line; writes `flat.json` (`to_list(flatten=True)`) there, and prints for each the version and how many records
it read. No server is asked: it wants Elasticsearch.
"""

from __future__ import annotations

import json
import sys
import uuid
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

WHO = uuid.UUID(int=7)


def main() -> None:
    """A dataset a folder."""
    from argilla.client import Argilla

    # Settings ask for a client when they are made; nothing here goes over a wire.
    nobody = SimpleNamespace(
        api=SimpleNamespace(questions=None, fields=None, metadata=None, vectors=None, datasets=None)
    )
    Argilla._get_default = classmethod(lambda cls: nobody)
    print(json.dumps([trip(Path(name)) for name in sys.argv[1:]]))


def trip(folder: Path) -> dict[str, Any]:
    """Read, answer, write."""
    import argilla
    from argilla.records._io import GenericIO, JsonIO

    settings = argilla.Settings.from_json(folder / "tasks.settings.json")
    settings.validate()
    [question] = settings.questions
    many = isinstance(question, argilla.MultiLabelQuestion)
    records = JsonIO._records_from_json(folder / "tasks.json")
    said = json.loads((folder / "said.json").read_text("utf-8"))
    for record in records:
        labels = said[record.id]
        assert set(labels or []) <= set(question.labels)
        if labels is None:
            record.responses.add(argilla.Response(question.name, None, WHO, "discarded"))
        else:
            record.responses.add(argilla.Response(question.name, labels if many else labels[0], WHO, "submitted"))
    (folder / "flat.json").write_text(json.dumps(GenericIO.to_list(records, flatten=True)), "utf-8")
    return {"version": version("argilla"), "valid": len(records)}


if __name__ == "__main__":
    main()
