"""The import rules: who may import whom, what stays light, what is never used.

Reads the source as a syntax tree, so a rule holds in code that no test runs.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"jc1": "jc1", "jc1_api": "api/jc1_api", "jc1_ui": "ui/jc1_ui", "jc1_lab": "experiments/jc1_lab"}
"""The packages that are installed, and where each lies."""
PACKAGES = (*FOLDERS, "experiments")
MODULES = [
    p.relative_to(ROOT) for top in ("jc1", "api", "ui", "experiments") for p in sorted((ROOT / top).rglob("*.py"))
]

NEVER_IMPORTS = {
    "jc1": {"jc1_api", "jc1_ui", "jc1_lab", "experiments"},
    "jc1_lab": {"jc1_api", "jc1_ui", "experiments"},
    "jc1_ui": {"jc1_api", "experiments"},
    "jc1_api": {"jc1_ui", "experiments"},
    "experiments": {"jc1_ui"},
}
# They put the parts together, so they may look sideways, inside functions only.
COMPOSITION = {Path("api/jc1_api/main.py"), Path("jc1/cli/main.py")}


def package(module: Path) -> str:
    """The package that a file belongs to; `experiments` for what is not installed."""
    return next((name for name, folder in FOLDERS.items() if module.is_relative_to(folder)), "experiments")


HEAVY = {
    "alembic", "av", "chromadb", "ctranslate2", "cv2", "deepspeed", "faiss", "fastapi", "faster_whisper", "gradio",
    "httpx", "mlflow", "num2words", "numpy", "onnxruntime", "openai", "opentelemetry", "openvino", "pandas", "piper",
    "plotly", "pydantic", "rapidocr", "redis", "sentence_transformers", "sqlalchemy", "starlette", "tokenizers",
    "torch", "transformers", "uvicorn", "vllm",
}  # fmt: skip
# They run code that comes in data, or read data that can run code.
UNSAFE_MODULES = {"cloudpickle", "dill", "marshal", "pickle", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "yaml.load", "joblib.load"}


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), filename=str(module))


def imports(node: ast.AST, *, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Every imported top-level name, and whether a function holds the import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name.split(".")[0], inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
            yield child.module.split(".")[0], inside
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(child, inside=inside or function)


def test_every_module_says_first_what_it_knows_and_what_it_does_not() -> None:
    assert [str(module) for module in MODULES if not ast.get_docstring(tree(module))] == []


def test_packages_import_only_downwards() -> None:
    """See CONTRIBUTING.md; those that put the parts together may look sideways, inside functions only."""
    upwards = {
        f"{module} imports {name}"
        for module in MODULES
        for name, inside in imports(tree(module))
        if name in NEVER_IMPORTS[package(module)] and not (inside and module in COMPOSITION)
    }
    assert not upwards


def test_nothing_runs_code_that_comes_in_data() -> None:
    assert [risk for module in MODULES for risk in risks(module)] == []


def risks(module: Path) -> Iterator[str]:
    """Imports, calls and arguments that let data run as code."""
    parsed = tree(module)
    yield from (f"{module} imports {name}" for name, _ in imports(parsed) if name in UNSAFE_MODULES)
    for node in ast.walk(parsed):
        if isinstance(node, ast.Call):
            where, name = f"{module}:{node.lineno}", ast.unparse(node.func)
            if name in UNSAFE_CALLS:
                yield f"{where} calls {name}"
            for argument in node.keywords:
                if argument.arg in {"trust_remote_code", "allow_pickle"} and ast.unparse(argument.value) != "False":
                    yield f"{where} sets {argument.arg}"


def test_the_package_and_its_command_line_start_light() -> None:
    code = "import sys, jc1, jc1.cli.main; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not HEAVY & set(loaded.stdout.split())


OPTIONAL = (
    "imports torchvision",
    "imports vllm",
    "imports deepspeed",
    "imports pynvml",
    "imports redis",
    "imports chromadb",
    "imports opentelemetry",
)
"""What is looked for, and done without or asked for by name."""


def declared() -> list[Requirement]:
    """Every direct dependency in pyproject.toml, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    return [Requirement(line) for line in lines]


def test_every_direct_dependency_is_bounded_on_both_sides() -> None:
    """From the version tested to before the next that may break us, or exactly one."""
    unbounded = [
        str(requirement)
        for requirement in declared()
        if {specifier.operator for specifier in requirement.specifier} not in ({">=", "<"}, {"=="})
    ]
    assert unbounded == []


def undeclared(modules: Iterable[Path], requirements: Iterable[Requirement]) -> set[str]:
    """Third-party imports of the modules that none of the requirements brings."""

    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    known = {normal(requirement.name) for requirement in requirements}
    providers = packages_distributions()
    return {
        f"{module} imports {name}"
        for module in modules
        for name, _ in imports(tree(module))
        if name not in sys.stdlib_module_names and name not in PACKAGES
        if not known & {normal(provider) for provider in providers.get(name, [name])}
    }


def test_every_third_party_import_is_a_declared_dependency() -> None:
    assert not undeclared(MODULES, declared())


def test_what_make_run_needs_is_in_the_default_set() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = [module for module in MODULES if package(module) in ("jc1", "jc1_api", "jc1_ui")]
    default = [Requirement(line) for line in project["dependencies"]]
    assert installed
    assert not {found for found in undeclared(installed, default) if not found.endswith(OPTIONAL)}


def modules() -> dict[str, Path]:
    """Return the files of the installed packages, by the name under which each is imported."""
    names: dict[str, Path] = {}
    for module in MODULES:
        if (name := package(module)) in FOLDERS:
            parts = (name, *module.relative_to(FOLDERS[name]).with_suffix("").parts)
            names[".".join(parts).removesuffix(".__init__")] = module
    return names


def imported(node: ast.AST, known: Iterable[str]) -> Iterator[str]:
    """Yield the modules that the code imports, in functions too; what only type checkers read is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield from imported(other, known)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            full = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (name if name in known else child.module for name in full)
        else:
            yield from imported(child, known)


def import_graph() -> dict[str, set[str]]:
    """Return what each module of the installed packages imports of them."""
    known = modules()
    return {name: {*imported(tree(path), known)} & {*known} - {name} for name, path in known.items()}


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(import_graph()).prepare()  # raises CycleError, which names the circle


LAB_LAYERS = (
    {"records", "dialogues", "environment"},
    {"statistics", "suites", "scoring", "spaces", "latency"},
    {"sweep"},
    {"sinks", "plots", "runs", "run", "promotion"},
    {"cli"},
)
"""The lab's parts: each imports those before it, and of its own layer the last two may import each other."""


def test_the_lab_is_built_in_layers() -> None:
    level = {name: place for place, layer in enumerate(LAB_LAYERS) for name in layer}
    wrong = []
    for module, names in import_graph().items():
        for name in names:
            if module.startswith("jc1_lab.") and name.startswith("jc1_lab."):
                own, other = module.split(".")[1], name.split(".")[1]
                beside = own == other or level[own] >= len(LAB_LAYERS) - 2
                if level[other] > level[own] or (level[other] == level[own] and not beside):
                    wrong.append(f"{module} imports {name}")
    assert wrong == []
