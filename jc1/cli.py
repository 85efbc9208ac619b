"""The command line: thin commands over the pipeline.

Knows how arguments become calls and how results are printed. Knows nothing about how anything works.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jc1.memory.base import Receipt, Record
    from jc1.pipeline import Pipeline
    from jc1.settings import Settings

app = typer.Typer(
    name="jc1",
    help="JC1: chat with memory, served and tuned through one pipeline.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
memory_app = typer.Typer(help="See and change what is remembered.", no_args_is_help=True)
app.add_typer(memory_app, name="memory")

Home = Annotated[Path | None, typer.Option(help="Where JC1 keeps its state.", show_default="~/.jc1")]
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
Owner = Annotated[str | None, typer.Option(help="Whose memory.", show_default="local")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def main() -> None:
    """The `jc1` command: errors of JC1 become one line with their code, and exit status 1."""
    from jc1.errors import Jc1Error

    try:
        app()
    except Jc1Error as error:
        print(f"jc1: {error.message} [{error.code}]", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


@app.command()
def serve(
    home: Home = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="8000")
    ] = None,
    model: Model = None,
    engine: Engine = None,
    dtype: Dtype = None,
    speculation: Speculation = None,
    tensor_parallel: TensorParallel = None,
    pipeline_parallel: PipelineParallel = None,
    max_model_len: MaxModelLen = None,
    kv_cache_gib: KvCache = None,
    load_format: LoadFormat = None,
    ranks: Ranks = None,
    cpu_offload: CpuOffload = None,
    base_url: BaseUrl = None,
) -> None:
    """Start API and UI in one process, until Ctrl-C."""
    flags = locals().copy()
    from api.main import serve as run

    run(_settings(**flags))


@app.command()
def chat(
    text: Annotated[str, typer.Argument(help="What to say; '-' reads it from standard input.")],
    session: Annotated[str | None, typer.Option(help="Conversation to continue; new names begin one.")] = None,
    owner: Owner = None,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Neither recall nor remember.")] = False,
    preset: Annotated[str | None, typer.Option(help="Preset or alias to use.", show_default="default")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of the reply.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    home: Home = None,
    model: Model = None,
    engine: Engine = None,
    dtype: Dtype = None,
    speculation: Speculation = None,
    tensor_parallel: TensorParallel = None,
    ranks: Ranks = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Say something and print the reply as it comes."""
    from jc1.reply import Done, Token
    from jc1.sync import SyncPipeline

    fields = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    settings = _settings(
        home=home,
        model=model,
        engine=engine,
        dtype=dtype,
        speculation=speculation,
        tensor_parallel=tensor_parallel,
        ranks=ranks,
        base_url=base_url,
    )
    with SyncPipeline(settings) as pipeline:
        events = pipeline.stream(
            sys.stdin.read() if text == "-" else text,
            owner=owner,
            session=session,
            memory="off" if no_memory else "on",
            preset=preset,
            **{name: value for name, value in fields.items() if value is not None},
        )
        for event in events:
            if isinstance(event, Token) and not as_json:
                print(event.text, end="", flush=True)
            elif isinstance(event, Done):
                trace = event.reply.trace
                if as_json:
                    _print_json({"text": event.reply.text, "trace": trace.to_dict()})
                else:
                    print()
                if trace.remembered is False:
                    print(f"jc1: this turn was not remembered [{trace.remember_error}]", file=sys.stderr)


