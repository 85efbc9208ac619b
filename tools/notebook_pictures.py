"""Put a picture beside every Plotly figure of saved notebooks: `python tools/notebook_pictures.py notebooks/*.ipynb`.

A figure is saved as its data, which JupyterLab alone can draw: elsewhere (GitHub, `nbconvert`, an editor's preview) a
reader would see nothing. Knows the notebook format and Chromium, which draws with the plotly.js that comes with the
Python package; nothing is fetched. Knows nothing about what the figures show.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import plotly
from PIL import Image
from playwright.sync_api import Page, sync_playwright

FIGURE, PICTURE = "application/vnd.plotly.v1+json", "image/png"
WIDTH, HEIGHT, SCALE = 820, 420, 1.5
"""CSS pixels where the figure does not say, and pixels of the picture for each."""
COLOURS = 128
DRAW = """async ([figure, format]) => {
    const image = await Plotly.toImage({data: figure.data, layout: {...figure.layout, paper_bgcolor: "white"}}, format);
    return image.slice(image.indexOf(",") + 1);
}"""


def main(paths: list[str]) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("error: the pictures need Chromium.\nNext step: on Debian and Ubuntu, apt install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.add_script_tag(path=Path(plotly.__file__).parent / "package_data" / "plotly.min.js")
        for path in paths:
            notebook = nbformat.read(path, as_version=4)
            drawn = sum(add_picture(page, data) for data in figures(notebook))
            nbformat.write(notebook, path)
            print(f"{path}: {drawn} pictures", flush=True)
        browser.close()


def figures(notebook: nbformat.NotebookNode) -> Iterator[dict[str, Any]]:
    """Yield the representations of each output that is a figure."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if FIGURE in output.get("data", {}):
                yield output["data"]


def add_picture(page: Page, data: dict[str, Any]) -> int:
    """Draw a figure and put the picture beside its data. Return how many were drawn: 1."""
    layout = data[FIGURE]["layout"]
    size = {"width": layout.get("width") or WIDTH, "height": layout.get("height") or HEIGHT, "scale": SCALE}
    png = page.evaluate(DRAW, [data[FIGURE], {"format": "png", **size}])
    # Plots have few colours: with a palette the file is a third as large.
    picture = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(COLOURS).save(picture, "PNG", optimize=True)
    data[PICTURE] = base64.b64encode(picture.getvalue()).decode()
    return 1


if __name__ == "__main__":
    main(sys.argv[1:])
