"""Patches of foreign packages stand in `jc1/compat` alone, and each has a test that tells when it may go.

Read from the syntax tree: what is assigned to a name that an import brought. A patch of an object is not seen.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMPAT = ROOT / "jc1" / "compat"
OURS = {"jc1", "jc1_api", "jc1_ui", "jc1_lab", "experiments"}
IMPORTING = {("sys", "modules"), ("sys", "meta_path"), ("sys", "path_hooks")}
CHANGING = {"setdefault", "insert", "append", "update", "pop", "remove"}
OFFERED = ("pio.templates", "torch._inductor.config")
"""What a package offers to be set."""


def patches(source: str) -> Iterator[str]:
    """What a file changes of other packages, or of how they are imported."""
    parsed = ast.parse(source)
    foreign: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            packages = [alias.name.partition(".")[0] for alias in node.names]
            foreign |= {
                alias.asname or top
                for alias, top in zip(node.names, packages, strict=True)
                if top not in OURS and top not in sys.stdlib_module_names
            }
        elif isinstance(node, ast.ImportFrom) and node.module:
            top = node.module.partition(".")[0]
            if top not in OURS and top not in sys.stdlib_module_names and top != "__future__":
                foreign |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(parsed):
        changed: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            changed = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            changed = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
            changed = [ast.Attribute(node.args[0], "attribute", ast.Store())]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
            changed = [node.func.value] if chain(node.func.value)[:2] in IMPORTING else []
        for target in changed:
            names = chain(target)
            text = ast.unparse(target)
            if len(names) > 1 and (names[0] in foreign or names[:2] in IMPORTING) and not text.startswith(OFFERED):
                yield text


def chain(node: ast.expr) -> tuple[str, ...]:
    """`a.b["c"].d` as (a, b, d); empty where it does not begin with a name."""
    names: list[str] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
        elif isinstance(node, ast.Subscript):
            names.append("[]")
        else:
            return ()
        node = node.value
    return (node.id, *reversed(names))


def test_no_other_module_patches_a_foreign_package() -> None:
    modules = [p for top in ("jc1", "api", "ui", "experiments") for p in (ROOT / top).rglob("*.py")]
    assert len(modules) > 100
    offenders = {
        str(module.relative_to(ROOT)): found
        for module in modules
        if COMPAT not in module.parents and (found := [*patches(module.read_text(encoding="utf-8"))])
    }
    assert offenders == {}, "move it to jc1/compat, with a test that tells when it may go"


def test_every_patch_has_its_test() -> None:
    files = {path.name for path in COMPAT.glob("*.py")} - {"__init__.py"}
    assert files
    assert {f"test_{name}" for name in files} <= {path.name for path in Path(__file__).parent.glob("test_*.py")}


@pytest.mark.parametrize(
    "line",
    [
        "import gradio.utils\ngradio.utils.read = None",
        "from torch import nn\nnn.Module.to = None",
        "import vllm\nsetattr(vllm.envs, 'A', 1)",
        "import sys\nsys.modules['x'] = None",
        "import sys\nsys.modules.setdefault('x', None)",
        "import deepspeed\ndeepspeed.ops.table['x'] = False",
        "def f():\n    import numpy as np\n    np.load = None",
    ],
)
def test_a_patch_is_seen(line: str) -> None:
    assert [*patches(line)]


@pytest.mark.parametrize(
    "line", ["import os\nos.environ['A'] = 'b'", "import torch\nx = torch.zeros(1)\nx.data = 1", "self.a = 1"]
)
def test_what_is_no_patch_is_let_be(line: str) -> None:
    assert not [*patches(line)]
