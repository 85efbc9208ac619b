"""A sweep's folder: its plan, what was done of it, and what came of it.

    plan.json      what was asked for, and when       rows.jsonl     each answer as it came (experiments/sweeps/rows.py)
    prompts.json   the prompts, and what is right     table.jsonl    the same rows in order, once all are there
    memory.db      the memory that it reads           latency.json   how long the best took
    traces.jsonl   some requests' traces              result.json    what came of it (experiments/sweeps/results.py)
    mlflow.json    the run that tells of it           report.html    the same to be read

Knows how files are written whole, and that a resumed sweep must have the plan that it was begun with. Knows nothing
else of what is in them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from experiments.sweeps.plan import Plan
from jc1.errors import Conflict, StorageFull


class SweepFolder:
    """The folder at `path`, which `open` makes. What writes raises `StorageFull` where the disk is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, plan: Plan, *, resume: bool) -> str:
        """Make the folder for a plan, or find it again; returns when the sweep was begun, in ISO 8601.

        Raises `Conflict` where there is one and it is not to be resumed, none and it is, or where its plan was another.
        """
        kept = self.read("plan.json")
        if kept is None:
            if resume:
                raise Conflict(
                    f"There is no sweep {plan.name!r} to resume: leave out --resume to begin it.", param="name"
                )
            with _room():
                self.path.mkdir(parents=True, exist_ok=True)
            created = datetime.now(UTC).isoformat(timespec="seconds")
            self.write("plan.json", {"created": created, "digest": plan.digest, "plan": plan.model_dump(mode="json")})
            return created
        if not resume:
            raise Conflict(
                f"There is a sweep {plan.name!r}: continue it with --resume, or choose another --name.", param="name"
            )
        if kept["digest"] != plan.digest:
            now = plan.model_dump(mode="json")
            changed = [name for name in now if kept["plan"].get(name) != now[name]]
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
        beside = self.path / f"{name}.part"
        with _room():
            beside.write_text(text, encoding="utf-8")
            beside.replace(self.path / name)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull("The disk is full: free some space, then continue the sweep with --resume.") from None
