"""Errors as Anthropic's clients read them: made from the same errors as everybody's.

Knows Anthropic's types and shape, and at which addresses they hold. JC1's code rides where Anthropic has its own.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from jc1.errors import Jc1Error, Overloaded
from jc1.texts import shortened

PATHS = ("/v1/messages", "/v1/messages/count_tokens")
Type = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "rate_limit_error",
    "api_error",
    "overloaded_error",
]
TYPES: dict[int, Type] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
"""Types by HTTP status; of the others, those below 500 are invalid requests and the rest the server's."""


class AnthropicErrorDetails(BaseModel):
    error_code: str = Field(description="Stable; docs/api.md lists them.")
    param: str | None = Field(description="The field that is to blame, where one is.")


class AnthropicErrorDetail(BaseModel):
    type: Type
    message: str = Field(description="What happened and what to do next.")
    details: AnthropicErrorDetails


class AnthropicError(BaseModel):
    """Every error of /v1/messages, in Anthropic's shape."""

    type: Literal["error"]
    error: AnthropicErrorDetail
    request_id: str | None


def anthropic_error_body(error: Jc1Error, request_id: str | None) -> dict[str, Any]:
    """Return the error as Anthropic's clients read it."""
    return {
        "type": "error",
        "error": {
            "type": _type(error),
            "message": shortened(error.message),
            "details": {"error_code": error.code, "param": error.param and shortened(error.param)},
        },
        "request_id": request_id,
    }


def _type(error: Jc1Error) -> Type:
    if isinstance(error, Overloaded):
        return "overloaded_error"
    return TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
