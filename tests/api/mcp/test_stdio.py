"""`jc1 mcp` in a process of its own, by the client of the package `mcp`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.session import IncomingMessage
from mcp.client.stdio import stdio_client

from jc1 import Settings, Workbench
from jc1.memory.base import NewRecord
from tests.support.cli import ENVIRONMENT, Run


async def test_an_agent_that_starts_jc1_acts_for_the_owner_it_names(home: Path, tmp_path: Path) -> None:
    stores = Workbench.stores(Settings(home=home, engine="echo"))
    (bobs,) = stores.memory.add("bob", [NewRecord("My dog is called Rex.")])
    await stores.close()
    variables = {name: value for name, value in os.environ.items() if name.startswith(("JC1_", "HF_", "PYTHON"))}
    process = StdioServerParameters(
        command=sys.executable,
        args=["-m", "jc1", "mcp", "--owner", "ann"],
        env={**variables, **ENVIRONMENT, "JC1_LOG_LEVEL": "debug"},
    )
    strange: list[IncomingMessage] = []

    async def keep(message: IncomingMessage) -> None:
        strange.append(message)

    with (tmp_path / "log").open("w+") as log:
        async with Client(stdio_client(process, errlog=log), message_handler=keep) as client:
            assert client.protocol_version == "2026-07-28"
            added = await client.call_tool("memory_add", {"text": "My cat is called Ada."})
            listed = await client.list_resources()
            assert [it.name for it in listed.resources] == [added.structured_content["id"]]
            with pytest.raises(MCPError) as error:
                await client.read_resource(f"jc1://memories/{bobs.id}")
            assert error.value.data["code"] == "record_not_found"
            said = await client.call_tool("chat", {"message": "Hello.", "session": "s"})
            assert said.structured_content["text"] == "Hello."
        log.seek(0)
        assert "Traceback" not in log.read()
    assert strange == []
    stores = Workbench.stores(Settings(home=home, engine="echo"))
    assert [turn.user for turn in stores.sessions.history("ann", "s")] == ["Hello."]
    await stores.close()


def test_what_keeps_it_from_starting_is_told_on_standard_error(jc1: Run) -> None:
    done = jc1("mcp", "--owner", " ")
    assert (done.returncode, done.stdout) == (1, "")
    assert "[invalid_request]" in done.stderr
