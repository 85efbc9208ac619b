"""SECURITY.md names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLASSES = 20
"""Fewest kinds of attack that the page has to name."""


def test_every_test_that_the_security_page_names_is_there() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", page)
    assert page.count("`tests/") == len(named)
    assert len(re.findall(r"^\| .* \| `tests/", page, flags=re.M)) >= CLASSES
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), flags=re.M)
    ]
    assert missing == []
