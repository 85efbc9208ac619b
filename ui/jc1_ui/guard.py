"""The guard of Gradio's own addresses: a few are served, the rest are closed, and a page belongs to who opened it.

Knows Gradio's addresses, and where in a request the page's hash stands. Who somebody is, the gate before this has found
out and left in `scope["state"]["principal"]`.

Gradio trusts whoever names a page's hash: it is all that tells one visitor's queue, replies and state from another's.
Here it belongs to the key that used it first, and another is refused. What no page of JC1 asks for is not found, among
it uploads, files by path, a proxy and an editor of the app's code. A test walks Gradio's addresses, so that a new one
is seen.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Container, Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from jc1.access.principal import Principal
from jc1.errors import InvalidRequest, NotFound, Refused

SERVED = {("GET", path) for path in ("/", "/theme.css", "/gradio_api/app_id")}
SERVED_BELOW = ("/assets/", "/static/")
HASH_IN_BODY = {("POST", "/gradio_api/queue/join"), ("POST", "/gradio_api/run/predict")}
HASH_IN_QUERY = {("GET", "/gradio_api/queue/data")}
HASH_AT_THE_END = "/gradio_api/heartbeat/"
HASH_LENGTH = 100
MOST_PAGES = 10_000
"""Pages whose keys are kept in mind, as many as Gradio keeps the state of."""


class Guard:
    """Stands before `app`, Gradio's."""

    def __init__(self, app: Any) -> None:
        self.app: ASGIApp = app
        self._events: Callable[[], Mapping[int, Any]] = lambda: app.get_blocks().fns
        self.stop_event = app.stop_event
        """What ends the streams of open pages, as Gradio's app has it."""
        self._queues: Callable[[], Container[str | None]] = lambda: app.get_blocks()._queue.pending_messages_per_session
        """The pages that have called an event; of another's stream Gradio breaks off in the middle."""
        self._keys: OrderedDict[str, str | None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await WebSocketClose()(scope, receive, send)
            return
        principal: Principal = scope["state"]["principal"]
        principal.require("chat")
        path = scope["path"].removeprefix(scope["root_path"])
        address = (scope["method"], path)
        if address in HASH_IN_BODY:
            body = await _read(receive)
            self._check(body.get("session_hash"), principal)
            self._check_event(body)
            # What was checked is what is read: one that names two hashes arrives with one.
            receive = _again(json.dumps(body).encode(), receive)
        elif address in HASH_IN_QUERY:
            hashes = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("session_hash", [])
            page = hashes[0] if len(hashes) == 1 else None
            self._check(page, principal)
            if page not in self._queues():
                raise NotFound("Nothing runs for this page: open it again.")
        elif path.startswith(HASH_AT_THE_END) and scope["method"] == "GET":
            self._check(path.removeprefix(HASH_AT_THE_END), principal)
        elif address not in SERVED and not (scope["method"] == "GET" and path.startswith(SERVED_BELOW)):
            raise NotFound(f"Nothing is at {scope['path']!r}: /docs lists the addresses.")
        await self.app(scope, receive, send)

    def _check(self, page: object, principal: Principal) -> None:
        """Let the page belong to this key. Raises `Refused` where it is another's, `InvalidRequest` for no page."""
        if not isinstance(page, str) or not 0 < len(page) <= HASH_LENGTH:
            raise InvalidRequest("'session_hash' names the page: send it once.", param="session_hash")
        if self._keys.setdefault(page, principal.key) != principal.key:
            raise Refused("This page was opened with another key: open it again.")
        self._keys.move_to_end(page)
        while len(self._keys) > MOST_PAGES:
            self._keys.popitem(last=False)

    def _check_event(self, body: dict[str, Any]) -> None:
        """Raise `InvalidRequest` for what no page sends: Gradio answers it with an internal error."""
        number, data = body.get("fn_index"), body.get("data")
        events = self._events()
        if not isinstance(number, int) or isinstance(number, bool) or number not in events:
            raise InvalidRequest("'fn_index' names none of the page's events: open the page again.", param="fn_index")
        if not isinstance(data, list) or len(data) != len(events[number].inputs):
            raise InvalidRequest("'data' must be a list with what the event takes: open the page again.", param="data")


async def _read(receive: Receive) -> dict[str, Any]:
    """Return the JSON object that a request brings. Raises `InvalidRequest`."""
    chunks = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
    try:
        body = json.loads(b"".join(chunks))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object, sent with Content-Type: application/json.")
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives `body` as the request's, and after it what comes in."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return whole.pop() if whole else await receive()

    return again
