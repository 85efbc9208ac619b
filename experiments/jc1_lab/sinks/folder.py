"""What a sweep leaves in its folder for people and scripts: its result and its report.

    result.json   all that was found (jc1_lab.records.results)      report.html   the same to be read

Beside them lie the store (jc1_lab.records.store) and the memory that the sweep read, memory.db.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from jc1_lab.records.files import write_whole
from jc1_lab.sinks.report import html
from jc1_lab.sinks.texts import Texts

if TYPE_CHECKING:
    from jc1_lab.records.results import SweepResult
    from jc1_lab.records.store import SweepStore
    from jc1_lab.sweep.plan import Plan

REPORT = "report.html"


class FolderSink:
    """Writes both files once a sweep is done. Raises `StorageFull` where the disk is."""

    def begin(self, plan: Plan, created: str, store: SweepStore) -> str:
        return ""

    def fail(self, status: Literal["KILLED", "FAILED"]) -> None:
        """Do nothing: what was answered is in the store."""

    def finish(self, result: SweepResult, store: SweepStore) -> None:
        result.write(store.folder)
        write_whole(store.folder / REPORT, html(result, Texts.of(store)))
