"""Rows in and out: CSV, JSONL, JSON, Parquet, text, Hugging Face datasets. Knows nothing of ledger or task.

Reading never crashes on a row: what cannot become an item comes out as a `SetAside` with file, row and reason.
"""

from agent.data.clean import REPEATED, Entry, Row
from agent.data.live import live
from agent.data.read import read
from agent.data.source import FORMATS, Source, fingerprint, short
from agent.data.whole import Wanted, Whole, beside, sha256_of_file, whole
from agent.data.write import excel_plain, excel_safe, write, write_rows

__all__ = [
    "FORMATS",
    "REPEATED",
    "Entry",
    "Row",
    "Source",
    "Wanted",
    "Whole",
    "beside",
    "excel_plain",
    "excel_safe",
    "fingerprint",
    "live",
    "read",
    "sha256_of_file",
    "short",
    "whole",
    "write",
    "write_rows",
]
