"""`jc1 presets` and `jc1 rollback`: settings that have a name, and the aliases that point at them.

Knows how arguments become calls and how results are printed. The engine is not started: the database is enough.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jc1.cli.options import Home, Json, open_stores, print_json, print_table

if TYPE_CHECKING:
    from jc1.presets import AliasMove, Preset

app = typer.Typer(help="See settings that have a name, and compare them.", invoke_without_command=True)

Reference = Annotated[str, typer.Argument(metavar="PRESET", help="A name, NAME@VERSION, or an alias.")]


@app.callback()
def presets(context: typer.Context, home: Home = None, as_json: Json = False) -> None:
    """See settings that have a name, and compare them; `jc1 presets` alone lists them."""
    if context.invoked_subcommand is None:
        list_(home, as_json)
    elif home is not None or as_json:
        raise typer.BadParameter(f"Options go behind the command: jc1 presets {context.invoked_subcommand} --help.")


@app.command("list")
def list_(home: Home = None, as_json: Json = False) -> None:
    """List the presets and where the aliases point."""
    with open_stores(home) as stores:
        known, aliases = stores.presets.list(), stores.presets.aliases()
    if as_json:
        print_json({"presets": [_plain(preset) for preset in known], "aliases": aliases})
        return
    rows = [
        [p.reference, ", ".join(a for a, target in aliases.items() if target == p.reference),
         " ".join(f"{k}={v}" for k, v in p.decoding.items()) or "greedy", p.description]
        for p in known
    ]  # fmt: skip
    print_table(["preset", "aliases", "decoding", "what it is for"], rows)


@app.command()
def show(reference: Reference, home: Home = None, as_json: Json = False) -> None:
    """Show one preset: its settings, what it was measured with, and the aliases that point at it."""
    with open_stores(home) as stores:
        preset = stores.presets.resolve(reference)
        aliases = [a for a, target in stores.presets.aliases().items() if target == preset.reference]
        moves = {alias: stores.presets.history(alias) for alias in aliases}
    if as_json:
        print_json({**_plain(preset), "reference": preset.reference, "aliases": aliases})
        return
    rows = [["preset", preset.reference], ["what it is for", preset.description]]
    rows += [[f"alias {alias}", _story(history)] for alias, history in moves.items()]
    rows += [[name, _text(value)] for name, value in _settings(preset).items()]
    rows += [["measured: " + name, _text(value)] for name, value in _flat(preset.figures).items()]
    print_table(["field", "value"], [row for row in rows if row[1]])


@app.command()
def diff(first: Reference, second: Reference, home: Home = None, as_json: Json = False) -> None:
    """Show where two presets differ, field by field."""
    with open_stores(home) as stores:
        pair = [stores.presets.resolve(reference) for reference in (first, second)]
    one, two = (_settings(preset) for preset in pair)
    differing = {name: (one.get(name), two.get(name)) for name in {**one, **two} if one.get(name) != two.get(name)}
    if as_json:
        print_json({"presets": [preset.reference for preset in pair], "differences": differing})
    elif differing:
        rows = [[name, *(_text(value) or "by default" for value in values)] for name, values in differing.items()]
        print_table(["field", *(preset.reference for preset in pair)], rows)
    else:
        print(f"{pair[0].reference} and {pair[1].reference} set the same.")


def rollback(
    alias: Annotated[str | None, typer.Argument(help="The alias to take back.", show_default="champion")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Let an alias mean what it meant before; each time further back."""
    from jc1.presets import CHAMPION

    alias = CHAMPION if alias is None else alias
    with open_stores(home) as stores:
        before = stores.presets.aliases().get(alias)
        preset = stores.presets.rollback(alias)
    if as_json:
        print_json({"alias": alias, "preset": preset and preset.reference, "before": before})
    elif preset is None:
        print(f"{alias} was {before} and nothing before that: there is no {alias} now.")
    else:
        print(f"{alias} is {preset.reference}, was {before}.")


def _plain(preset: Preset) -> dict[str, Any]:
    """Return the preset as a dict, without the score of each prompt."""
    from dataclasses import asdict

    return {**asdict(preset), "measured": preset.figures}


def _settings(preset: Preset) -> dict[str, Any]:
    """Return every setting of a preset under one name, so that two can be compared field by field."""
    from jc1.prompt import DEFAULT_SYSTEM

    system = {} if preset.system == DEFAULT_SYSTEM else {"system": preset.system}
    parts = {"retrieval": preset.retrieval, "engine": preset.engine}
    unread = dict.fromkeys(preset.unread, "of a newer JC1, not known to this one")
    return {**system, **preset.decoding, **_flat(parts), **unread}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values under the names of what they are part of: `heldout.mean`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": leaf for inner, leaf in _flat(value).items()}
        elif isinstance(value, list | tuple) and any(isinstance(it, Mapping) for it in value):
            flat |= _flat({f"{name}.{number}": it for number, it in enumerate(value, start=1)})
        else:
            flat[name] = value
    return flat


def _story(history: tuple[AliasMove, ...]) -> str:
    """Return since when an alias points where it does, and what a rollback would make of it."""
    standing = [move for move in history if move.undone is None]  # newest first: where it points, where it did before
    since = f"since {standing[0].moved:%Y-%m-%d %H:%M} (UTC)" if standing[0].moved else "points here"
    return f"{since}; before that {standing[1].reference}" if len(standing) > 1 else since


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
