"""Options, opened stores and printed results, as all commands have them.

Knows Typer, and makes the flags of an engine from its settings. Knows no command.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jc1 import interrupts
from jc1.engines.registry import AUTO, BUILT_IN, described
from jc1.engines.settings import FLAGS, default_of

if TYPE_CHECKING:
    from jc1.settings import Settings
    from jc1.workbench import Stores

Home = Annotated[Path | None, typer.Option(help="Where JC1 keeps its state.", show_default="~/.jc1")]
Owner = Annotated[str | None, typer.Option(help="Whose memory.", show_default="local")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

ENGINE = "Engine"
"""The heading under which `--help` lists what is fixed when an engine starts."""
Flags = dict[str, Any]
"""Settings by name, `None` where their flag was not given: what a command under `with_engine` is handed."""


def with_engine(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--home`, `--engine` and a flag for every setting of an engine; Ctrl-C ends it at once.

    The command declares one parameter `flags: Flags` in their place, for `settings_of`. What must not be ended at once
    it does under `interrupts.as_usual`.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "flags"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _engine_flags().items()
    ]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        flags = {parameter.name: arguments.pop(parameter.name) for parameter in shared}
        with interrupts.at_once():
            command(flags=flags, **arguments)

    run.__signature__ = signature.replace(parameters=[*parameters, *shared])  # type: ignore[attr-defined]
    return run


def _engine_flags() -> dict[str, Any]:
    """Return the type of each of these flags, with what Typer is to make of it."""
    choices = ", ".join((AUTO, *(row.name for row in BUILT_IN)))
    engine = typer.Option(help=f"{choices}, or that of another package.", show_default=AUTO, rich_help_panel=ENGINE)
    return {
        "home": Home,
        "engine": Annotated[str | None, engine],
        **{name: Annotated[type(default_of(name)) | None, _option(name)] for name in FLAGS},
    }


def _option(name: str) -> Any:
    default = default_of(name)
    shown = str(default) if default not in ("", False) and not isinstance(default, bool) else False
    return typer.Option(help=described(name), show_default=shown, rich_help_panel=ENGINE)


LAB = ("mlflow", "optuna", "plotly", "scipy", "simpleeval", "tqdm", "yaml")
"""Packages of the lab that a plain installation does not have."""


def settings_of(**flags: Any) -> Settings:
    """Return the settings with a command's flags over them; a flag that is None was not given."""
    from jc1.settings import Settings

    return Settings.load(flags)


@contextmanager
def lab() -> Iterator[None]:
    """Import what the lab needs in the body. Raises `PackageMissing` where it is not installed."""
    from jc1.errors import PackageMissing

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in LAB:
            raise
        raise PackageMissing(
            f"The lab needs {error.name}, which is not installed: run `make install-dev`, or pip install 'jc1[lab]'."
        ) from None


@contextmanager
def open_stores(home: Path | None) -> Iterator[Stores]:
    """Open what a command needs that asks no engine: memory, sessions and presets."""
    from asyncio import run

    from jc1.workbench import Workbench

    stores = Workbench.stores(settings_of(home=home))
    try:
        yield stores
    finally:
        run(stores.close())


def print_json(value: Any) -> None:
    """Print a value for scripts; times in ISO 8601."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=datetime.isoformat))


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print rows under their columns' names."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("id", "key"))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
