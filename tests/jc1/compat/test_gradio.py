"""Importing Gradio writes nothing, and what it offers is the same."""

from __future__ import annotations

import subprocess
import sys

import pytest


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


PAGE = """
import sys
import gradio as gr
from fastapi.testclient import TestClient
from jc1.compat import gradio as patch
from jc1.telemetry.logs import log_to_stderr
log_to_stderr("info", "text")
if sys.argv[1] == "patched":
    patch.log_failures()
with gr.Blocks(analytics_enabled=False) as blocks:
    choice = gr.Dropdown(["a", "b"])
    choice.change(lambda it: it, choice, choice, queue=False)
client = TestClient(gr.routes.App.create_app(blocks))
client.post("/gradio_api/run/predict", json={"fn_index": 0, "data": ["SECRET"], "session_hash": "x"})
"""


@pytest.mark.parametrize("patched", [False, True])
def test_what_a_browser_sent_is_in_no_log_and_gradio_alone_prints_it(patched: bool) -> None:
    command = [sys.executable, "-c", PAGE, "patched" if patched else "as it is"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ("SECRET" in done.stderr, "an event of the page failed" in done.stderr) == (not patched, patched)
