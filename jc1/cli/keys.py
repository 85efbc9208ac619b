"""`jc1 keys`: keys for those who may use this JC1, made, seen, rotated and revoked.

Knows how arguments become calls and how results are printed. A token stands alone on standard output, and what is to be
known about it on standard error: `jc1 keys create ann | pass insert jc1`.
"""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jc1.access.principal import SCOPES, USUAL_SCOPES, Limits
from jc1.cli.options import Home, Json, open_stores, print_json, print_table

if TYPE_CHECKING:
    from jc1.access.keys import Issued, Key

app = typer.Typer(help="Make keys for those who may use this JC1, and end them.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `list` shows it.")]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_ANY = "all"
_HELP = {limit.name: limit.metadata["help"] for limit in fields(Limits)}


@app.command()
def create(
    owner: Annotated[str, typer.Argument(help="For whom it acts: whose memories, sessions and traces.")],
    name: Annotated[str, typer.Option(help="What it is for, to tell it from others.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What it allows, of {', '.join(SCOPES)}.", show_default=", ".join(sorted(USUAL_SCOPES))),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model that it may ask.", show_default=_ANY)] = None,
    preset: Annotated[list[str] | None, typer.Option(help="A preset it may use.", show_default=_ANY)] = None,
    expires: Annotated[str | None, typer.Option(help="How long it is good: 12h, 30d.", show_default="for ever")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help=_HELP["requests_per_minute"])] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help=_HELP["tokens_per_minute"])] = None,
    tokens_per_day: Annotated[int | None, typer.Option(help=_HELP["tokens_per_day"])] = None,
    concurrent: Annotated[int | None, typer.Option(help=_HELP["concurrent"])] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once."""
    lifetime = None if expires is None else _duration(expires, "--expires")
    with open_stores(home) as stores:
        issued = stores.keys.create(
            owner,
            name=name,
            scopes=scope or USUAL_SCOPES,
            limits=Limits(requests_per_minute, tokens_per_minute, tokens_per_day, concurrent),
            models=model,
            presets=preset,
            expires=None if lifetime is None else datetime.now(UTC) + lifetime,
        )
    note = f"key {issued.key.id} for {owner!r}: {', '.join(sorted(issued.key.scopes))}. It is shown this once."
    _print_issued(issued, note, as_json)


@app.command("list")
def list_(home: Home = None, as_json: Json = False) -> None:
    """List every key that was ever made, the newest first."""
    with open_stores(home) as stores:
        keys = stores.keys.list()
    if as_json:
        print_json([key.to_dict() for key in keys])
        return
    rows = [
        [key.id, key.owner, key.name, key.state(datetime.now(UTC)), _moment(key.last_used), _moment(key.expires),
         " ".join(sorted(key.scopes))]
        for key in keys
    ]  # fmt: skip
    print_table(["id", "owner", "name", "state", "last used", "expires", "scopes"], rows)


@app.command()
def show(key_id: Id, home: Home = None, as_json: Json = False) -> None:
    """Show one key: what it allows, its limits and its times. Its secret is not kept."""
    with open_stores(home) as stores:
        _print_key(stores.keys.get(key_id), as_json)


@app.command()
def rotate(
    key_id: Id,
    grace: Annotated[str, typer.Option(help="How long the secret before is still good: 0s, 30m, 1h.")] = "0s",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Give a key a new secret, which is shown this once. What it allows stays."""
    from jc1.access.keys import FRESH

    time = _duration(grace, "--grace")
    with open_stores(home) as stores:
        issued = stores.keys.rotate(key_id, grace=time)
    until = issued.key.grace
    end = f"is good until {until:%Y-%m-%d %H:%M} (UTC)" if until else f"ends within {FRESH.seconds} seconds"
    _print_issued(issued, f"key {key_id} has this new secret, shown this once. The one before {end}.", as_json)


@app.command()
def revoke(key_id: Id, home: Home = None, as_json: Json = False) -> None:
    """End a key for good, in every running server within 5 seconds."""
    with open_stores(home) as stores:
        key = stores.keys.revoke(key_id)
    if as_json:
        print_json(key.to_dict())
    else:
        print(f"The key {key_id} of {key.owner!r} is revoked.")


def _print_issued(issued: Issued, note: str, as_json: bool) -> None:
    if as_json:
        print_json({**issued.key.to_dict(), "key": issued.token})
        return
    print(f"jc1: {note}", file=sys.stderr)
    print(issued.token)


def _print_key(key: Key, as_json: bool) -> None:
    shown = key.to_dict()
    if as_json:
        print_json(shown)
        return
    print_table(["field", "value"], [[name, text] for name, value in shown.items() if (text := _text(value))])


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _duration(text: str, flag: str) -> timedelta:
    """Return the time that `30m` and its like stand for."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no time: write 90s, 30m, 12h or 30d.", param_hint=flag)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
