"""What is the DeepSpeed engine's own: sharding, ranks that die, ports, orphans, refusals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file

from jc1.decoding import Decoding
from jc1.doctor import examine
from jc1.engines.base import EnginePrompt
from jc1.engines.deepspeed.engine import DeepSpeedEngine
from jc1.engines.settings import EngineSettings
from jc1.errors import EngineFailed, EngineUnavailable, InvalidSettings
from jc1.messages import Message
from jc1.settings import Settings
from tests.jc1.engines.conftest import LOCKED, ThreadedEngine, write_tokenizer

CAT = (Message.user("My cat is called Ada."),)
LONG = Decoding(max_tokens=1500, min_tokens=1500)

pytestmark = pytest.mark.engines


async def text_of(engine: ThreadedEngine, **decoding: Any) -> str:
    async with aclosing(engine.generate(EnginePrompt(CAT), Decoding.parse(decoding))) as steps:
        return "".join([step.text async for step in steps])


def ranks_of(parent: int) -> list[psutil.Process]:
    """The rank processes below a process."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if (
                "jc1.engines.deepspeed.rank" in process.cmdline()
                and "deepspeed.launcher.launch" not in process.cmdline()
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_each_rank_holds_its_share_of_the_parameters(deepspeed_tiny: ThreadedEngine) -> None:
    first, second = deepspeed_tiny.inner.shards
    assert first == second
    assert first["held"] * 2 == first["total"]
    assert first["bytes"] == first["held"] * 4


def test_doctor_says_beforehand_what_each_rank_will_hold(deepspeed_tiny: ThreadedEngine, tmp_path: Path) -> None:
    settings = Settings(engine="deepspeed", ranks=2, home=tmp_path)
    found = {c["check"]: c for c in examine(settings, probe=lambda statements: "")["checks"]}
    held, total = deepspeed_tiny.inner.shards[0]["held"], deepspeed_tiny.inner.shards[0]["total"]
    assert found["ranks"]["finding"] == f"2: each holds {held:,} of the {total:,} parameters of jc1-tiny"


async def test_cancelling_frees_the_ranks_within_a_second(deepspeed_tiny: ThreadedEngine) -> None:
    stream = deepspeed_tiny.generate(EnginePrompt(CAT), LONG)
    await anext(stream)
    since = time.perf_counter()
    await stream.aclose()
    assert time.perf_counter() - since < 1
    assert deepspeed_tiny.active == 0
    assert (await text_of(deepspeed_tiny)).startswith("Noted")


@pytest.mark.parametrize("which", [0, 1])
async def test_a_rank_that_dies_ends_the_others_and_the_next_request_starts_them_anew(
    deepspeed_tiny: ThreadedEngine, which: int
) -> None:
    await text_of(deepspeed_tiny)
    ranks = deepspeed_tiny.inner._ranks
    before = sorted(ranks_of(ranks._process.pid), key=lambda process: process.pid)
    stream = deepspeed_tiny.generate(EnginePrompt(CAT), LONG)
    await anext(stream)
    before[which].send_signal(signal.SIGKILL)
    since = time.perf_counter()
    with pytest.raises(EngineFailed, match="A rank of the deepspeed engine died"):
        async for _ in stream:
            pass
    assert time.perf_counter() - since < 15
    _, alive = psutil.wait_procs(before, timeout=5)
    assert alive == []
    assert os.path.basename(ranks._folder) not in os.listdir(os.path.dirname(ranks._folder))
    # The watcher notices the death too, and ends the same ranks once more.
    await deepspeed_tiny.there(ranks.end())
    assert (await text_of(deepspeed_tiny)).startswith("Noted")
    assert deepspeed_tiny.healthy


def test_a_build_lock_left_behind_holds_nothing_up(deepspeed_tiny: ThreadedEngine) -> None:
    """DeepSpeed's own operators wait for ever for a lock that a killed build left; here nothing is built."""
    left = Path(os.environ["TORCH_EXTENSIONS_DIR"])
    assert {lock.parent.name for lock in left.glob("*/*")} == set(LOCKED)
    assert deepspeed_tiny.healthy


def test_ranks_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text(
        "import asyncio\n"
        "from jc1.engines.settings import EngineSettings\n"
        "from jc1.engines.deepspeed.engine import DeepSpeedEngine\n"
        "async def main():\n"
        "    await DeepSpeedEngine(EngineSettings(ranks=2)).start()\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    shared_before = set(os.listdir("/dev/shm"))
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout.readline() == b"ready\n"
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(ranks_of(process.pid)) == 2
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    _, alive = psutil.wait_procs(below, 30)
    assert alive == []
    assert set(os.listdir("/dev/shm")) <= shared_before


async def test_a_taken_port_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        engine = DeepSpeedEngine(EngineSettings(ranks=1, engine_args={"master_port": port}))
        with pytest.raises(EngineUnavailable, match=f"Port {port}"):
            await engine.start()
    assert not engine.healthy


async def test_more_ranks_than_cores_are_refused() -> None:
    with pytest.raises(InvalidSettings, match=r"ranks = 64 and there are \d+ CPU cores"):
        await DeepSpeedEngine(EngineSettings(ranks=64)).start()


async def test_a_model_that_cannot_be_loaded_is_told_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    save_file({"weight": np.zeros(1)}, tmp_path / "model.safetensors")
    write_tokenizer(tmp_path)
    engine = DeepSpeedEngine(EngineSettings(model=str(tmp_path), ranks=1))
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with pytest.raises(EngineUnavailable, match="could not be started"):
        await engine.start()
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


async def test_without_deepspeed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jc1.engines.deepspeed.engine.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'jc1\[deepspeed\]'"):
        await DeepSpeedEngine(EngineSettings()).start()
