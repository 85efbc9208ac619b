"""Figures can be read: on white and on black, and where lines end together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import plotly.graph_objects as go
import plotly.io as pio
import pytest

from jc1_lab.plots import plotting, style


@pytest.fixture
def template() -> Iterator[go.layout.Template]:
    before = pio.templates.default
    style.use()
    yield pio.templates[pio.templates.default]
    pio.templates.default = before


def luminance(colour: str) -> float:
    """As WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#131316"])
def test_text_and_marks_stand_out_from_white_and_from_near_black(page: str) -> None:
    assert contrast(style.QUIET, page) > 4
    assert all(contrast(colour, page) > 2 for colour in style.PALETTE)


def test_a_figure_takes_the_page_as_its_background(template: go.layout.Template) -> None:
    assert template.layout.paper_bgcolor == template.layout.plot_bgcolor == "rgba(0,0,0,0)"


def test_labels_of_lines_that_end_together_keep_their_distance_and_order() -> None:
    figure = go.Figure()
    for name, end in (("high", 0.52), ("low", 0.5), ("middle", 0.51), ("apart", 0.9)):
        figure.add_scatter(x=[0, 1], y=[0, end], name=name, line_color=style.BLUE)
    labels = sorted(plotting.label_ends(figure, gap=0.1).layout.annotations, key=lambda label: label.y)
    assert [label.text for label in labels] == ["low", "middle", "high", "apart"]
    assert all(above.y - below.y > 0.0999 for below, above in pairwise(labels))
    assert all(label.x == 1 and label.font.color == style.BLUE for label in labels)


def test_a_heatmap_writes_each_text_into_its_cell() -> None:
    figure = plotting.heatmap(
        [[0, 1, 2], [3, 4, 10]], x="abc", y="de", texts=[["0", "1", "2"], ["3", "4", "10"]], low=0, high=10
    )
    assert [list(row) for row in figure.data[0].z] == [[0, 1, 2], [3, 4, 10]]
    assert {(note.x, note.y): note.text for note in figure.layout.annotations}[2, 1] == "10"
    assert {note.text for note in figure.layout.annotations if note.font.color == "#ffffff"} == {"10"}
