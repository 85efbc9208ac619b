"""DeepSpeed would build its shared-memory operator; with the patch it does not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.engines
def test_it_is_needed_as_long_as_deepspeed_would_build_the_operator() -> None:
    code = (
        "import deepspeed, importlib\n"
        "comm = importlib.import_module('deepspeed.comm.torch')\n"
        "from jc1.compat.deepspeed import skip_shared_memory\n"
        "builds = []\n"
        "builder = deepspeed.accelerator.get_accelerator().create_op_builder('ShareMemCommBuilder')\n"
        "type(builder).load = lambda self, *_: builds.append(self.NAME)\n"
        "comm.build_shm_op()\n"
        "skip_shared_memory()\n"
        "comm.build_shm_op()\n"
        "print(builds)"
    )
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "DS_BUILD_OPS": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1:] == ["['deepspeed_shm_comm']"], done.stderr
