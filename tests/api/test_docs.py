"""The description of the API: valid OpenAPI, complete in itself, and true of what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from jc1 import Workbench
from jc1_api.app import create_app


@pytest.fixture
def document(workbench: Workbench) -> dict[str, Any]:
    return create_app(workbench).openapi()


def references(node: Any) -> Iterator[str]:
    """Every `$ref` below a node."""
    if isinstance(node, dict):
        if isinstance(ref := node.get("$ref"), str):
            yield ref
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document, cls=OpenAPIV31SpecValidator)


def test_every_reference_leads_to_a_definition_and_none_is_kept_elsewhere(document: dict[str, Any]) -> None:
    defined = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= defined
    assert "$defs" not in str(document)


def test_the_events_of_a_stream_are_described(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    data = content["text/event-stream"]["schema"]["properties"]["data"]
    assert data["anyOf"][0]["contentSchema"] == {"$ref": "#/components/schemas/ChatCompletionChunk"}
    assert {"ChunkChoice", "Delta"} <= document["components"]["schemas"].keys()
