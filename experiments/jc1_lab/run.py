"""Running a sweep and reporting it where people look: its folder, MLflow, a bar on standard error.

Knows the sinks and the bar. How a sweep is carried out is jc1_lab.sweep.runner's.
"""

from __future__ import annotations

from contextlib import ExitStack

from jc1.sync import LoopThread
from jc1_lab.records.results import SweepResult
from jc1_lab.sinks.folder import FolderSink
from jc1_lab.sinks.mlflow import MlflowSink
from jc1_lab.sweep.progress import Bar
from jc1_lab.sweep.runner import Progress, Sink, run
from jc1_lab.sweep.spec import Sweep


def run_sweep(
    sweep: Sweep, *, resume: bool = False, progress: bool | Progress = True, tracked: bool = True
) -> SweepResult:
    """Carry a sweep out, and wait for it; works inside a running event loop too. Ctrl-C keeps what was answered.

    Args:
        sweep: The sweep.
        resume: Go on where a sweep of this name was left.
        progress: Show a bar on standard error, or call this instead.
        tracked: Write it to MLflow, beside the sweep's folder.

    Returns:
        The result, as `result.json` in the folder has it.

    Raises:
        Conflict: The name is taken, or the sweep there is another one.
    """
    sinks: list[Sink] = [FolderSink()]
    if tracked:
        sinks.append(MlflowSink(sweep.settings))
    with ExitStack() as stack:
        report = stack.enter_context(Bar()) if progress is True else progress or (lambda *_: None)
        return stack.enter_context(LoopThread()).run(run(sweep, resume=resume, progress=report, sinks=sinks))
