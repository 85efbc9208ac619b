"""The story of the last reply: its stages in time, the memories it read, the facts of its trace.

Knows the components and what they show. Knows nothing about when a reply is shown, or how a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from jc1_ui.components import fragments
from jc1_ui.components.plots import duration, waterfall

if TYPE_CHECKING:
    from jc1.memory.base import Receipt
    from jc1.trace import Trace
    from jc1_ui.components.streaming import Updates


class Story:
    """The components, laid out inside the current Gradio context."""

    def __init__(self, memories_script: str) -> None:
        """Lay out the components; `memories_script` says what a click on a memory's source does."""
        self.stages_heading = gr.HTML(fragments.heading("Stages"), apply_default_css=False)
        self.stages_empty = gr.HTML(
            '<p class="jc1-empty">The stages of a reply are drawn here, with the time each took.</p>',
            apply_default_css=False,
        )
        self.stages = gr.Plot(visible=False, show_label=False, elem_id="jc1-stages")
        self.memories_heading = gr.HTML(fragments.heading("Recalled memories"), apply_default_css=False)
        self.memories = gr.HTML(
            fragments.memories(None, session="", titles={}), js_on_load=memories_script, apply_default_css=False
        )
        self.facts = gr.HTML("", apply_default_css=False)

    @property
    def components(self) -> list[Any]:
        """Return the components that the updates below may name."""
        return [
            self.stages_heading, self.stages_empty, self.stages, self.memories_heading, self.memories, self.facts
        ]  # fmt: skip

    def clear(self, session: str) -> Updates:
        """Return the updates that show no reply's story."""
        return {
            self.stages_heading: fragments.heading("Stages"),
            self.stages_empty: gr.update(visible=True),
            self.stages: gr.update(value=None, visible=False),
            self.memories_heading: fragments.heading("Recalled memories"),
            self.memories: fragments.memories(None, session=session, titles={}),
            self.facts: "",
        }

    def age(self) -> Updates:
        """Return the update that says that a later reply has begun."""
        return {self.stages_heading: fragments.heading("Stages", "of the reply before")}

    def show_trace(self, trace: Trace) -> Updates:
        """Return the updates that show when each stage ran, and the facts."""
        total = "" if trace.total is None else f"{duration(trace.total)} in all"
        return {
            self.stages_heading: fragments.heading("Stages", total),
            self.stages_empty: gr.update(visible=False),
            self.stages: gr.update(value=waterfall(trace), visible=True),
            self.facts: fragments.facts(trace),
        }

    def show_memories(
        self, receipts: Sequence[Receipt], session: str, titles: Mapping[str, str], *, searched: bool
    ) -> Updates:
        """Return the updates that show what was recalled, with scores."""
        return {
            self.memories_heading: fragments.memories_heading(receipts),
            self.memories: fragments.memories(receipts, session=session, titles=titles, searched=searched),
        }
