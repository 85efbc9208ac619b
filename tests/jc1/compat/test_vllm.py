"""The mend of torchvision, each case in a fresh process with a stand-in package that fails as the real one does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy._core._multiarray_umath as any_compiled_module
import psutil
import pytest

# As torchvision 0.28.0 does: load the operators, forgive a failure, then describe them to torch all the same.
STAND_IN = """
import pathlib
import torch

try:
    torch.ops.load_library(str(pathlib.Path(__file__).parent / "_C.so"))
except OSError:
    pass

def describe():
    @torch.library.register_fake("torchvision::nms")
    def nms(dets, scores, iou_threshold): ...

    @torch.library.register_fake("torchvision::qnms")
    def qnms(dets, scores, iou_threshold): ...
"""


@pytest.fixture
def torchvision(tmp_path: Path) -> Path:
    """A folder for sys.path that holds a torchvision whose operators cannot load."""
    package = tmp_path / "site" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN + "describe()\n")
    (package / "_C.so").write_bytes(b"built for another machine")
    return package


def run(package: Path, code: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_an_unsound_torchvision_cannot_be_imported_without_the_mend(torchvision: Path) -> None:
    found = run(torchvision, "import torchvision")
    assert "operator torchvision::nms does not exist" in found.stderr


def test_the_mend_makes_it_importable_and_is_applied_once(torchvision: Path) -> None:
    code = (
        "from jc1.compat.vllm import torchvision_imports as mend; print(mend(), mend())\n"
        "import torchvision; print('in')"
    )
    found = run(torchvision, code)
    assert found.stdout.split() == ["True", "False", "in"], found.stderr


def test_a_sound_torchvision_is_left_alone(torchvision: Path) -> None:
    shutil.copy(any_compiled_module.__file__, torchvision / "_C.so")
    (torchvision / "__init__.py").write_text(STAND_IN)
    found = run(
        torchvision,
        "from jc1.compat.vllm import torchvision_imports; print(torchvision_imports()); import torchvision",
    )
    assert found.stdout.split() == ["False"], found.stderr
    assert found.returncode == 0, found.stderr


def test_an_absent_torchvision_costs_no_import_of_torch(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'torchvision' else find(name)\n"
        "from jc1.compat.vllm import torchvision_imports; print(torchvision_imports(), 'torch' in sys.modules)"
    )
    assert run(tmp_path / "none", code).stdout.split() == ["False", "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="AMX is asked for of Linux")
def test_asking_for_the_tiles_tells_whether_there_are_any() -> None:
    has = "amx_tile" in Path("/proc/cpuinfo").read_text()
    found = subprocess.run(
        [sys.executable, "-c", "from jc1.compat.vllm import amx_permitted; print(amx_permitted())"],
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == [str(has)], found.stderr


def test_vllm_is_told_of_the_mends_by_an_entry_point() -> None:
    from importlib.metadata import entry_points

    (found,) = [e for e in entry_points(group="vllm.general_plugins") if e.name == "jc1"]
    from jc1.compat.vllm import in_vllm

    assert found.load() is in_vllm


def test_a_process_of_vllms_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, os, time\n"
        "def child(pipe):\n"
        "    from jc1.engines import mend\n"
        "    mend.drafts_are_sampled = int\n"  # it imports vLLM, for seconds
        "    mend.in_vllm()\n"
        "    pipe.send((os.getpid(), os.getsid(0)))\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    os.environ['_JC1_VLLM_OWNER'] = str(os.getpid())\n"
        "    from jc1.engines import mend\n"
        "    mend.drafts_are_sampled = int\n"  # it imports vLLM, for seconds
        "    mend.in_vllm()\n"
        "    ours, theirs = multiprocessing.Pipe()\n"
        "    multiprocessing.get_context('spawn').Process(target=child, args=(theirs,)).start()\n"
        "    print(*ours.recv(), os.getsid(0), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child, its_session, session = map(int, process.stdout.readline().split())
    process.wait()
    process.stdout.close()
    assert its_session == child != session
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=20)
    assert not psutil.pid_exists(child)


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
