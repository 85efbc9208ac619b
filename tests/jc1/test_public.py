"""The public surface: what `jc1` offers, and what its import costs."""

import subprocess
import sys

import jc1

HEAVY = ("torch", "transformers", "numpy", "pydantic", "sqlalchemy", "gradio", "fastapi", "faiss", "openvino", "rich")


def test_every_public_name_can_be_had() -> None:
    assert sorted(jc1.__all__) == jc1.__all__
    for name in jc1.__all__:
        assert getattr(jc1, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(jc1, "nothing")


def test_importing_jc1_imports_nothing_heavy() -> None:
    code = f"import sys, jc1; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
