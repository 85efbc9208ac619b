"""The wire between the engine and rank 0, without DeepSpeed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from jc1.engines.deepspeed.launcher import RankDied, Ranks, read_message
from jc1.engines.settings import EngineSettings

SENDER = """
import sys
from jc1.engines.deepspeed.rank import Wire

wire = Wire(sys.argv[1])
wire.send({"number": 1, "steps": ["x" * 2**25]})
wire.send({"number": 1, "done": True})
"""


async def test_a_message_may_be_longer_than_a_stream_lets_a_line_be(tmp_path: Path) -> None:
    received: asyncio.Queue[object] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            received.put_nowait(await read_message(reader))
        writer.close()

    async with await asyncio.start_unix_server(accept, tmp_path / "rank0"):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", SENDER, str(tmp_path / "rank0"))
        assert await received.get() == {"number": 1, "steps": ["x" * 2**25]}
        assert await received.get() == {"number": 1, "done": True}
        await process.wait()


@pytest.mark.parametrize("cut", [b"", b"\0" * 7, b"\0" * 7 + b"\x09" + b'{"done"'])
async def test_half_a_message_means_that_the_rank_died(tmp_path: Path, cut: bytes) -> None:
    ranks = Ranks(tmp_path, EngineSettings(), [0], {})
    ranks._reader = asyncio.StreamReader()
    ranks._reader.feed_data(cut)
    ranks._reader.feed_eof()
    with pytest.raises(RankDied):
        await ranks.receive()
    await ranks.end()
