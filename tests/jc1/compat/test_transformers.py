"""Importing what generates brings no scikit-learn with it, and would without the patch."""

from __future__ import annotations

import subprocess
import sys


def test_it_is_needed_as_long_as_transformers_imports_scikit_learn_with_what_generates() -> None:
    code = (
        "import importlib, sys\n"
        "from jc1.compat.transformers import without_sklearn\n"
        "with without_sklearn():\n"
        "    from transformers import GenerationConfig\n"
        "    from transformers.generation import candidate_generator\n"
        "print('sklearn' in sys.modules)\n"
        "importlib.reload(candidate_generator)\n"
        "print('sklearn' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "True"]
