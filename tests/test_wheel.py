"""What a wheel carries is all that runs, and JC1 has no name of which a project has one of its own.

Knows the packages that are installed, and the commands. Other packages come from the environment of the tests.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"jc1": "jc1", "jc1_api": "api/jc1_api", "jc1_ui": "ui/jc1_ui", "jc1_lab": "experiments/jc1_lab"}
"""What is installed, and the folder of each in the checkout."""
GENERIC = ("api", "ui", "experiments", "training", "benchmarks", "tests", "tools")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (made,) = folder.glob("jc1-*.whl")
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with packages of the names that projects have, a space to search and a suite."""
    for name in GENERIC:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ImportError('this is the {name} of the project')\n")
    (tmp_path / "space.yaml").write_text("decoding: {temperature: [0, 1.4]}\n")
    asked = [{"prompt": f"say {i} amber", "reference": f"say {i} amber"} for i in range(40)]
    (tmp_path / "suite.jsonl").write_text("".join(json.dumps(item) + "\n" for item in asked))
    return tmp_path


SWEEP = ("sweep", "space.yaml", "--suite", "suite.jsonl", "--engine", "echo", "--concurrency", "0")


def answer(command: list[str], folder: Path) -> str:
    """What a command prints that runs in a folder."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def serve(command: list[str], folder: Path) -> str:
    """Serve until the page was seen; return the page."""
    command = [*command, "serve", "--engine", "echo", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            (address,) = re.findall(r"http://[\d.:]+", process.stdout.readline())[:1]
            with urllib.request.urlopen(f"{address}/ui/", timeout=60) as page:
                shown: str = page.read().decode()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
    return shown


def test_a_wheel_carries_what_runs_and_nothing_else(wheel: Path) -> None:
    carried = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        f"{package}/{path.relative_to(ROOT / folder)}"
        for package, folder in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert carried == sources
    for data in ("jc1/py.typed", "jc1/bundled/jc1-tiny/model.safetensors", "jc1_ui/assets/style.css"):
        assert data in carried
    assert [name for name in carried if name.startswith("jc1/database/migrations/versions/")]
    assert [name for name in carried if name.startswith("jc1_lab/") and name.endswith(".html")]


@pytest.mark.slow
def test_the_wheel_alone_serves_chats_and_sweeps(wheel: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkout can be seen: of the tests' environment only the folder of its packages is, without its .pth files."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(project / "venv")], check=True)
    python = str(project / "venv" / "bin" / "python")
    (site,) = (project / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    installing = ["install", "-q", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *installing], check=True, capture_output=True)

    found = answer(
        [python, "-c", "import jc1, jc1_api, jc1_ui, jc1_lab as l; print(jc1.__file__, l.__file__)"], project
    )
    assert found.split() == [str(site / "jc1" / "__init__.py"), str(site / "jc1_lab" / "__init__.py")]
    script = str(project / "venv" / "bin" / "jc1")
    assert "not told me" in answer([script, "chat", "What is my cat called?"], project), "the bundled model"
    assert "gradio" in serve([script], project)
    assert answer([script, *SWEEP], project)
    assert "space" in answer([script, "runs", "list"], project)


def test_a_project_may_have_an_api_a_ui_and_experiments_of_its_own(project: Path) -> None:
    """`python -m` puts the working folder before all others, as a notebook's kernel does."""
    module = [sys.executable, "-m", "jc1"]
    assert "28 prompts to search" in answer([*module, *SWEEP, "--dry-run"], project)
    assert "gradio" in serve(module, project)

    cell = "from jc1 import SyncPipeline\nfrom jc1_lab import Load, Sweep\nimport jc1_api.main, jc1_ui.app\nLoad()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, resources={"metadata": {"path": str(project)}}).execute()
    assert "concurrency" in str(notebook.cells[0].outputs)
