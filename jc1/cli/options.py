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

Model = Annotated[str | None, typer.Option(help="A bundled name, a folder or a hub id.", show_default="jc1-tiny")]
ENGINE = "Engine"
"""The heading under which `--help` lists what is fixed when an engine starts."""
Engine = Annotated[
    str | None,
    typer.Option(help="auto, transformers, vllm, deepspeed, openai or echo.", show_default="auto"),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="auto, float32, bfloat16 or float16.", show_default="auto", rich_help_panel=ENGINE),
]
Speculation = Annotated[
    str | None,
    typer.Option(help="off, ngram:4 or draft:MODEL:3.", show_default="off", rich_help_panel=ENGINE),
]
TensorParallel = Annotated[
    int | None, typer.Option(help="Devices that share each layer (vllm).", show_default="1", rich_help_panel=ENGINE)
]
PipelineParallel = Annotated[
    int | None,
    typer.Option(help="Devices that take the layers in turn (vllm).", show_default="1", rich_help_panel=ENGINE),
]
Ranks = Annotated[
    int | None,
    typer.Option(help="Processes that share the weights (deepspeed).", show_default="1", rich_help_panel=ENGINE),
]
CpuOffload = Annotated[
    bool | None, typer.Option("--cpu-offload", help="Keep weights in main memory (deepspeed).", rich_help_panel=ENGINE)
]
MaxModelLen = Annotated[
    int | None, typer.Option(help="Longest prompt and reply, in tokens (vllm).", rich_help_panel=ENGINE)
]
KvCache = Annotated[float | None, typer.Option(help="Size of the KV cache in GiB (vllm).", rich_help_panel=ENGINE)]
LoadFormat = Annotated[
    str | None, typer.Option(help="dummy makes weights up, for speed runs (vllm).", rich_help_panel=ENGINE)
]
BaseUrl = Annotated[
    str | None, typer.Option(help="An OpenAI-compatible server, up to /v1 (openai).", rich_help_panel=ENGINE)
]

LAB = ("mlflow", "optuna", "plotly", "scipy", "simpleeval", "tqdm", "yaml")
"""Packages of the lab that a plain installation does not have."""


def settings_of(**flags: Any) -> Settings:
    """The settings with a command's flags, those that were given."""
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
def stores(home: Path | None) -> Iterator[Pipeline]:
    """A pipeline whose engine is not started: enough for memory, sessions and presets."""
    from asyncio import run

    from jc1.pipeline import Pipeline

    pipeline = Pipeline.from_settings(settings_of(home=home))
    try:
        yield pipeline
    finally:
        run(pipeline.close())


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
