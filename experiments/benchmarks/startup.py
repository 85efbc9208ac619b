"""What it costs to begin: `import jc1`, `jc1 --help`, `jc1 serve` until it is ready.

    python -m experiments.benchmarks.startup [--repeats 5]

Each is timed from the start of a fresh process. `import jc1` is told without the interpreter's own start, which is
printed beside it; the other two with it. The cost of a request is the subject of experiments.benchmarks.own_time.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from experiments.benchmarks.harness import main, seconds

ACCEPTANCE = {"import_jc1": 0.2, "help": 0.4, "serve_ready": 8.0}
"""Seconds, at most. The goal is half of each."""


def timed(command: list[str], repeats: int) -> list[float]:
    """Return the seconds of each of `repeats` runs, after one that warms the file cache."""
    run = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
    return [seconds(run) for _ in range(repeats + 1)][1:]


def serve_ready(home: Path) -> float:
    """Return the seconds from the start of `jc1 serve` until `/health/ready` answers 200."""
    command = [sys.executable, "-m", "jc1", "serve", "--port", "0"]
    environment = {**os.environ, "JC1_HOME": str(home)}
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = re.search(r"http://\S+?(?=/ui)", server.stdout.readline())
        if url is None:
            raise SystemExit("jc1 serve did not start: its messages are above")
        try:
            with urllib.request.urlopen(f"{url[0]}/health/ready", timeout=60):
                return time.perf_counter() - began
        finally:
            server.send_signal(signal.SIGTERM)


def measure(repeats: int = 5) -> dict[str, Any]:
    """Measure every figure in seconds: median and each run."""
    bare = statistics.median(timed([sys.executable, "-c", "pass"], repeats))
    runs = {
        "import_jc1": [run - bare for run in timed([sys.executable, "-c", "import jc1"], repeats)],
        "help": timed([sys.executable, "-m", "jc1", "--help"], repeats),
    }
    with tempfile.TemporaryDirectory() as home:
        serve_ready(Path(home))
        runs["serve_ready"] = [serve_ready(Path(home)) for _ in range(max(1, repeats // 2))]
    figures = {
        name: {
            "median_s": statistics.median(times),
            "runs_s": times,
            "acceptance_s": ACCEPTANCE[name],
            "goal_s": ACCEPTANCE[name] / 2,
            "met": statistics.median(times) <= ACCEPTANCE[name],
        }
        for name, times in runs.items()
    }
    return {"python_start_s": bare, **figures}


if __name__ == "__main__":
    main(measure)
