"""`jc1 usage`: what was asked with each key, by model and day.

Knows how arguments become a call and how rows are printed. The engine is not started: the database is enough.
"""

from __future__ import annotations

from typing import Annotated

import typer

from jc1.cli.options import Home, Json, open_stores, print_json, print_table

COUNTS = ("requests", "prompt_tokens", "completion_tokens", "refused")


def usage(
    key: Annotated[str | None, typer.Option(help="One key's, by its id.", show_default="all")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="The last days (UTC), today included.")] = 30,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what was asked with each key, by model and day, the newest first."""
    with open_stores(home) as stores:
        rows = stores.usage.list(days, key)
    if as_json:
        print_json([{**row, "day": str(row["day"])} for row in rows])
        return
    print_table(
        ["day", "key", "model", *(name.replace("_", " ") for name in COUNTS)],
        [[str(row["day"]), row["key"], row["model"], *(str(row[name]) for name in COUNTS)] for row in rows],
    )