@memory_app.command("list")
def memory_list(
    owner: Owner = None,
    limit: Annotated[int, typer.Option(help="Most records to show.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before this one ended.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what is remembered, newest first."""
    with _stores(home) as pipeline:
        page = pipeline.memory.list(owner or pipeline.settings.owner, limit=limit, cursor=cursor)
        if as_json:
            _print_json({"records": [_record(r) for r in page.records], "total": page.total, "next": page.next_cursor})
            return
        rows = [[r.id, r.created.strftime("%Y-%m-%d %H:%M"), r.kind, r.text, _state(r)] for r in page.records]
        _print_table(["id", "when (UTC)", "kind", "text", ""], rows)
        more = f", more with --cursor {page.next_cursor}" if page.next_cursor else ""
        print(f"{len(page.records)} of {page.total} records{more}")


@memory_app.command("search")
def memory_search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    owner: Owner = None,
    k: Annotated[int, typer.Option(help="Most records to show.")] = 8,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Search as chat does, with the scores that chat would see."""
    from jc1.memory.base import Retrieval

    with _stores(home) as pipeline:
        found = pipeline.memory.search(owner or pipeline.settings.owner, query, Retrieval(k=k))
        if as_json:
            _print_json([_hit(receipt) for receipt in found.receipts])
            return
        rows = [
            [str(r.rank), f"{r.score:.2f}", _score(r.dense_score), _score(r.lexical_score), r.record.text, r.record.id]
            for r in found.receipts
        ]
        _print_table(["#", "score", "dense", "lexical", "text", "id"], rows)


@memory_app.command("add")
def memory_add(
    text: Annotated[str, typer.Argument(help="What to remember.")],
    owner: Owner = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remember a text."""
    from jc1.memory.base import NewRecord

    with _stores(home) as pipeline:
        (record,) = pipeline.memory.add(owner or pipeline.settings.owner, [NewRecord(text)])
        if as_json:
            _print_json(_record(record))
        else:
            print(record.id)


@memory_app.command("ingest")
def memory_ingest(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Markdown, plain text or PDF.")],
    title: Annotated[
        str | None, typer.Option(help="What the document is cited by.", show_default="the file's name")
    ] = None,
    owner: Owner = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remember documents, part by part; one of the same title takes the place of the version before."""
    from jc1.cli_documents import ingest_files

    with _stores(home) as pipeline:
        if not ingest_files(pipeline, owner or pipeline.settings.owner, files, title, as_json=as_json):
            raise typer.Exit(1)


@memory_app.command("forget")
def memory_forget(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="The record's id, as `list` shows it.")],
    owner: Owner = None,
    home: Home = None,
) -> None:
    """Delete one record."""
    with _stores(home) as pipeline:
        pipeline.memory.forget(owner or pipeline.settings.owner, record_id)
        print(f"forgotten: {record_id}")


@app.command()
def presets(home: Home = None, as_json: Json = False) -> None:
    """List the presets and where the aliases point."""
    from dataclasses import asdict

    with _stores(home) as pipeline:
        known, aliases = pipeline.presets.list(), pipeline.presets.aliases()
    if as_json:
        _print_json({"presets": [asdict(preset) for preset in known], "aliases": aliases})
        return
    rows = [
        [p.reference, ", ".join(a for a, target in aliases.items() if target == p.reference),
         " ".join(f"{k}={v}" for k, v in p.decoding.items()) or "greedy", p.description]
        for p in known
    ]  # fmt: skip
    _print_table(["preset", "aliases", "decoding", "what it is for"], rows)


@app.command()
def models(as_json: Json = False) -> None:
    """List the models that come with JC1."""
    from jc1.models import bundled

    if as_json:
        _print_json(list(bundled()))
    else:
        print("\n".join(bundled()))


@app.command()
def config(home: Home = None, as_json: Json = False) -> None:
    """Print every setting with where its value came from."""
    from jc1.settings import Settings

    settings, sources = Settings.load_with_sources({"home": home})
    shown = settings.shown()
    if as_json:
        _print_json({name: {"value": value, "source": sources[name]} for name, value in shown.items()})
        return
    fields = Settings.model_fields
    rows = [[name, str(value), sources[name], fields[name].description or ""] for name, value in shown.items()]
    _print_table(["setting", "value", "from", "what it is"], rows)


@app.command()
def doctor(home: Home = None, as_json: Json = False) -> None:
    """Look at this machine and this installation, and say what would not work and why."""
    from jc1.doctor import examine

    settings = _settings(home=home)
    print("jc1: looking, and importing each engine once: this takes some seconds", file=sys.stderr, flush=True)
    report = examine(settings)
    if as_json:
        _print_json(report)
    else:
        _print_table(["check", "", "finding"], [[c["check"], c["state"], c["finding"]] for c in report["checks"]])
        print(report["verdict"])
    if not report["ok"]:
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    from jc1 import __version__

    print(__version__)


def _settings(**flags: Any) -> Settings:
    from jc1.settings import Settings

    return Settings.load(flags)


@contextmanager
def _stores(home: Path | None) -> Iterator[Pipeline]:
    """A pipeline whose engine is not started: enough for memory, sessions and presets."""
    from asyncio import run

    from jc1.pipeline import Pipeline

    pipeline = Pipeline.from_settings(_settings(home=home))
    try:
        yield pipeline
    finally:
        run(pipeline.close())


def _record(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "text": record.text,
        "role": record.role,
        "kind": record.kind,
        "created": record.created.isoformat(),
        "session": record.session,
        "turn": record.turn,
        "superseded_by": record.superseded_by,
    }


def _hit(receipt: Receipt) -> dict[str, Any]:
    scores = {"rank": receipt.rank, "score": receipt.score}
    return {**scores, "dense": receipt.dense_score, "lexical": receipt.lexical_score, **_record(receipt.record)}


def _state(record: Record) -> str:
    return "superseded" if record.superseded_by else ""


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
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
