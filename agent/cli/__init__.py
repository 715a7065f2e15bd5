"""The verbs of the command line, and the one place where errors become exit codes. Each verb is a file beside this."""

from __future__ import annotations

import click

from agent.cli.certify import certify
from agent.cli.doctor import doctor
from agent.cli.eval import evaluate
from agent.cli.export import export
from agent.cli.guidelines import guidelines
from agent.cli.house import House
from agent.cli.init import init
from agent.cli.labels import labels
from agent.cli.people import people
from agent.cli.plan import plan
from agent.cli.plugins import plugins
from agent.cli.predict import predict
from agent.cli.review import review
from agent.cli.route import route
from agent.cli.run import run
from agent.cli.serve import serve
from agent.cli.status import status
from agent.cli.suspects import suspects

__all__ = ["main"]


@click.group(
    cls=House,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 our fault, 2 bad input or configuration, 3 budget spent or paused, "
    "4 waiting for people or for a batch, 5 target not certified, 130 interrupted.",
)
@click.version_option(None, "-V", "--version", package_name="tutelage", prog_name="tutelage")
def main() -> None:
    """Label a pool of texts with a student, an LLM and people; take away labels, a small model and a certificate.

    \b
    Example:
      tutelage init tickets.csv     write tutelage.toml beside the pool
      tutelage doctor               check that everything is there
      tutelage run                  label; run again to go on
      tutelage review               answer the questions people must answer
      tutelage export labels labels.csv
    """


LABELING = (init, doctor, plan, run, review, people, guidelines, labels, status, route, suspects, certify)
for verb in (*LABELING, export, predict, serve, evaluate, plugins):
    main.add_command(verb)
