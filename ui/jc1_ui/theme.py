"""The look of the page: the Gradio theme, the style sheet and what goes into the page's head.

Knows colours, fonts and the browser's limits on what the page may load. Knows nothing about components.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils.fonts import LocalFont

ASSETS = Path(__file__).parent / "assets"
STYLE = ASSETS / "style.css"
ICON = ASSETS / "icon.svg"

# A reply is untrusted text: an image in it could carry what it knows to another host in its address, and a form in it
# could act in the reader's name. No reply is HTML here (`jc1_ui.components.markdown`). Should one ever be, the browser
# is told to load from here alone, to send no form, and to resolve no name ahead of a click. Gradio compiles its
# templates in the page, hence unsafe-eval.
HEAD = """
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval';
 style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:;
 media-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; frame-src 'none'; base-uri 'self';
 form-action 'none'">
<meta http-equiv="x-dns-prefetch-control" content="off">
<meta name="color-scheme" content="light dark">
"""


def theme() -> gr.themes.Base:
    """Return the theme: quiet greys, one blue; fonts that Gradio serves itself, for nothing is fetched from outside."""
    # Gradio's own 600 weights are cut down to a few letters; the browser takes 700 where 600 is asked for.
    fonts = (LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif")
    return gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        secondary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.zinc,
        radius_size=gr.themes.sizes.radius_lg,
        font=fonts,
        font_mono=(LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"),
    ).set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#131316",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1b1b1f",
        background_fill_secondary="#f7f7f8",
        background_fill_secondary_dark="#18181b",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        border_color_primary="#e4e4e7",
        border_color_primary_dark="#2e2e33",
        body_text_color="#18181b",
        body_text_color_dark="#ececf0",
        body_text_color_subdued="#63636b",
        body_text_color_subdued_dark="#a0a0aa",
        input_background_fill="#ffffff",
        input_background_fill_dark="#1f1f24",
        input_border_color="#d9d9de",
        input_border_color_dark="#37373d",
        button_primary_background_fill="#4353d6",
        button_primary_background_fill_hover="#3745c0",
        button_primary_background_fill_dark="#5b6af0",
        button_primary_background_fill_hover_dark="#6c7af5",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        slider_color="#4f5fe0",
        slider_color_dark="#6c7af5",
    )
