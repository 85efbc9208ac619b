"""A sweep's folder: its plan, what was done of it, and what came of it.

    plan.json      what was asked for, and when       rows.jsonl     each answer as it came (jc1_lab.records.rows)
    prompts.json   the prompts, and what is right     trials.jsonl   the settings behind each trial's number
    memory.db      the memory that it reads           table.jsonl    the rows in order, once all are there
    traces.jsonl   some requests' traces              latency.json   how long the best took, under which load
    seconds.json   how long the phases took           result.json    what came of it (jc1_lab.records.results)
    mlflow.json    the run that tells of it           report.html    the same to be read

Knows how files are written whole, and that a resumed sweep must have the plan that it was begun with. Knows nothing
else of what is in them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from jc1.errors import Conflict
from jc1_lab.sweep.lines import room, write_whole
from jc1_lab.sweep.plan import Plan


class SweepFolder:
    """The folder at `path`, which `open` makes. What writes raises `StorageFull` where the disk is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, name: str, *, resume: bool) -> None:
        """Make the folder, or find it again. Raises `Conflict` where there is a sweep and it is not to be resumed, or
        none and it is."""
        there = (self.path / "plan.json").exists()
        if resume and not there:
            raise Conflict(f"There is no sweep {name!r} to resume: leave out --resume to begin it.", param="name")
        if there and not resume:
            raise Conflict(
                f"There is a sweep {name!r}: continue it with --resume, or choose another --name.", param="name"
            )
        with room():
            self.path.mkdir(parents=True, exist_ok=True)

    def open(self, plan: Plan, *, resume: bool) -> str:
        """Put the plan there, or hold it against the one that is; returns when the sweep was begun, in ISO 8601.

        Another process must not be in between: call it while the rows are open. Raises `Conflict` where the plan was
        another, and as `make` does.
        """
        self.make(plan.name, resume=resume)
        kept = self.read("plan.json")
        if kept is None:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            self.write("plan.json", {"created": created, "plan": plan.model_dump(mode="json")})
            return created
        asked = plan.asked()
        if changed := [name for name in asked if kept["plan"].get(name) != asked[name]]:
            raise Conflict(
                f"The sweep {plan.name!r} was begun with another {', '.join(changed)}: resume it with what it had "
                "then, or choose another --name.",
                param="name",
            )
        return str(kept["created"])

    def read(self, name: str) -> Any:
        """What JSON the file holds; `None` where there is none."""
        try:
            return orjson.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None

    def write(self, name: str, value: Any) -> None:
        """Put JSON into a file, whole or not at all."""
        self.write_text(name, orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())

    def write_text(self, name: str, text: str) -> None:
        """Put text into a file, whole or not at all."""
        write_whole(self.path / name, [text.encode()])
