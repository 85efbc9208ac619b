"""The bundled model on the page, as the README shows it, in light and dark.

`SCREENSHOTS=docs/images` (a folder, from the repository's root) also writes the pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import expect

from jc1 import Settings
from tests.ui.conftest import PATIENCE, Server, serving, visitors

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(4 * PATIENCE)
expect.set_options(timeout=PATIENCE * 1000)

TOLD = ("My cat is called Ada.", "I live in Oslo.")
ASKED = (("What is my cat called?", "Ada"), ("Where do I live?", "Oslo"))


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Server]:
    with serving(Settings(home=tmp_path / "home", engine="transformers", model="jc1-tiny")) as running:
        yield running


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_bundled_model_answers_from_what_another_conversation_told_it(
    browser: Browser, tiny: Server, scheme: Literal["light", "dark"]
) -> None:
    with visitors(browser, tiny.url) as open_page:
        page = open_page(color_scheme=scheme)
        box = page.get_by_label("Message", exact=True)
        replies = page.locator("#jc1-log .jc1-assistant > .jc1-prose")

        def say(text: str, number: int) -> None:
            box.fill(text)
            box.press("Enter")
            expect(page.locator("#jc1-log .jc1-user")).to_have_count(number)
            expect(page.locator(".jc1-live.done")).to_be_visible()
            expect(page.locator("#jc1-prompt .submit-button")).to_be_visible()

        for number, text in enumerate(TOLD, start=1):
            say(text, number)
        page.get_by_role("button", name="New conversation").click()
        expect(page.locator("#jc1-log .jc1-message")).to_have_count(0)
        for number, (text, answer) in enumerate(ASKED, start=1):
            say(text, number)
            expect(replies.last).to_contain_text(answer)
            expect(page.locator(".jc1-memories li").first).to_contain_text(answer)
        expect(page.locator("#jc1-stages .bars .point")).to_have_count(8)

        if folder := os.environ.get("SCREENSHOTS"):
            page.mouse.move(700, 450)
            page.screenshot(path=ROOT / folder / f"chat-{scheme}.png", animations="disabled")
