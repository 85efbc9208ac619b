"""The command line: thin commands over the pipeline.

Knows how arguments become calls and how results are printed. Knows nothing about how anything works.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jc1 import interrupts
from jc1.cli import keys, presets, speech, usage
from jc1.cli.chat import chat
from jc1.cli.memory import app as memory_app
from jc1.cli.options import Flags, Home, Json, Owner, print_json, print_table, settings_of, with_engine
from jc1.cli.see import see

COMMANDS = "jc1.commands"
"""Packages that bring commands of their own name, under this entry point, a function that takes `app` and adds them."""


class Commands(TyperGroup):
    """JC1's own commands and, once one of another name or the whole list is asked for, those of other packages."""

    def list_commands(self, ctx: Any) -> list[str]:
        self._join()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._join()
        return super().get_command(ctx, cmd_name)

    def _join(self) -> None:
        from importlib.metadata import entry_points  # 20 ms, for which few commands have a use

        for point in entry_points(group=COMMANDS):
            joined = typer.Typer()
            try:
                point.load()(joined)
            except (Exception, SystemExit) as error:  # whatever that package raises: JC1's own commands work without it
                reason = f"its package raised {type(error).__name__}: update it, or remove it"
                print(f"jc1: the commands of {point.name!r} are left out, since {reason}.", file=sys.stderr)
                continue
            group = typer.main.get_group(joined)
            for name, command in group.commands.items():
                self.commands.setdefault(name, command)


app = typer.Typer(
    name="jc1",
    cls=Commands,
    help="JC1: chat with memory, served and tuned through one pipeline.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(memory_app, name="memory")
app.add_typer(presets.app, name="presets")
app.add_typer(keys.app, name="keys")
app.command()(presets.rollback)
app.command()(chat)
app.command()(speech.hear)
app.command()(speech.speak)
app.command()(speech.talk)
app.command()(see)
app.command()(usage.usage)


def main() -> None:
    """Run the `jc1` command. Errors of JC1 become one line with their code, and exit status 1."""
    from jc1.errors import Jc1Error

    try:
        app()
    except Jc1Error as error:
        print(f"jc1: {error.message} [{error.code}]", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        interrupts.end()
    except SystemExit as ending:
        if ending.code == interrupts.INTERRUPTED:
            interrupts.end()  # everything is closed by now
        raise
    except BrokenPipeError:
        # The reader of a pipe has left, as `head` does: 128 + SIGPIPE, and no message about it.
        sys.stderr.close()
        sys.exit(141)


@app.command()
@with_engine
def serve(
    flags: Flags,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="8000")
    ] = None,
) -> None:
    """Start API and UI in one process, until Ctrl-C."""
    from jc1_api.main import serve as run

    run(settings_of(host=host, port=port, **flags))


@app.command()
@with_engine
def mcp(flags: Flags, owner: Owner = None) -> None:
    """Serve memory and chat to an MCP client over standard input and output, until it closes them."""
    from jc1_api.mcp.stdio import serve as run

    run(settings_of(**flags), owner)


@app.command()
def models(as_json: Json = False) -> None:
    """List the models that come with JC1."""
    from jc1.models import bundled

    if as_json:
        print_json(list(bundled()))
    else:
        print("\n".join(bundled()))


@app.command()
def config(home: Home = None, as_json: Json = False) -> None:
    """Print every setting with where its value came from."""
    from jc1.settings import Settings

    settings, sources = Settings.load_with_sources({"home": home})
    shown = settings.shown()
    if as_json:
        print_json({name: {"value": value, "source": sources[name]} for name, value in shown.items()})
        return
    fields = Settings.model_fields
    rows = [[name, str(value), sources[name], fields[name].description or ""] for name, value in shown.items()]
    print_table(["setting", "value", "from", "what it is"], rows)


@app.command()
def doctor(home: Home = None, as_json: Json = False) -> None:
    """Look at this machine and this installation, and say what would not work and why."""
    from jc1.doctor import examine

    settings = settings_of(home=home)
    print("jc1: looking, and importing each engine once: this takes some seconds", file=sys.stderr, flush=True)
    report = examine(settings)
    if as_json:
        print_json(report)
    else:
        print_table(["check", "", "finding"], [[c["check"], c["state"], c["finding"]] for c in report["checks"]])
        print(report["verdict"])
    if not report["ok"]:
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    from jc1 import __version__

    print(__version__)
