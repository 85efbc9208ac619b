"""The patches of vLLM: what each does, and that vLLM 0.32 needs it. Those that start vLLM are slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

_ARCH_PRCTL, _ARCH_GET_XCOMP_PERM, _XTILEDATA = 158, 0x1022, 18
HAS_TILES = sys.platform == "linux" and "amx_tile" in Path("/proc/cpuinfo").read_text()


def run(code: str, **environment: str) -> str:
    """What the code prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_vllm_is_told_of_the_patches_by_an_entry_point() -> None:
    from importlib.metadata import entry_points

    (found,) = [e for e in entry_points(group="vllm.general_plugins") if e.name == "jc1"]
    from jc1.compat.vllm import in_vllm

    assert found.load() is in_vllm


# AMX


def test_asking_for_the_tiles_tells_whether_there_are_any() -> None:
    assert run("from jc1.compat.vllm import request_amx; print(request_amx())").split() == [str(HAS_TILES)]


@pytest.mark.engines
def test_asking_for_the_tiles_is_needed_as_long_as_vllm_does_not_ask() -> None:
    code = (
        "import ctypes, platform\n"
        "from vllm.platforms.cpu import CpuPlatform\n"
        "from jc1.compat.vllm import request_amx\n"
        "CpuPlatform.import_kernels()\n"  # the library that this CPU runs
        "def may_use_tiles():\n"
        "    mask = ctypes.c_uint64()\n"
        "    if platform.machine() == 'x86_64':\n"
        f"        ctypes.CDLL(None).syscall({_ARCH_PRCTL}, {_ARCH_GET_XCOMP_PERM}, ctypes.byref(mask))\n"
        f"    return bool(mask.value >> {_XTILEDATA} & 1)\n"
        "print(may_use_tiles(), request_amx(), may_use_tiles())"
    )
    before, *after = run(code).split()
    assert before == "False", "vLLM asks by itself: request_amx can go"
    assert after == [str(HAS_TILES)] * 2, "where the CPU has no tiles nothing is asked for, and vLLM is used without"


# sampling with drafts


def test_each_drafted_token_gets_the_value_of_its_request() -> None:
    import torch

    from jc1.compat.vllm import _expand

    for values, expected in (
        (torch.tensor([0.7, 0.0, 1.3]), [0.7, 0.7, 1.0, 1.3]),
        (torch.tensor([5, 0, 9], dtype=torch.int32), [5, 5, 1, 9]),
    ):
        output = values.new_empty(4)
        _expand(output, values, torch.tensor([2, 3, 4]), 0, 1, MAX_NUM_TOKENS=32)
        assert output.tolist() == pytest.approx(expected)


@pytest.mark.engines
def test_a_repetition_of_our_own_is_needed_as_long_as_vllms_kernel_fills_a_copy() -> None:
    code = (
        "import torch\n"
        "from vllm.platforms.cpu import CpuPlatform\n"
        "CpuPlatform.import_kernels()\n"  # the library that this CPU runs
        "from vllm.utils.cpu_triton_utils import _expand_kernel_impl\n"
        "output = torch.full((4,), -1.0)\n"
        "_expand_kernel_impl(output, torch.tensor([0.7, 0.0, 1.3]), torch.tensor([2, 3, 4]), 0, 1)\n"
        "print(output.tolist())"
    )
    assert run(code, VLLM_PLUGINS="").strip() == "[-1.0, -1.0, -1.0, -1.0]", "vLLM fills it: sample_drafts can go"


# being left behind


def test_a_process_of_vllms_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, os, time\n"
        "def child(pipe):\n"
        "    from jc1.compat import vllm\n"
        "    vllm.sample_drafts = int\n"  # it imports vLLM, for seconds
        "    vllm.in_vllm()\n"
        "    pipe.send((os.getpid(), os.getpgrp(), os.getsid(0)))\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    os.environ['_JC1_VLLM_OWNER'] = str(os.getpid())\n"
        "    from jc1.compat import vllm\n"
        "    vllm.sample_drafts = int\n"  # it imports vLLM, for seconds
        "    vllm.in_vllm()\n"
        "    ours, theirs = multiprocessing.Pipe()\n"
        "    multiprocessing.get_context('spawn').Process(target=child, args=(theirs,)).start()\n"
        "    print(*ours.recv(), os.getpgrp(), os.getsid(0), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child, its_group, its_session, group, session = map(int, process.stdout.readline().split())
    process.wait()
    process.stdout.close()
    assert its_group == child != group, "Ctrl-C would reach it too"
    assert its_session == session, "the cores would be shared between the two, not between their threads"
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=20)
    assert not psutil.pid_exists(child)


SURVIVAL_SECONDS = 5.0
UNPATCHED = """
import os, sys
from jc1.engines.settings import EngineSettings
from jc1.engines.vllm import start
start.in_vllm = lambda: None
from jc1.models import resolve
if __name__ == "__main__":
    settings = EngineSettings(kv_cache_gib=0.25, engine_args={"enforce_eager": True})
    llm = start.start(resolve("jc1-tiny").path, settings, None)
    (core,) = llm.engine_core.resources.engine_manager.processes
    print(core.pid, os.getpgid(core.pid) == os.getpgrp(), flush=True)
    sys.stdin.readline()
    calls = []
    end = type(llm).shutdown
    type(llm).shutdown = lambda self, *arguments: (calls.append(arguments), end(self, *arguments))
    context = llm.engine_core.ctx
    llm.shutdown(5.0)
    llm.__del__()
    print(len(calls), context.closed, flush=True)
"""


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_the_patches_of_vllms_end_are_needed_as_long_as_it_ends_so(tmp_path: Path, killed: bool) -> None:
    script = tmp_path / "unpatched.py"
    script.write_text(UNPATCHED)
    pipe = subprocess.PIPE
    # Without plugins vLLM does not call JC1 in the processes that it starts.
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=pipe, stdout=pipe, text=True, env={**os.environ, "VLLM_PLUGINS": ""}
    )
    assert process.stdin is not None
    assert process.stdout is not None
    pid, same_session = process.stdout.readline().split()
    core = psutil.Process(int(pid))
    try:
        if killed:
            assert same_session == "True", "Ctrl-C no longer reaches it"
            process.send_signal(signal.SIGKILL)
            process.wait()
            gone, _ = psutil.wait_procs([core], timeout=SURVIVAL_SECONDS)
            assert not gone, "vLLM ends with its parent: end_with_parent can go"
        else:
            process.stdin.write("\n")
            process.stdin.flush()
            shutdowns, closed = process.stdout.readline().split()
            assert shutdowns == "2", "it shuts down once: shut_down_once can go"
            assert closed == "False", "it closes its sockets: close_sockets can go"
            process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        for left in [core] if core.is_running() else []:
            left.kill()
