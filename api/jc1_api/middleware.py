"""The gate before everything that is served, mounts included: who may ask, how much may be sent, and what never leaks.

Knows ASGI and the limits of a request. Who may ask is decided by `jc1.access.gate`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jc1.access.browser import Caller
from jc1.access.gate import Access
from jc1.errors import Jc1Error, RequestTooLarge, Unauthenticated
from jc1.telemetry.context import TRACEPARENT, TRACESTATE, Current, answering, read_context
from jc1_api.anthropic_errors import PATHS as ANTHROPIC_PATHS
from jc1_api.errors import Stopping, error_response, route_of, unexpected

log = logging.getLogger(__name__)

SECURITY_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
    b"referrer-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
PRIVATE_HEADERS = {b"cache-control": b"no-store"}
"""What is somebody's own stays out of every cache on the way."""
PRIVATE = ("/v1/", "/mcp")
SESSION_COOKIE = "jc1_session"
SIGN_IN = "/sign-in"
HEALTH = frozenset({"/health", "/health/live", "/health/ready"})
"""What is answered also while the server stops."""
OPEN = HEALTH | {SIGN_IN, "/favicon.ico", "/manifest.json"}
"""The addresses that ask for no key where there are keys."""
PAGES = frozenset({"/", "/ui", "/ui/"})
"""Where somebody without a key is led to the sign-in."""
REQUEST_ID = b"x-request-id"
ANTHROPIC_REQUEST_ID = b"request-id"
"""The same id, where Anthropic's clients look for it."""
POLICY_VIOLATION = 1008
"""WebSocket close code, RFC 6455 section 7.4.1."""
DISCARD_BYTES = 64_000_000
DISCARD_SECONDS = 5.0
"""How much of a body that is too large is read and thrown away, so that the client hears why before it is cut off."""


class Gate:
    """Default deny. Admitted requests find their `Principal` in `request.state.principal`.

    Every answer has an `x-request-id`: `request.state.request_id`, where a route may put its trace's instead.

    A body may have `max_body_bytes`; for a route in `larger`, `POST /path`, what stands there under
    the name of its setting. `on_error` is told the code of each error that is an answer.
    While the server is `stopping`, only who watches it is answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        max_body_bytes: int,
        larger: Mapping[str, tuple[str, int]] | None = None,
        on_error: Callable[[str], None] = lambda code: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.app = app
        self.access = access
        self.usual = ("max_body_bytes", max_body_bytes)
        self.larger = larger or {}
        self.on_error = on_error
        self.stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            began = time.perf_counter()
            with answering(_current(scope)) as request:
                status = await self._http(scope, receive, send, request)
                seconds = time.perf_counter() - began
                log.debug("%s %s %d in %.1f ms", scope["method"], route_of(scope), status, seconds * 1000)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._admit(scope)
        except Jc1Error:
            # ASGI: the connection is announced first, and only then can it be refused.
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send, request: Current) -> int:
        """Answer a request; return the answer's status, 0 where it got none."""
        state = scope.setdefault("state", {})
        state["request_id"] = request.request
        response = _Response(send, state, path=scope["path"], head=scope["method"] == "HEAD")
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        usual = self.larger.get(f"{scope['method']} {scope['path']}", self.usual)
        body = _Body(receive, response, *usual)
        try:
            await self._admit(scope)
            request.key = state["principal"].key
            body.check_announced(scope)
            await self.app(scope, body.receive, response.send)
        except Unauthenticated as error:
            await response.answer(
                RedirectResponse(SIGN_IN, 303) if _opens_page(scope) else error_response(error, scope)
            )
        except RequestTooLarge as error:
            response.refusal = response.refusal or error
        except Jc1Error as error:
            await response.fail(error, scope)
        except Exception as error:
            await response.fail(unexpected(error, f"{scope['method']} {route_of(scope)}"), scope)
        if response.refusal is not None:
            await response.fail(response.refusal, scope, discard=body.discard)
        if "error_code" in state:
            self.on_error(state["error_code"])
        return response.status

    async def _admit(self, scope: Scope) -> None:
        """Put the principal where the app finds it. Raises what `Access.admit` does, and `Stopping`."""
        if self.stopping() and scope["path"] not in HEALTH:
            raise Stopping
        open_to_all = scope["path"] in OPEN
        scope.setdefault("state", {})["principal"] = await self.access.admit(_caller(scope), open_to_all=open_to_all)


