"""`jc1 promote`: a sweep's winner becomes what is served.

Knows how arguments become a call and how the outcome is printed. When a trial may be promoted is jc1_lab.promotion's.
"""

from __future__ import annotations

from typing import Annotated

import typer

from jc1.cli.options import Home, Json, lab, open_stores, print_json


def promote(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A sweep's name, SWEEP/TRIAL, or an MLflow run id.")],
    alias: Annotated[str | None, typer.Option(help="The alias that is to mean it.", show_default="champion")] = None,
    name: Annotated[str | None, typer.Option(help="The preset's name.", show_default="the sweep's")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where it was not shown to be better.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a sweep's winner the champion: served by that name at once, if it was shown to be better."""
    with open_stores(home) as stores, lab():
        from jc1.presets import CHAMPION
        from jc1_lab import promotion, runs

        alias = CHAMPION if alias is None else alias
        result, trial = runs.find_trial(run, stores.settings)
        done = promotion.promote(result, trial, stores.presets, name=name, alias=alias, force=force)
    if as_json:
        print_json(done.to_dict())
    else:
        print("\n".join(done.lines()))
