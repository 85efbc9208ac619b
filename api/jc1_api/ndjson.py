"""A response of many lines that are read from the database while they are sent.

Knows how blocking reads and a client that may leave go together. Knows nothing about what the lines say.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from itertools import islice

from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from jc1_api.sse import until_disconnect

LINES_AT_ONCE = 200
"""Lines that are read, and sent, at a time."""


class Lines(Response):
    """Newline-delimited JSON from a generator, which is read in threads and closed when the client goes away.

    What fails before the first line has its status; later the response can only be cut short.
    """

    media_type = "application/x-ndjson"

    def __init__(self, lines: Generator[str], *, filename: str) -> None:
        super().__init__(headers={"content-disposition": f'attachment; filename="{filename}"'})
        del self.headers["content-length"]
        self._lines = lines
        self._reading = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with until_disconnect(receive):
                chunk = await asyncio.to_thread(self._read)
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                while chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    chunk = await asyncio.to_thread(self._read)
        except ClientDisconnect:
            return
        finally:
            await asyncio.to_thread(self._close)
        await send({"type": "http.response.body", "body": b""})

    def _read(self) -> bytes:
        with self._reading:
            return "".join(islice(self._lines, LINES_AT_ONCE)).encode()

    def _close(self) -> None:
        # A read that nobody waits for any more still ends first.
        with self._reading:
            self._lines.close()
