"""The order of lines: rows from top to bottom, on a skewed page too."""

from __future__ import annotations

import math
import random

from jc1.vision.reading import Line, Reading, in_rows


def line(text: str, left: float, top: float, *, width: float = 100, height: float = 20, degrees: float = 0) -> Line:
    """Return a line whose page, 1,000 pixels wide and high, is turned about its corner."""
    angle = math.radians(degrees)
    corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
    first, second, third, fourth = (
        (x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)) for x, y in corners
    )
    return Line(text, (first, second, third, fourth), 0.9)


def test_a_receipt_is_read_row_by_row() -> None:
    lines = [line("2.50", 400, 12), line("tea", 10, 10), line("12.00", 400, 42), line("lunch", 10, 44)]
    assert Reading(600, 200, in_rows(lines)).text == "tea 2.50\nlunch 12.00"


def test_a_skewed_page_keeps_its_rows() -> None:
    for degrees in (-5, -2, 3, 5):
        lines = [
            line(f"{row}{'ab'[column]}", 20 + 500 * column, 20 + 40 * row, width=200, degrees=degrees)
            for row in range(20)
            for column in (0, 1)
        ]
        random.Random(degrees).shuffle(lines)
        assert [len(row) for row in in_rows(lines)] == [2] * 20
        assert Reading(1000, 1000, in_rows(lines)).text == "\n".join(f"{row}a {row}b" for row in range(20))


def test_short_lines_say_nothing_of_the_angle() -> None:
    crooked = Line("-", ((0, 0), (9, 9), (0, 18), (-9, 9)), 0.9)
    assert [[each.text for each in row] for row in in_rows([line("b", 0, 50), crooked])] == [["-"], ["b"]]


def test_no_lines_are_no_text() -> None:
    assert (in_rows([]), Reading(10, 10).text, Reading(10, 10).lines) == ((), "", ())


def test_a_box_holds_the_whole_of_a_turned_line() -> None:
    assert line("a", 100, 100, degrees=45).box == (-15, 141, 71, 227)
