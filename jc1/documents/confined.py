"""Reading of documents in a process of its own, which ends when it takes too long or too much memory.

Knows the limits and the wire: the document on standard input, parts or an error as JSON on standard output. Knows
nothing about formats. A file that was made to exhaust its reader ends that process and nothing else.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import subprocess
import sys
from typing import cast

from jc1.documents.formats import Format, format_of, read
from jc1.documents.parts import Part
from jc1.errors import (
    DamagedDocument,
    EmptyDocument,
    EncryptedDocument,
    InvalidRequest,
    RequestTooLarge,
    UnsupportedDocument,
)

log = logging.getLogger(__name__)

SECONDS = 120.0
"""Seconds that a document may take to read."""
MEMORY_BYTES = 2**30
"""Bytes of address space that its reader may take."""

_ERRORS = {
    error.code: error
    for error in (DamagedDocument, EmptyDocument, EncryptedDocument, RequestTooLarge, UnsupportedDocument)
}


def read_confined(name: str, data: bytes, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> list[Part]:
    """Return the parts of the document `data`, a file of that name.

    Raises `UnsupportedDocument`, `EmptyDocument`, `EncryptedDocument`, `DamagedDocument`, or `RequestTooLarge`, also
    where reading takes longer than `seconds` or more memory than `memory_bytes`.
    """
    # -P: a file in the working folder is not taken for a module.
    command = [sys.executable, "-P", "-m", "jc1.documents.confined", format_of(name, data), str(memory_bytes)]
    try:
        done = subprocess.run(
            command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise RequestTooLarge(f"The document takes longer than {seconds:.0f} s to read: split it.") from None
    if done.returncode:
        log.error("The reader of a document ended with status %d.", done.returncode)
        if done.returncode == -signal.SIGKILL:  # the system had no memory left
            raise _too_much_memory()
        raise DamagedDocument("The document cannot be read: repair it, or store its text.")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise _ERRORS[answer["error"]](answer["message"], param="file")
    return [Part(text, place) for text, place in answer["parts"]]


def main() -> None:
    """Run the process, whose arguments are the format and the bytes of memory that it may take."""
    form, memory_bytes = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = int(memory_bytes) if most == resource.RLIM_INFINITY else min(int(memory_bytes), most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))
    answer: dict[str, object]
    try:
        parts = read(cast(Format, form), sys.stdin.buffer.read())
        answer = {"parts": [(part.text, part.place) for part in parts]}
    except MemoryError:
        error = _too_much_memory()
        answer = {"error": error.code, "message": error.message}
    except InvalidRequest as error:
        answer = {"error": error.code, "message": error.message}
    json.dump(answer, sys.stdout)


def _too_much_memory() -> RequestTooLarge:
    return RequestTooLarge("The document takes too much memory to read: split it, or store its text.")


if __name__ == "__main__":
    main()
