"""`tutelage export`: labels, the small model and the report leave the run folder. Changes nothing in the ledger."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.house import Common, common, many
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.release import Released


@click.group()
def export() -> None:
    """Take away what a run made: labels, the student's model, the report.

    \b
    Example:
      tutelage export labels labels.csv
      tutelage export model my-model
      tutelage export report
    """


@export.command()
@click.argument("path")
@click.option(
    "--format", "form", default="auto", show_default=True, help="csv, tsv, jsonl, json, parquet, datasets (a folder)."
)
@click.option("--excel-safe/--no-excel-safe", default=True, show_default=True,
              help="Make texts in CSV safe to open in a spreadsheet.")  # fmt: skip
@common
def labels(common: Common, path: str, form: str, excel_safe: bool) -> None:
    """Write every item's label to PATH (.csv, .jsonl, .parquet, ...; - is stdout as JSON lines).

    A PATH without an ending becomes a folder of Hugging Face datasets. With -, the lines of JSON are the whole output,
    with --json or without.

    One row an item: its label, how sure, by whom, and whether it is accepted, unsure or still waiting.

    \b
    Example:
      tutelage export labels labels.parquet
      tutelage export labels labels-as-datasets
      tutelage export labels - | head
    """
    from agent import data
    from agent import export as exports
    from agent.cli.figures import opened
    from agent.report.standing import pool_of

    config = common.config()
    with opened(config, common.flags) as store:
        columns = exports.labels(config, store, pool_of(config, store))
    rows = data.write(columns, path, form, excel_safe)
    if path == "-":
        return
    common.show({"wrote": path, "rows": rows, "columns": list(columns)}, f"{many(rows, 'row')} in {path}")


@export.command()
@click.argument("folder")
@click.option("--force", is_flag=True, help="Replace a model that is there.")
@click.option("--onnx/--no-onnx", default=None, help="Write ONNX files; by itself where the packages are installed.")
@common
def model(common: Common, folder: str, force: bool, onnx: bool | None) -> None:
    """Write the student's model to FOLDER, for use anywhere.

    For `tutelage predict --model FOLDER`, sentence-transformers and transformers (with its encoder), ONNX Runtime
    (float32 and 8 bits, compared with the student on rows of the pool); README.md is its card.

    \b
    Example:
      tutelage export model my-model
      tutelage export model my-model --no-onnx
    """
    from agent import release, teach
    from agent.cli.figures import opened
    from agent.report.standing import pool_of

    config = common.config()
    source = config.folder / "model"
    if not source.is_dir():
        raise UserError(
            f"{source} is not there: a student is saved when it has learned; run  tutelage run{common.flags}"
        )
    target = Path(folder)
    if _within(source, target) or _within(target, source):
        raise UserError(f"{folder} belongs to the run itself: name another folder")
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        if not force:
            raise UserError(f"{folder} is there already: name another folder, or replace it with --force")
        if not (target / "student.json").is_file():
            raise UserError(f"{folder} is there and is no model of ours: name another folder")
    part, old = (target.with_name(f".{target.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    try:
        shutil.copytree(source, part)
        with opened(config, common.flags) as store:
            made = release.add(part, config, store, pool_of(config, store), onnx)
        if target.exists():
            os.replace(target, old)
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not target.exists():
            os.replace(old, target)
        shutil.rmtree(old, ignore_errors=True)
    strangers = teach.kept_out(target)
    if strangers:
        common.say(f"it learned nothing from {', '.join(strangers)} (may_train_student = false)")
    told = {
        "wrote": folder, "kept_out": strangers, "onnx": {name: asdict(parity) for name, parity in made.onnx.items()},
        "why_no_onnx": made.why_no_onnx,
    }  # fmt: skip
    use = f"use it with  tutelage predict --model {shlex.quote(folder)} FILE"
    common.show(told, "\n".join([f"the model is in {folder}; {use}", *_onnx(made)]))


def _within(one: Path, other: Path) -> bool:
    """Whether a folder is another, or lies in it."""
    return one.resolve().is_relative_to(other.resolve())


def _onnx(made: Released) -> list[str]:
    """A line for each ONNX file, or why there is none."""
    if not made.onnx:
        return [f"no ONNX file: {made.why_no_onnx}"]
    return [
        f"{name}: chooses as the student on {p.same:,} of {p.rows:,} items of the pool"
        + ("" if p.kept else "; too few, so it was left out")
        for name, p in made.onnx.items()
    ]


@export.command()
@common
def report(common: Common) -> None:
    """Write report.html and report.md into the run folder.

    \b
    Example:
      tutelage export report
    """
    from agent import report as reports
    from agent.cli.figures import opened
    from agent.report.gather import gather
    from agent.report.standing import pool_of

    config = common.config()
    with opened(config, common.flags) as store:
        paths = reports.write(gather(config, store, pool_of(config, store)), config.folder)
    common.show({"wrote": [str(p) for p in paths]}, "\n".join(map(str, paths)))