class _Response:
    """What goes back: adds headers, knows whether it began, and holds back an answer to a body that was cut short.

    The answer to HEAD is that to GET without its body, and ends where the body would begin.
    """

    def __init__(self, send: Send, state: Mapping[str, Any], *, path: str, head: bool) -> None:
        self._send = send
        self._state = state
        self._head = head
        self._ended = False
        self._ids = (REQUEST_ID, ANTHROPIC_REQUEST_ID) if path in ANTHROPIC_PATHS else (REQUEST_ID,)
        self._headers = {**SECURITY_HEADERS, **(PRIVATE_HEADERS if path.startswith(PRIVATE) else {})}
        self.started = False
        self.status = 0
        self.refusal: Jc1Error | None = None

    async def send(self, message: Message) -> None:
        """Pass on what the app sends, with headers added; nothing where another answer is due."""
        if self._ended or (self.refusal is not None and not self.started):
            return
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            own = {**self._headers, **dict.fromkeys(self._ids, self._state["request_id"].encode())}
            headers += [(name, value) for name, value in own.items() if name not in present]
            message = {**message, "headers": headers}
        elif self._head:
            self._ended = True
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def fail(self, error: Jc1Error, scope: Scope, discard: Any = None) -> None:
        """Answer with the error, if nothing was answered yet; `discard` takes in the rest of the body meanwhile."""
        await self.answer(error_response(error, scope, {"connection": "close"} if discard else None), discard)

    async def answer(self, whole: Response, discard: Any = None) -> None:
        """Send a whole response, if nothing was answered yet."""
        if self.started:
            return
        self.refusal = None
        await self.send({"type": "http.response.start", "status": whole.status_code, "headers": whole.raw_headers})
        await self.send({"type": "http.response.body", "body": whole.body, "more_body": discard is not None})
        if discard is not None:
            await discard()
            await self.send({"type": "http.response.body", "body": b""})


class _Body:
    """The request's body as it comes in, counted while it is read: chunked ones announce no length."""

    def __init__(self, receive: Receive, response: _Response, setting: str, limit: int) -> None:
        self._receive = receive
        self._response = response
        self._setting = setting
        self._limit = limit
        self._read = 0
        self._more = True

    def check_announced(self, scope: Scope) -> None:
        """Raise `RequestTooLarge` for a body that says it is, before any of it is read."""
        announced = _header(scope, b"content-length") or ""
        if announced.isdecimal() and int(announced) > self._limit:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return what comes next, counted. Raises `RequestTooLarge` once it is more than the limit."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._more = message.get("more_body", False)
            if self._read > self._limit:
                self._response.refusal = self._too_large()
                raise self._response.refusal
        return message

    async def discard(self) -> None:
        """Read what is still to come and keep none of it, up to a bound."""
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while self._more and self._read < self._limit + DISCARD_BYTES:
                    message = await self._receive()
                    self._more = message["type"] == "http.request" and message.get("more_body", False)
                    self._read += len(message.get("body", b""))
        except TimeoutError:
            return

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"The body exceeds {self._limit:,} bytes: send less, or raise {self._setting}.")


def _current(scope: Scope) -> Current:
    parent = read_context({name: _header(scope, name.encode()) for name in (TRACEPARENT, TRACESTATE)})
    return Current(parent=parent)


def _caller(scope: Scope) -> Caller:
    peer = scope.get("client")
    return Caller(
        method=scope.get("method", "GET"),
        peer=peer[0] if peer else None,
        host=_header(scope, b"host"),
        origin=_header(scope, b"origin"),
        fetch_site=_header(scope, b"sec-fetch-site"),
        fetch_mode=_header(scope, b"sec-fetch-mode"),
        authorization=_header(scope, b"authorization"),
        api_key=_header(scope, b"x-api-key"),
        session=HTTPConnection(scope).cookies.get(SESSION_COOKIE),
    )


def _opens_page(scope: Scope) -> bool:
    """Return whether somebody opens the page in a browser. Browsers say so; over plain HTTP only by what they take."""
    navigates = _header(scope, b"sec-fetch-mode") == "navigate" or "text/html" in (_header(scope, b"accept") or "")
    return scope["method"] == "GET" and scope["path"] in PAGES and navigates


def _header(scope: Scope, name: bytes) -> str | None:
    """Return the header's value. One that was sent twice counts as wrong, not as its first or last."""
    values = [value for key, value in scope["headers"] if key == name]
    return None if not values else values[0].decode("latin-1") if len(values) == 1 else ""
