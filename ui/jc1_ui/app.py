"""The page's factory: header, tabs, and the mount on the API's application.

Knows which tabs there are. Knows nothing about what is in one: a tab is a file with a `build(blocks, workbench)` that
lays out its components and listeners. A new tab is such a file and a line in `TABS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.routing import Mount

from jc1.compat.gradio import log_failures
from jc1_ui.guard import Guard
from jc1_ui.tabs import chat
from jc1_ui.theme import HEAD, ICON, STYLE, theme

if TYPE_CHECKING:
    from fastapi import FastAPI

    from jc1.workbench import Workbench

PATH = "/ui"
TABS: tuple[tuple[str, Callable[[gr.Blocks, Workbench], Any]], ...] = (("Chat", chat.build),)
"""The tabs from left to right: title and what builds it."""

_HEADER = """
<header class="jc1-header">
  <button type="button" class="jc1-icon jc1-narrow" data-panel="sessions" aria-label="Conversations">
    <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 6h16M4 12h16M4 18h16"/></svg></button>
  <strong>JC1</strong>${value.model}
  <span class="jc1-spring"></span>
  ${value.who}
  <button type="button" class="jc1-icon" data-theme-switch aria-label="Light or dark" title="Light or dark">
    <svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="8"/><path d="M12 4a8 8 0 0 1 0 16z"
      class="jc1-solid"/></svg></button>
  <button type="button" class="jc1-icon jc1-medium" data-panel="details" aria-label="Details of the reply">
    <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 5h16v14H4zM14 5v14"/></svg></button>
</header>
<div class="jc1-scrim" data-panel=""></div>
"""

# The theme is the system's until the switch was used. Narrow windows show one side panel at a time, the one named by
# `data-shows`, which stands on an element inside Gradio's own: the style sheet's rules reach no further.
_HEADER_SCRIPT = """
const chosen = localStorage.getItem("jc1.theme");
if (chosen) document.body.classList.toggle("dark", chosen === "dark");
window.jc1ShowPanel = (name) => {
  const page = document.getElementById("jc1-header").parentElement;
  if (name && page.dataset.shows !== name) page.dataset.shows = name;
  else delete page.dataset.shows;
};
const signOut = async () => {
  await fetch("/sign-out", { method: "POST" });
  location.assign("/sign-in");
};
element.addEventListener("click", (event) => {
  if (event.target.closest("[data-sign-out]")) signOut();
  const button = event.target.closest("[data-panel], [data-theme-switch]");
  if (!button) return;
  if (button.hasAttribute("data-theme-switch")) {
    const dark = document.body.classList.toggle("dark");
    localStorage.setItem("jc1.theme", dark ? "dark" : "light");
  } else {
    window.jc1ShowPanel(button.dataset.panel);
  }
});
// A sign-in that is over, or whose key was revoked: every call of the page says so. Where somebody signed in with
// another key in another tab, the page is opened again, for that one.
const ask = window.fetch;
window.fetch = async (...call) => {
  const response = await ask(...call);
  if (response.status === 401) location.assign("/sign-in?ended=true");
  if (response.status === 403 && (await response.clone().json()).error.code === "refused") location.reload();
  return response;
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") window.jc1ShowPanel("");
});
"""


def create_ui(workbench: Workbench) -> gr.Blocks:
    """Build the whole page over `workbench`, which may still be starting."""
    # After every event Gradio would sum up all events so far in a data frame, for a monitoring page that is off.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
    with gr.Blocks(title="JC1", analytics_enabled=False, fill_width=True, fill_height=True) as blocks:
        header = gr.HTML(
            {"model": _model(workbench), "who": ""},
            html_template=_HEADER,
            js_on_load=_HEADER_SCRIPT,
            apply_default_css=False,
            elem_id="jc1-header",
        )
        with gr.Tabs(elem_id="jc1-tabs", elem_classes="jc1-single" if len(TABS) == 1 else None):
            for title, build in TABS:
                with gr.Tab(title):
                    build(blocks, workbench)

        def show_visitor(request: gr.Request) -> Any:
            return {"model": _model(workbench), "who": _who(request)} if _who(request) else gr.skip()

        blocks.load(show_visitor, None, header, queue=False, show_progress="hidden", api_visibility="private")
    # Replies share the engine, which batches them: Gradio must not queue one behind the other.
    blocks.queue(default_concurrency_limit=None, api_open=False)
    return blocks


def mount(app: FastAPI, workbench: Workbench) -> FastAPI:
    """Serve the page at `/ui` of `app`, on the same event loop as the engine."""
    from fastapi.responses import FileResponse

    log_failures()

    # Browsers ask for these two at the root, wherever the page is.
    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> FileResponse:
        return FileResponse(ICON, media_type="image/svg+xml")

    @app.get("/manifest.json", include_in_schema=False)
    async def manifest() -> dict[str, Any]:
        return {"name": "JC1", "start_url": PATH, "icons": [{"src": "/favicon.ico", "sizes": "any"}]}

    gr.mount_gradio_app(
        app,
        create_ui(workbench),
        path=PATH,
        ssr_mode=False,
        theme=theme(),
        css_paths=STYLE,
        head=HEAD,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size="1mb",
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
    )
    (page,) = (route for route in app.routes if isinstance(route, Mount) and route.path == PATH)
    page.app = Guard(page.app)
    return app


def _who(request: gr.Request) -> str:
    """Return for whom the visitor acts, and how to sign out; nothing where there are no keys."""
    principal = request.state.principal
    if principal.key is None:
        return ""
    button = '<button type="button" class="jc1-sign-out" data-sign-out>Sign out</button>'
    return f'<span class="jc1-who">{escape(principal.owner)}</span>{button}'


def _model(workbench: Workbench) -> str:
    engine = workbench.engine
    note = ""
    if engine.model.startswith("jc1-tiny"):
        note = "<em>a tiny bundled model: it knows only what you tell it</em>"
    return f'<span class="jc1-model"><b>{escape(engine.model)}</b> on {escape(engine.name)}{note}</span>'
