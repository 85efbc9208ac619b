"""Importing Gradio writes nothing, and what it offers is the same."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_it_is_needed_as_long_as_gradio_writes_stubs_when_it_is_imported() -> None:
    """Counted where the patch stands: through the page, with what the components offer unchanged."""
    code = (
        "from jc1.compat import gradio as patch; components = []; "
        "patch.write_nothing = lambda component, *_: components.append(component); "
        "import jc1_ui, gradio; "
        "print(len(components) > 30, gradio.Chatbot(value=[]).value is not None)"
    )
    assert run(code) == ["True", "True"]


def test_it_can_be_applied_again_when_gradio_is_there() -> None:
    code = (
        "import gradio, sys; from jc1.compat import gradio as patch; before = [*sys.meta_path]; "
        "patch.install(); print(before == sys.meta_path)"
    )
    assert run(code) == ["True"]
