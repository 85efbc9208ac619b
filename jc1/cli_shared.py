"""What the commands share: options, opened stores, and how results are printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jc1.pipeline import Pipeline
    from jc1.settings import Settings

Home = Annotated[Path | None, typer.Option(help="Where JC1 keeps its state.", show_default="~/.jc1")]
Owner = Annotated[str | None, typer.Option(help="Whose memory.", show_default="local")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def settings_of(**flags: Any) -> Settings:
    """The settings with a command's flags, those that were given."""
    from jc1.settings import Settings

    return Settings.load(flags)


@contextmanager
def stores(home: Path | None) -> Iterator[Pipeline]:
    """A pipeline whose engine is not started: enough for memory, sessions and presets."""
    from asyncio import run

    from jc1.pipeline import Pipeline

    pipeline = Pipeline.from_settings(settings_of(home=home))
    try:
        yield pipeline
    finally:
        run(pipeline.close())


@contextmanager
def lab() -> Iterator[None]:
    """Where the lab's packages are used: one that is not installed is a `PackageMissing` with the next step."""
    from jc1.errors import PackageMissing

    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "jc1", "experiments"):
            raise
        raise PackageMissing(
            f"This needs {package}, which is not installed: run `make install-dev` in JC1's folder."
        ) from None


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
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
