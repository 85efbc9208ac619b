"""The command line: in this process, which is quick, or in one of its own, as a person or a script meets it.

Knows what `jc1` in a shell does with arguments, streams and errors. Knows no command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from unittest.mock import patch

from typer.testing import CliRunner

ENVIRONMENT = {"JC1_ENGINE": "echo", "COLUMNS": "160"}


class Done(Protocol):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def run(*args: str, stdin: str = "", **environment: str) -> Done:
    """Run `jc1` with the echo engine in this process: its `main`, with streams and arguments of its own."""
    from jc1.cli.main import main

    code = 0
    streams = CliRunner().isolation(input=stdin, env={**ENVIRONMENT, **environment})
    with streams as (out, err, _), patch.object(sys, "argv", ["jc1", *args]), patch.object(sys, "excepthook"):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        return subprocess.CompletedProcess(args, code, out.getvalue().decode(), err.getvalue().decode())


def run_process(*args: str, stdin: str = "", cwd: Path | None = None, **environment: str) -> Done:
    """Run `jc1` with the echo engine in a process of its own."""
    command = [sys.executable, "-m", "jc1", *args]
    variables = {**os.environ, **ENVIRONMENT, **environment}
    return subprocess.run(command, capture_output=True, text=True, input=stdin, cwd=cwd, env=variables)


def ok(done: Done) -> str:
    """Return what a command printed; fail where it failed."""
    assert done.returncode == 0, done.stderr
    return done.stdout
