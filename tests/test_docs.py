"""The examples of README.md and docs/ are run as they are printed, with the bundled model behind a real server.

Knows the pages and what a reader has beside them: files to read, a sweep that was made. Of what takes minutes or ends
with Ctrl-C only the arguments are checked. What the examples show of JSON and YAML is held against the code where that
is tested.
"""

from __future__ import annotations

import doctest
import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.support import pdfs
from tests.support.cli import run
from tests.support.sweep_results import sweep_result, write_folder

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
BLOCKS = [
    (name, language, code)
    for name, text in PAGES.items()
    for language, code in re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.M | re.S)
]
STORY = ("python", "from openai"), ("python", "SyncPipeline"), ("sh", "curl"), ("sh", "jc1 chat")
"""The README's story: what is said in one place is known in the others."""
ADDRESS = "127.0.0.1:8000"
SHOWN = {
    "api.md": {"json"},
    "architecture.md": {""},
    "memory.md": {""},
    "spaces.md": {"yaml"},
    "speech.md": {""},
    "suites.md": {"jsonl"},
    "vision.md": {""},
}
"""Blocks that are no commands: drawings, and examples that are held against the code in the tests of their subject."""
ARGUMENTS_ONLY = re.compile(r"jc1 (serve|doctor)|mlflow server|python -m experiments\.")
"""What takes minutes, or as long as one lets it."""


def blocks(language: str, *pages: str) -> list[Any]:
    """The blocks of a language that are no part of the README's story, as parameters with the page's name."""
    return [
        pytest.param(code, id=f"{name}: {code.splitlines()[0][:60]}")
        for name, written, code in BLOCKS
        if written == language and name not in pages
        if name != "README.md" or not any(written == kind and text in code for kind, text in STORY)
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server of its own; gives the environment of a shell beside it and its address."""
    home = tmp_path_factory.mktemp("readme")
    environment = {**os.environ, "JC1_HOME": str(home), "JC1_PORT": "0"}
    command = [sys.executable, "-m", "jc1", "serve"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=home)
    assert process.stdout is not None
    try:
        (address,) = re.findall(r"http://(\S+)/ui", process.stdout.readline())
        with urllib.request.urlopen(f"http://{address}/health/ready", timeout=60) as ready:
            assert ready.status == 200
        yield {**environment, "ADDRESS": address}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def beside(server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A folder with what the pages speak of, and a home with the sweeps that they name; gives the server's address."""
    monkeypatch.chdir(tmp_path)
    for name in ("experiments", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "handbook.md").write_text("# Setup\n\nRun make.\n")
    (tmp_path / "report.pdf").write_bytes(pdfs.written("A walrus eats clams."))
    (tmp_path / "notes.txt").write_text("Feed the walrus.\n")
    for recording in ("meeting.m4a", "question.wav", "talk.webm", "question.webm"):  # their content tells what they are
        (tmp_path / recording).write_bytes((ROOT / "tests" / "data" / "jfk.ogg").read_bytes())
    receipt = Image.new("RGB", (640, 148), "white")
    ImageDraw.Draw(receipt).text((38, 31), "Harbour Cafe\nTotal: 17.45 EUR", fill="black", font_size=32)
    receipt.save(tmp_path / "receipt.png")
    for name in ("first", "warm-nights", "NAME", "OTHER"):
        write_folder(sweep_result(name=name), tmp_path / "home" / "sweeps" / name)
    return server


def example(language: str, contains: str) -> str:
    (found,) = [code for name, kind, code in BLOCKS if name == "README.md" and kind == language and contains in code]
    return found


def shell(code: str, environment: dict[str, str]) -> str:
    code = code.replace(ADDRESS, environment["ADDRESS"]).replace(".venv/bin/jc1", f"{sys.executable} -m jc1")
    done = subprocess.run(["bash", "-euc", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(code: str, environment: dict[str, str]) -> str:
    code = code.replace(ADDRESS, environment["ADDRESS"])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_the_readmes_examples_tell_one_story(server: dict[str, str]) -> None:
    told = json.loads(shell(example("sh", "curl"), server))
    assert "Ada" in told["choices"][0]["message"]["content"]
    asked = python(example("python", "from openai"), server)
    assert "Ada" in asked.splitlines()[0]
    assert "prefill" in asked
    said = shell(example("sh", "jc1 chat"), server).splitlines()
    assert "Ada" in said[1]
    assert "My cat is called Ada." in "\n".join(said[2:])
    assert "Ada" in python(example("python", "SyncPipeline"), server).splitlines()[0]


@pytest.mark.parametrize("code", [*blocks("sh"), *blocks("", *SHOWN)])
def test_the_commands_of_a_page_work(code: str, beside: dict[str, str]) -> None:
    for line in code.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if ARGUMENTS_ONLY.search(line):
            arguments = [*arguments, "--help"]
        elif arguments[:1] == ["sweep"]:
            arguments = [*arguments, "--dry-run", "--engine", "echo"]
        if program.endswith("jc1"):
            done = run(*arguments)
        else:
            command = _elsewhere(program, arguments, beside["ADDRESS"])
            root = ROOT if program in ("make", "python") else None
            done = subprocess.run(command, capture_output=True, text=True, cwd=root)
        assert done.returncode == 0, (line, done.stderr)
        assert '"error"' not in done.stdout, (line, done.stdout)


def _elsewhere(program: str, arguments: list[str], address: str) -> list[str]:
    """A command that is not JC1's, as it can be run here: `make` only says what it would do."""
    if program == "curl":
        return [program, *(argument.replace(ADDRESS, address) for argument in arguments)]
    if program == "make":
        return [program, "--dry-run", *arguments]
    if program == "python":
        return [sys.executable, *arguments]
    name, equals, _ = program.partition("=")
    if equals:  # a variable for this command alone
        assert name.isupper()
        return _elsewhere(arguments[0], arguments[1:], address)
    return [str(Path(sys.executable).with_name(Path(program).name)), *arguments]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_of_a_page_runs(code: str, beside: dict[str, str]) -> None:
    variables = {**os.environ, "JC1_ENGINE": "echo", "PLOTLY_RENDERER": "json"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_block_is_run_or_held_against_the_code() -> None:
    run_here = {"sh", "python"}
    others = {(name, language) for name, language, _ in BLOCKS if language not in run_here and name != "README.md"}
    toml = [code for _, language, code in BLOCKS if language == "toml"]
    assert others <= {(name, language) for name, languages in SHOWN.items() for language in languages} | {
        (name, "toml") for name in PAGES
    }
    assert all(tomllib.loads(code) for code in toml)


def test_the_examples_in_docstrings_say_what_is_true() -> None:
    tried = 0
    for folder, prefix in (("jc1", ""), ("api", "api"), ("ui", "ui"), ("experiments/jc1_lab", "experiments")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                parts = path.relative_to(ROOT / prefix).with_suffix("").parts
                result = doctest.testmod(importlib.import_module(".".join(parts).removesuffix(".__init__")))
                assert result.failed == 0, path
                tried += result.attempted
    assert tried >= 3
