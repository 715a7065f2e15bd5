"""`tutelage status`: where the run stands, read from the ledger. Asks nobody and changes nothing."""

from __future__ import annotations

import click

from agent.cli.house import Common, common


@click.command()
@common
def status(common: Common) -> None:
    """Show where the run stands: items decided and by whom, open questions, money.

    \b
    Example:
      tutelage status
      tutelage status --json
    """
    from agent.cli.figures import opened, table
    from agent.report.standing import figures, next_steps

    config = common.config()
    with opened(config, common.flags) as store:
        found = figures(config, store)
    steps = next_steps(found, common.flags)
    claim = f"\n{found['claim']}" if found["claim"] else ""
    common.show({**found, "next": steps}, f"{table(found)}{claim}\nnext: {', then '.join(steps)}")
