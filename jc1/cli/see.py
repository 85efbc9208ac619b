"""`jc1 see`: a question about pictures, and the reply as it comes.

Knows files. What is done with the message that they make is `jc1 chat`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jc1 import interrupts
from jc1.cli.chat import Line, print_reply
from jc1.cli.options import Flags, Json, Owner, settings_of, with_engine
from jc1.errors import InvalidRequest

if TYPE_CHECKING:
    from jc1.messages import ImagePart


@with_engine
def see(
    flags: Flags,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG, WebP or GIF.")],
    question: Annotated[str, typer.Argument(help="What to ask about them.")],
    session: Annotated[str | None, typer.Option(help="Conversation to continue; new names begin one.")] = None,
    owner: Owner = None,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Neither recall nor remember.")] = False,
    preset: Annotated[str | None, typer.Option(help="Preset or alias to use.", show_default="default")] = None,
    ocr: Annotated[
        str | None,
        typer.Option(help="Read the text in them: auto, on or off.", show_default="auto, where no model sees"),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of the reply.")] = None,
    as_json: Json = False,
) -> None:
    """Ask about pictures and print the reply as it comes."""
    from jc1.messages import Message, TextPart
    from jc1.sync import SyncPipeline

    settings = settings_of(**flags)
    message = Message.user((*(_picture(file, settings.max_image_bytes) for file in images), TextPart(question)))
    fields = {"max_tokens": max_tokens}
    with Line() as line, SyncPipeline(settings) as pipeline, interrupts.as_usual():
        events = pipeline.stream(
            [message],
            owner=owner,
            session=session,
            memory="off" if no_memory else "on",
            preset=preset,
            ocr=ocr,
            **{name: value for name, value in fields.items() if value is not None},
        )
        print_reply(events, line, as_json=as_json)


def _picture(file: Path, most: int) -> ImagePart:
    """Return a file as a part of a message, of which there may be `most` bytes: a longer one is cut off a byte later,
    and then refused by its size. Raises `InvalidRequest`."""
    from jc1.messages import ImagePart

    try:
        with file.open("rb") as opened:
            return ImagePart(opened.read(most + 1), name=file.name)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read ({error.strerror}): see that the file is there.") from None
