"""Importing Gradio writes nothing, and what it offers is the same."""

from __future__ import annotations

import subprocess
import sys


def test_gradio_writes_no_stubs_when_it_is_imported_through_the_page() -> None:
    code = (
        "import ui, gradio, gradio.component_meta as meta; "
        "print(meta.create_or_modify_pyi(int, 'int', []), gradio.Chatbot(value=[]).value is not None)"
    )
    found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["None", "True"]


def test_it_can_be_installed_again_when_gradio_is_there() -> None:
    code = "import gradio, sys; from jc1_ui import gradio_import; before = [*sys.meta_path]; gradio_import.install(); "
    found = subprocess.run(
        [sys.executable, "-c", code + "print(before == sys.meta_path)"], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["True"]
