"""The closing table of the demos: what was delivered, by whom, and how it compares with the gold column.

Reads what the product wrote (`labels.parquet` and the ledger) and the pool's gold. Runs nothing.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from agent import config as settings
from agent.oracles import person
from agent.pool import Pool
from agent.report import down, up
from agent.store import Store


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
    labels = pq.read_table(folder / "labels.parquet").to_pylist()
    pool = pq.read_table(folder / "pool.parquet", columns=["id", "gold"]).to_pydict()
    return {
        "folder": str(folder),
        "items": len(pool["id"]),
        "statuses": dict(Counter(str(row["status"]) for row in labels)),
        "by": dict(Counter(str(row["by"]) for row in labels)),
        "gold": against_gold(labels, dict(zip(pool["id"], pool["gold"], strict=True))),
        "promise": promise(folder, labels),
        **ledger(folder),
    }


def promise(folder: Path, labels: list[dict[str, Any]]) -> dict[str, float]:
    """What the certificate speaks of, counted in full: delivered labels that the person asked about each item gave.

    Only recorded people make this possible: the answer each item would get is on file, asked or not. "Cannot tell"
    counts as wrong, as it does in the certificate.
    """
    config = settings.load(folder / "tutelage.toml")
    people = config.person.settings.people if config.person else "gold"
    where = people if people == "gold" else str(config.root / people)
    answer = person.recorded(where, settings.the_task(config), config.run.seed)
    pool = Pool(config.folder / "pool")
    said = {item.name: answer(item, 0) for item in pool.items(range(len(pool)))}
    right = sum(not said[row["id"]].unsure and said[row["id"]].text == row["label"] for row in labels)
    return share(right, len(labels))


def ledger(folder: Path) -> dict[str, Any]:
    """What the ledger says: people's answers, what was asked of the machines, agreement, the last certificate."""
    config = settings.load(folder / "tutelage.toml")
    with Store.open(config.store_url) as store:
        told = [(call, answer) for _, call, answer in store.answers_since(0) if call.annotator == "person"]
        outcomes, spend, certificates = store.outcomes(), store.spend(), store.certificates()
    seconds = config.person.settings.seconds if config.person else 0.0
    asked = {
        name: {"answers": u.answers, "errors": u.errors, "usd": u.usd, "tokens_in": u.tokens_in,
               "tokens_cached": u.tokens_cached, "tokens_out": u.tokens_out}
        for name, u in spend.by.items() if name != "person"
    }  # fmt: skip
    last = next((o for o in reversed(outcomes) if "agreement" in o), {})
    closing = next((o for o in reversed(outcomes) if "gold" in o), {})
    return {
        "people": dict(Counter(call.purpose for call, _ in told)),
        "unsure": sum(answer.unsure for _, answer in told),
        "minutes": len(told) * seconds / 60,
        "asked": asked,
        "agreement": {name: share(*pair) for name, pair in last.get("agreement", {}).items()},
        "weights": last.get("weights", {}),
        "alone": {name: share(*pair) for name, pair in closing.get("gold", {}).items()},
        "stopped": closing.get("stop", ""),
        "turns": last.get("turn", 0),
        "certificate": certificates[-1]["body"] if certificates else None,
    }


def percent(entry: dict[str, float]) -> str:
    """A share as a person reads it."""
    if not entry["of"]:
        return "nothing to compare"
    return f"{down(entry['rate'])} % of {entry['of']:,} (95 %: {down(entry['low'])} to {up(entry['high'])} %)"


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The table's rows: what, and how much."""
    rows = [("items", f"{found['items']:,}")]
    rows += [(f"  {status}", f"{n:,}") for status, n in sorted(found["statuses"].items())]
    rows += [(f"  label settled by {rung}", f"{n:,}") for rung, n in sorted(found["by"].items())]
    words = ", ".join(f"{n} {stream}" for stream, n in sorted(found["people"].items())) or "none"
    total = sum(found["people"].values())
    rows.append(("people's answers", f"{total:,} ({words}); {found['unsure']} could not tell"))
    rows.append(("people's minutes", f"{found['minutes']:.0f}, assumed: nobody sat at a screen"))
    for name, used in found["asked"].items():
        asked = f"{used['answers']:,} answers, {used['errors']} errors, ${used['usd']:.2f}"
        tokens = f"{used['tokens_in']:,} tokens in ({used['tokens_cached']:,} cached), {used['tokens_out']:,} out"
        rows.append((f"asked {name}", f"{asked}; {tokens}"))
    rows += [(f"{name} agrees with people, pilot", percent(entry)) for name, entry in found["agreement"].items()]
    for level, weights in found["weights"].items():
        if level not in ("student", "machines"):
            said = ", ".join(f"{source} {weight:.2f}" for source, weight in weights.items())
            rows.append((f"weights once {level} is heard", f"{said} (fitted on the pilot; 0 is not believed at all)"))
    for name, entry in found["alone"].items():
        chosen = name in found["asked"] and found["asked"][name]["answers"] < 0.9 * found["items"]
        rows.append((f"{name} alone against gold", percent(entry) + (", on items chosen for it" if chosen else "")))
    rows += [(f"{name} against gold", percent(entry)) for name, entry in found["gold"].items()]
    return rows + claim(found)


def claim(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The certificate's claim, and beside it the truth: in its own terms, and as gold has it."""
    certificate = found["certificate"]
    if not certificate:
        return [("certificate", "none")]
    truth = found["gold"]["all delivered labels"]["rate"]
    met = "met" if certificate["met"] else "not met"
    right = Fraction(certificate["items"] - certificate["wrong_at_most"], certificate["items"])
    words = (
        f"at least {down(right)} % agree with people, with probability "
        f"{1 - certificate['delta']:.0%} (goal {certificate['target']:.0%}: {met}); "
        f"{certificate['wrong']} of {certificate['audited']} audited differed"
    )
    kept = f"{down(found['promise']['rate'])} % are what the person asked about each item says"
    return [
        ("the certificate claims", words),
        ("the truth of that claim", kept),
        ("beside it, agreement with gold", f"{down(truth)} %"),
    ]


def show(found: dict[str, Any]) -> None:
    """Print the table and where the results lie."""
    rows = lines(found)
    width = max(len(what) for what, _ in rows)
    print(f"\nPeople: {found['people_are']}.\n")
    for what, much in rows:
        print(f"{what:<{width}}  {much}")
    folder = Path(found["folder"])
    print(f"\n{found['turns']} turns; stopped: {found['stopped']}; {found['seconds']:,} s in all")
    for name in ("labels.parquet", "model", "tutelage-run/report.html", "tutelage-run/certificate.json"):
        if (folder / name).exists():
            print(folder / name)
