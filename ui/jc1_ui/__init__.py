"""The web page: one Gradio app over a `Workbench`, one file a tab.

Knows how a reply looks on a page. Knows nothing about HTTP routes, keys or how a reply is made.
"""

from jc1.compat import gradio

gradio.install()
