"""Errors as clients see them: in OpenAI's shape or Anthropic's, with stable codes, and no foreign exception's text.

Knows how an exception becomes a status and a body. Knows nothing about what the routes do.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import Scope

from jc1.errors import InvalidRequest, Jc1Error, NotFound, Unavailable
from jc1.texts import shortened
from jc1_api import anthropic_errors

log = logging.getLogger(__name__)

_IN_JSON = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "should be an object"),
    "list_type": "should be a list",
    "string_type": "should be a text",
}
"""What pydantic expected, where it speaks of Python's types."""

_ASIDE = re.compile(r"^Value error, |^(Input|List|String) (?=should)| after validation, not \d+|, unable to parse .*")
"""What pydantic says besides: of Python's types, and of itself."""

STOPPING_RETRY_SECONDS = 5
"""When to come back to a server that stops: about the time that another takes to start."""
CLIENT_CLOSED_REQUEST = 499
"""Nobody reads this answer; the number is the one that nginx writes into its log."""


class ErrorDetail(BaseModel):
    message: str = Field(description="What happened and what to do next.")
    type: Literal["invalid_request_error", "server_error"]
    param: str | None = Field(description="The field that is to blame, where one is.")
    code: str = Field(description="Stable; docs/api.md lists them.")


class Error(BaseModel):
    """Every error, in OpenAI's shape."""

    error: ErrorDetail


class MethodNotAllowed(InvalidRequest):
    """The address exists, the method does not apply to it."""

    code = "method_not_allowed"
    status = 405


class UnsupportedMediaType(InvalidRequest):
    """The body is of another kind than the address takes."""

    code = "unsupported_media_type"
    status = 415


class HeadersTooLarge(InvalidRequest):
    """The request line and the headers exceed what is read of them."""

    code = "headers_too_large"
    status = 431

    def __init__(self, most: int) -> None:
        super().__init__(f"The headers exceed {most:,} bytes: send less.")


class RequestTimeout(InvalidRequest):
    """The request did not come to its end in time."""

    code = "request_timeout"
    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The request was not whole after {seconds:g} seconds: send it faster.")


class Stopping(Unavailable):
    """The server stops: it answers what it has begun, and nothing new."""

    code = "stopping"

    def __init__(self) -> None:
        super().__init__(
            "The server is stopping: send the request again when it is back.",
            headers={"retry-after": str(STOPPING_RETRY_SECONDS), "connection": "close"},
        )


class InternalError(Jc1Error):
    """Something that should not happen did. The log has the traceback under the same id."""

    def __init__(self) -> None:
        self.id = f"err_{uuid.uuid4().hex[:12]}"
        super().__init__(f"Something broke inside JC1: the server's log tells what, under {self.id}.")


def error_body(error: Jc1Error) -> dict[str, Any]:
    """Return the error as OpenAI's clients read it."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    param = error.param and shortened(error.param)
    return {"error": {"message": shortened(error.message), "type": kind, "param": param, "code": error.code}}


def error_response(error: Jc1Error, scope: Scope, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the error as a whole response, in the shape of the address, with its own headers and others besides.

    Every error that is the answer to a request comes by here: the gate finds its code, and counts it.
    """
    scope["state"]["error_code"] = error.code
    headers = {**error.headers, **(headers or {})}
    if scope["path"] not in anthropic_errors.PATHS:
        return JSONResponse(error_body(error), error.status, headers)
    body = anthropic_errors.anthropic_error_body(error, scope["state"]["request_id"])
    return JSONResponse(body, error.status, headers)


def unexpected(error: BaseException, where: str) -> InternalError:
    """Log an exception that is not JC1's own, and return the error that the client gets instead."""
    replacement = InternalError()
    log.error("%s: unexpected %s in %s", replacement.id, type(error).__name__, where, exc_info=error)
    return replacement


def install(app: FastAPI) -> None:
    """Give every error that a route raises its shape. What no handler takes, the gate turns into `InternalError`."""

    @app.exception_handler(Jc1Error)
    async def known(request: Request, error: Jc1Error) -> Response:
        return error_response(error, request.scope)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return error_response(explain(error.errors(), error.body), request.scope)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = {"allow": _allowed(request)} if error.status_code == MethodNotAllowed.status else error.headers
        return error_response(_from_status(request, error), request.scope, headers)

    @app.exception_handler(ClientDisconnect)
    async def disconnected(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


def explain(errors: Sequence[Any], body: Any = None) -> InvalidRequest:
    """Return the first validation error, in a sentence that names the field and, where it helps, what is right."""
    first = errors[0]
    where, *path = first["loc"]
    kind = first["type"]
    param = _field(path if where != "body" else _within(body, path, kind == "missing"))
    if kind == "json_invalid":
        return InvalidRequest(f"The body is not valid JSON, at character {path[0]}: {first['ctx']['error']}.")
    if where == "body" and param is None:
        return InvalidRequest("The body must be a JSON object, sent with Content-Type: application/json.")
    if kind == "extra_forbidden":
        return InvalidRequest(f"Unknown field {param!r}: /docs lists the known ones.", param=param)
    if kind == "refused":
        return InvalidRequest(first["ctx"]["reason"], param=param)
    if kind == "missing":
        return InvalidRequest(f"The field {param!r} is missing.", param=param)
    reason = _IN_JSON.get(kind) or _ASIDE.sub("", str(first["msg"]))
    return InvalidRequest(f"{param!r}: {reason[0].lower()}{reason[1:]}.", param=param)


@contextmanager
def named_as_sent(names: Mapping[str, str]) -> Iterator[None]:
    """Let an error blame the field that was sent, where JC1 knows it by another name: `names`, from ours to theirs."""
    try:
        yield
    except Jc1Error as error:
        for ours, theirs in names.items():
            error.message = error.message.replace(repr(ours), repr(theirs))
        error.param = names.get(error.param or "", error.param)
        raise


def _within(body: Any, path: Sequence[int | str], missing: bool) -> Iterator[int | str]:
    """Yield the steps of `path` that lead into the body: pydantic puts the names of a union's branches between them.

    A step that is `missing` stands at the end of the path, and not in the body.
    """
    for place, step in enumerate(path, start=1):
        if isinstance(step, int) and isinstance(body, list):
            body = body[step]
        elif isinstance(body, Mapping) and (step in body or (missing and place == len(path))):
            body = body.get(step)
        else:
            continue
        yield step


def _field(path: Iterable[int | str]) -> str | None:
    """Return `messages[0].content` for the steps messages, 0, content."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".") or None


def _from_status(request: Request, error: HTTPException) -> Jc1Error:
    path = request.url.path
    if error.status_code == NotFound.status:
        return NotFound(f"Nothing is at {path!r}: /docs lists the addresses.")
    if error.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(f"{request.method} does not apply to {path!r}: /docs lists what does.")
    if error.status_code < 500:
        return InvalidRequest("The body cannot be read: /docs shows what this address takes.")
    return unexpected(error, f"{request.method} {route_of(request.scope)}")


def route_of(scope: Scope) -> str:
    """Return the address as its route has it, with `{names}` for what it names: somebody chose those."""
    return getattr(scope.get("route"), "path", "(no route)")


def _allowed(request: Request) -> str:
    """Return every method that the address takes: several routes may share it, and HEAD is served where GET is."""
    methods: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
