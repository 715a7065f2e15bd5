"""The closing table of the demos: what was delivered, by whom, and how it compares with the gold column.

Reads what the product wrote (`labels.parquet`, `tutelage status --json`) and the pool's gold, which no rung saw.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def interval(right: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval for a share (Clopper & Pearson 1934); (0, 1) when there is nothing to count."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, right, of - right + 1)) if right else 0.0
    high = float(beta.ppf(1 - tail, right + 1, of - right)) if right < of else 1.0
    return low, high


def share(right: int, of: int) -> dict[str, float]:
    """A share with its interval, ready for JSON."""
    low, high = interval(right, of)
    return {"right": right, "of": of, "rate": right / of if of else 0.0, "low": low, "high": high}


def against_gold(labels: list[dict[str, Any]], gold: dict[str, str | None]) -> dict[str, dict[str, float]]:
    """Delivered labels against gold: all, then by the rung that settled them. Items without gold do not count."""
    known = [(row, gold[row["id"]]) for row in labels if gold.get(row["id"]) is not None]
    groups = {"all delivered labels": known}
    for rung in sorted({str(row["by"]) for row, _ in known}):
        groups[f"of these, settled by {rung}"] = [(row, g) for row, g in known if str(row["by"]) == rung]
    return {name: share(sum(row["label"] == g for row, g in rows), len(rows)) for name, rows in groups.items()}


def measure(folder: Path) -> dict[str, Any]:
    """All figures of a finished demo, as plain data."""
    done = subprocess.run(
        [sys.executable, "-m", "agent", "status", "--json"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3, 4, 5):
        sys.exit(f"tutelage status ended with exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    labels = pq.read_table(folder / "labels.parquet").to_pylist()
    pool = pq.read_table(folder / "pool.parquet", columns=["id", "gold"]).to_pydict()
    return {
        "folder": str(folder),
        "items": len(pool["id"]),
        "statuses": dict(Counter(str(row["status"]) for row in labels)),
        "by": dict(Counter(str(row["by"]) for row in labels)),
        "gold": against_gold(labels, dict(zip(pool["id"], pool["gold"], strict=True))),
        "figures": json.loads(done.stdout),
    }


def percent(entry: dict[str, float]) -> str:
    """A share as a person reads it."""
    if not entry["of"]:
        return "nothing to compare"
    return f"{entry['rate']:.1%} of {entry['of']:,} (95 %: {entry['low']:.1%} to {entry['high']:.1%})"


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The table's rows: what, and how much."""
    figures = found["figures"]
    people = figures.get("people") or {}
    rows = [("items", f"{found['items']:,}")]
    rows += [(f"  {status}", f"{n:,}") for status, n in sorted(found["statuses"].items())]
    rows += [(f"  label settled by {rung}", f"{n:,}") for rung, n in sorted(found["by"].items())]
    streams = {k: people.get(k, 0) for k in ("pilot", "audit", "escalation")}
    words = ", ".join(f"{n} {stream}" for stream, n in streams.items())
    rows.append(("people's answers", f"{sum(streams.values()):,} ({words}); {people.get('unsure', 0)} could not tell"))
    rows.append(("people's minutes", f"{people.get('minutes', 0):.0f}, assumed: nobody sat at a screen"))
    for spent in figures.get("spent") or []:
        asked = f"{spent['answers']:,} answers, {spent['errors']} errors"
        tokens = f"{spent['tokens_in']:,} tokens in ({spent['tokens_cached']:,} cached), {spent['tokens_out']:,} out"
        rows.append((f"asked {spent['annotator']}", f"{asked}; {tokens}; ${spent['usd']:.2f}"))
    for agreement in figures.get("agreement") or []:
        entry = share(agreement["share"]["right"], agreement["share"]["of"])
        rows.append((f"{agreement['annotator']} agrees with people, pilot", percent(entry)))
    for check in figures.get("gold") or []:
        rows.append((f"{check['what']} against gold", percent(share(check["share"]["right"], check["share"]["of"]))))
    rows += [(f"{name} against gold", percent(entry)) for name, entry in found["gold"].items()]
    return rows + claim(found)


def claim(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The certificate's claim, and beside it the truth as gold has it."""
    certificate = found["figures"].get("certificate")
    if not certificate:
        return [("certificate", found["figures"].get("no_certificate") or "none")]
    truth = found["gold"]["all delivered labels"]["rate"]
    met = "met" if certificate["met"] else "not met"
    words = (
        f"at least {certificate['accuracy_at_least']:.1%} agree with people, with probability "
        f"{1 - certificate['delta']:.0%} (goal {certificate['target']:.0%}: {met}); "
        f"{certificate['wrong']} of {certificate['audited']} audited differed"
    )
    return [("the certificate claims", words), ("the truth, by gold", f"{truth:.1%}")]


def show(found: dict[str, Any]) -> None:
    """Print the table and where the results lie."""
    rows = lines(found)
    width = max(len(what) for what, _ in rows)
    print(f"\nPeople: {found['people_are']}.\n")
    for what, much in rows:
        print(f"{what:<{width}}  {much}")
    folder = Path(found["folder"])
    print(f"\ntook {found['seconds']:,} s")
    for name in ("labels.parquet", "model", "tutelage-run/report.html", "tutelage-run/certificate.json"):
        if (folder / name).exists():
            print(folder / name)
