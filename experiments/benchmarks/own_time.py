"""JC1's own time for a request: the echo engine, memory off, so that nothing but JC1 is at work.

    python -m experiments.benchmarks.own_time [--requests 500]

Two sides in one run, interleaved: the whole pipeline, and the bare engine fed with the same prompt. Their difference
is what the request path costs. HTTP is not part of it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.benchmarks.harness import main
from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt
from jc1.messages import Message
from jc1.settings import Settings
from jc1.workbench import Workbench

ACCEPTANCE_MS = 2.0
TEXT = "Hello there."


async def measure(requests: int = 500) -> dict[str, Any]:
    """Measure the milliseconds of the whole request, of the engine alone, and of each stage."""
    whole, bare = [], []
    stages: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as home:
        async with Workbench.open(Settings(home=Path(home), engine="echo")) as workbench:
            messages = (Message.user(TEXT),)
            prompt = EnginePrompt(messages, tuple(workbench.engine.tokenize(messages)))
            for i in range(requests + 50):
                began = time.perf_counter()
                reply = await workbench.pipeline.chat(TEXT, memory="off")
                middle = time.perf_counter()
                async for _ in workbench.engine.generate(prompt, Decoding()):
                    pass
                ended = time.perf_counter()
                if i < 50:  # warm-up
                    continue
                whole.append(1e3 * (middle - began))
                bare.append(1e3 * (ended - middle))
                for stage, seconds in reply.trace.stages.items():
                    stages.setdefault(stage, []).append(1e3 * seconds)
    p50 = statistics.median(whole)
    return {
        "requests": requests,
        "whole_ms": {"p50": p50, "p95": statistics.quantiles(whole, n=20)[-1]},
        "engine_alone_ms": {"p50": statistics.median(bare)},
        "own_ms": {"p50": p50 - statistics.median(bare)},
        "stages_ms_p50": {stage: statistics.median(values) for stage, values in stages.items()},
        "acceptance_ms": ACCEPTANCE_MS,
        "met": p50 <= ACCEPTANCE_MS,
    }


if __name__ == "__main__":
    main(measure)
