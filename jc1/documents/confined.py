"""Reading of documents of unknown origin, in a process of its own.

Knows which errors a document may end with, and how parts cross to another process. The process and its limits are
`jc1.confined`'s, formats `jc1.documents.formats`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from jc1.confined import Answer, Reader
from jc1.documents.formats import Format, format_of, read
from jc1.documents.parts import Part
from jc1.errors import DamagedDocument, EmptyDocument, EncryptedDocument, UnsupportedDocument

READER = Reader(
    "jc1.documents.confined:answer",
    noun="document",
    advice="split it, or store its text",
    damaged=DamagedDocument,
    errors=(DamagedDocument, EmptyDocument, EncryptedDocument, UnsupportedDocument),
)


def read_confined(
    name: str,
    data: bytes,
    *,
    recognised: Mapping[int, str] | None = None,
    seconds: float = READER.seconds,
    memory_bytes: int = READER.memory_bytes,
) -> list[Part]:
    """Return the parts of the document `data`, a file of that name; `recognised` is the text that stands in pictures,
    by page from 1, as `jc1.documents.scans` finds it.

    Raises `UnsupportedDocument`, `EmptyDocument`, `EncryptedDocument`, `DamagedDocument`, or `RequestTooLarge`, also
    where reading takes longer than `seconds` or more memory than `memory_bytes`.
    """
    reader = replace(READER, seconds=seconds, memory_bytes=memory_bytes)
    fields, _ = reader(
        data, form=format_of(name, data), recognised=None if recognised is None else [*recognised.items()]
    )
    return [Part(text, place) for text, place in fields["parts"]]


def answer(data: bytes, form: str, recognised: Sequence[tuple[int, str]] | None) -> Answer:
    """Return a document's parts, in the confined process."""
    pages = None if recognised is None else dict(recognised)
    return {"parts": [(part.text, part.place) for part in read(cast(Format, form), data, pages)]}, b""
