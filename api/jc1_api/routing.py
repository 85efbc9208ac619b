"""The checks that every route of the API makes before its own code runs: nothing that was sent is ignored.

Knows which scopes, query parameters, form fields and kind of body a route takes, from its declaration. What stands in a
JSON body is checked by the route's own models, which refuse unknown fields.

No HTML form can send JSON. So a form in a page or in a rendered reply changes and removes nothing, whoever presses it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from enum import Enum
from typing import Any, get_args, get_origin

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.params import Body
from fastapi.routing import APIRoute
from pydantic import BaseModel

from jc1.errors import InvalidRequest
from jc1_api.deps import Required
from jc1_api.errors import Error, UnsupportedMediaType

JSON, MULTIPART = "application/json", "multipart/form-data"
REFUSALS = {"4XX": "The request was refused.", "5XX": "The server could not serve it."}


class Route(APIRoute):
    """A route that refuses callers without its scopes, unknown and repeated parameters, and bodies of another kind."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        dependant = get_flat_dependant(self.dependant)
        parameters = {field.alias for field in dependant.query_params}
        fields = {field.alias for field in dependant.body_params}
        lists = {field.alias for field in dependant.body_params if _is_list(field.field_info.annotation)}
        media_types = self._media_types()
        required = [it.call for it in self.dependant.dependencies if isinstance(it.call, Required)]

        async def checked(request: Request) -> Response:
            request = Sent(request.scope, request.receive)
            # First, since FastAPI would read the whole body before it asks them.
            for scope in required:
                await scope(request)
                await scope.count(request)
            check_names("query parameter", (name for name, _ in request.query_params.multi_items()), parameters)
            _check_media_type(request, media_types)
            if JSON in media_types:
                with suppress(ValueError, RecursionError):  # FastAPI will read it again, and say what is wrong
                    await request.json()
            if MULTIPART in media_types:
                form = await request.form()
                try:
                    check_names("field", (name for name, _ in form.multi_items()), fields, several=lists)
                except InvalidRequest:
                    await form.close()
                    raise
            return await handle(request)

        return checked

    def _media_types(self) -> tuple[str, ...]:
        """Return the media types that the body may have; none where the route takes no body."""
        by_hand = (self.openapi_extra or {}).get("requestBody", {}).get("content", {})
        declared = self.body_field.field_info if self.body_field else None
        return (*by_hand, declared.media_type) if isinstance(declared, Body) else tuple(by_hand)


class Router(APIRouter):
    """The routes of one file. `error` is the shape of their errors."""

    def __init__(self, *, tags: list[str | Enum], prefix: str = "", error: type[BaseModel] = Error) -> None:
        responses: dict[int | str, dict[str, Any]] = {
            status: {"model": error, "description": description} for status, description in REFUSALS.items()
        }
        super().__init__(prefix=prefix, tags=tags, route_class=Route, responses=responses)


class Sent(Request):
    """A request whose JSON says nothing twice: Python would keep what came last."""

    async def json(self) -> Any:
        """Return the body. Raises `InvalidRequest` for a name that is there twice, `ValueError` for what is no JSON."""
        if not hasattr(self, "_json"):
            self._json = json.loads(await self.body(), object_pairs_hook=_unique)
        return self._json


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise InvalidRequest(f"The body says {name!r} twice: send it once.", param=name)
    return found


def check_names(kind: str, sent: Iterable[str], known: Collection[str], *, several: Collection[str] = ()) -> None:
    """Raise `InvalidRequest` for a name that is not known, or was sent twice and is none of which there may be several.

    `kind` is what they are names of.
    """
    for name, times in Counter(sent).items():
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise InvalidRequest(f"Unknown {kind} {name!r}: known here are {listed}.", param=name)
        if times > 1 and name not in several:
            raise InvalidRequest(f"The {kind} {name!r} was sent {times} times: send it once.", param=name)


def _is_list(annotation: Any) -> bool:
    """Return whether a field's type is a list, or a list or None."""
    return any(get_origin(kind) is list for kind in (annotation, *get_args(annotation)))


def _check_media_type(request: Request, known: Collection[str]) -> None:
    sent = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if known and sent not in known:
        raise UnsupportedMediaType(
            f"The body is {repr(sent) if sent else 'of no type'}: send it with Content-Type: {' or '.join(known)}."
        )
    if not known and (request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers):
        raise InvalidRequest(f"{request.method} {request.url.path} takes no body: send it without one.")
