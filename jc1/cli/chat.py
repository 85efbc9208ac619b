"""`jc1 chat`: one message, and the reply as it comes.

Knows how a reply and what is to be said of it share a terminal. Knows nothing about how a reply comes about.
"""

from __future__ import annotations

import logging
import sys
from logging.handlers import MemoryHandler
from typing import TYPE_CHECKING, Annotated, Self

import typer

from jc1 import interrupts
from jc1.cli.options import Flags, Json, Owner, print_json, settings_of, with_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jc1.reply import Event
    from jc1.trace import Trace


@with_engine
def chat(
    flags: Flags,
    text: Annotated[str, typer.Argument(help="What to say; '-' reads it from standard input.")],
    session: Annotated[str | None, typer.Option(help="Conversation to continue; new names begin one.")] = None,
    owner: Owner = None,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Neither recall nor remember.")] = False,
    preset: Annotated[str | None, typer.Option(help="Preset or alias to use.", show_default="default")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of the reply.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Say something and print the reply as it comes."""
    from jc1.sync import SyncPipeline

    fields = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    with Line() as line, SyncPipeline(settings_of(**flags)) as pipeline, interrupts.as_usual():
        events = pipeline.stream(
            sys.stdin.read() if text == "-" else text,
            owner=owner,
            session=session,
            memory="off" if no_memory else "on",
            preset=preset,
            **{name: value for name, value in fields.items() if value is not None},
        )
        print_reply(events, line, as_json=as_json)


def print_reply(events: Iterator[Event], line: Line, *, as_json: bool) -> None:
    """Print a reply as it comes, or whole as JSON, and below it what is to be said of it."""
    from jc1.reply import Done, Token

    for event in events:
        if isinstance(event, Token) and not as_json:
            line.write(event.text)
        elif isinstance(event, Done):
            if as_json:
                print_json({"text": event.reply.text, "trace": event.reply.trace.to_dict()})
            else:
                line.write("")
            line.end()
            _print_remarks(event.reply.trace)


class Line(MemoryHandler):
    """The line on which a reply is written. What is logged meanwhile comes below it, on standard error."""

    def __init__(self) -> None:
        super().__init__(capacity=0, target=logging.lastResort)
        self.setLevel(logging.WARNING)
        self._open = False

    def shouldFlush(self, record: logging.LogRecord) -> bool:
        return not self._open

    def write(self, text: str) -> None:
        """Write more of the reply."""
        self._open = True
        print(text, end="", flush=True)

    def end(self) -> None:
        """End the line, if there is one."""
        if self._open:
            print(flush=True)
        self._open = False
        self.flush()

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()
        logging.getLogger().removeHandler(self)


def _print_remarks(trace: Trace) -> None:
    for notice in trace.notices:
        print(f"jc1: {notice.message} [{notice.code}]", file=sys.stderr)
    if trace.remembered is False:
        print(f"jc1: this turn was not remembered [{trace.remember_error}]", file=sys.stderr)
