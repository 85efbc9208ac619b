"""docs/api.md says what is true: its tables are held against the code."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from mcp.types.version import KNOWN_PROTOCOL_VERSIONS

import jc1_api.errors
from jc1 import Workbench
from jc1.access.principal import SCOPES, USUAL_SCOPES
from jc1.errors import EmptyMessage, Jc1Error
from jc1.trace import STAGES
from jc1_api.app import create_app
from jc1_api.fields import ACCEPTED
from jc1_api.mcp.tools import TOOLS
from jc1_api.openai_format import Story
from jc1_api.routes.chat import ChatRequest
from jc1_api.routes.presets import PresetShown
from jc1_api.server import DRAIN_SECONDS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[tuple[str, ...]]:
    """The cells of the table whose heading row begins so."""
    table = DOCUMENT.split(f"\n{heading}", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in table]


def errors(kind: type[Jc1Error] = Jc1Error) -> Iterator[type[Jc1Error]]:
    for child in kind.__subclasses__():
        if child.__module__ in ("jc1.errors", "jc1_api.errors"):
            yield child
        yield from errors(child)


def test_every_error_is_in_the_table_with_its_status_and_meaning() -> None:
    told = {(code.strip("`"), int(status), meaning) for code, status, meaning in rows("| code | status |")}
    assert told == {(error.code, error.status, (inspect.getdoc(error) or "").split("\n")[0]) for error in errors()}
    statuses = [int(row[1]) for row in rows("| code | status |")]
    assert statuses == sorted(statuses)


def test_every_scope_is_in_the_table() -> None:
    assert [scope.strip("`") for scope, _ in rows("| scope | allows |")] == [*SCOPES]
    named = re.search(r"made without `--scope` has\s(.*?)\. `jc1", DOCUMENT, flags=re.S)
    assert named is not None
    assert set(re.findall(r"`([^`]+)`", named[1])) == USUAL_SCOPES


def test_every_tool_of_mcp_is_in_the_table_and_every_version_is_told() -> None:
    told = {(name.strip("`"), scope.strip("`")) for name, scope, _ in rows("| tool | scope |")}
    assert told == {(tool.name, tool.scope) for tool in TOOLS.values()}
    assert set(re.findall(r"`(20\d\d-\d\d-\d\d)`", DOCUMENT)) == set(KNOWN_PROTOCOL_VERSIONS)


def test_the_example_of_an_error_is_one() -> None:
    shown = re.search(r"```json\n(.*?)```", DOCUMENT, flags=re.S)
    assert shown is not None
    assert json.loads(shown[1]) == jc1_api.errors.error_body(EmptyMessage())


def test_every_endpoint_is_in_the_table(workbench: Workbench) -> None:
    paths = create_app(workbench).openapi()["paths"]
    assert {(method.strip("`"), path.strip("`")) for method, path, _ in rows("| | | |")} == {
        (method.upper(), path) for path, methods in paths.items() for method in methods
    }


def test_every_field_is_in_the_tables() -> None:
    told = {name for cell, _ in rows("| field of `jc1` |") for name in re.findall(r"`(\w+)`", cell)}
    assert told == set(Story.model_fields)
    asked = {name for cell, _ in rows("| field | |") for name in re.findall(r"`(\w+)`", cell)}
    assert asked <= set(ChatRequest.model_fields)
    shown = {name for cell, _ in rows("| field of a preset |") for name in re.findall(r"`(\w+)`", cell)}
    assert shown == set(PresetShown.model_fields)
    stages = re.search(r"seconds by stage: `([^`]*)`", DOCUMENT)
    assert stages is not None
    assert set(stages[1].split()) <= set(STAGES)
    assert f"at most {DRAIN_SECONDS} seconds" in DOCUMENT


def test_every_field_that_has_no_effect_is_in_the_table(workbench: Workbench) -> None:
    schema = create_app(workbench).openapi()
    bodies = {
        path: body["schema"]["$ref"]
        for path, operation in schema["paths"].items()
        for kind, body in operation.get("post", {}).get("requestBody", {}).get("content", {}).items()
        if kind in ("application/json", "multipart/form-data")
    }
    known = {path: fields for path, ref in bodies.items() if any(fields := without_effect(ref, schema))}
    told = {
        path.strip("`"): tuple({*re.findall(r"`(\w+)`", cell)} for cell in cells)
        for path, *cells in rows("| address | fields without effect |")
    }
    assert told == known


def without_effect(ref: str, schema: dict[str, Any]) -> tuple[set[str], set[str]]:
    """The fields of a body that have none, and those of what is in it."""
    refs, seen = [ref], dict[str, set[str]]()
    while refs:
        shape = schema["components"]["schemas"][(name := refs.pop()).rpartition("/")[2]]
        if name not in seen:
            fields = shape.get("properties", {}).items()
            seen[name] = {field for field, about in fields if about.get("description", "").startswith(ACCEPTED)}
            refs += re.findall(r'"\$ref": "([^"]+)"', json.dumps(shape))
    return seen[ref], set().union(*(fields for name, fields in seen.items() if name != ref))


async def test_the_example_is_a_request_that_is_served(client: httpx.AsyncClient) -> None:
    body = re.search(r"-d '(.*?)'", DOCUMENT, flags=re.S)
    assert body is not None
    asked = {**json.loads(body[1]), "model": "echo"}
    assert (await client.post("/v1/chat/completions", json=asked)).json()["jc1"]["session"] == "cats"
