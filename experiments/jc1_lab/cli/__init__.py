"""The lab's commands. They join `jc1` by the entry point `jc1.commands`, as those of any other package do."""

from __future__ import annotations

import typer


def join(app: typer.Typer) -> None:
    """Add `sweep`, `promote` and `runs` to the command line."""
    from jc1_lab.cli import runs
    from jc1_lab.cli.promote import promote
    from jc1_lab.cli.sweep import sweep

    app.command()(sweep)
    app.command()(promote)
    app.add_typer(runs.app, name="runs")
