"""What tests do with the Chat tab in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.ui.conftest import Server


def write(page: Page, text: str) -> None:
    box = page.get_by_label("Message", exact=True)
    box.fill(text)
    box.press("Enter")


def ended(page: Page, state: str = "done") -> None:
    """Wait until the reply under way is over and the page can send again."""
    expect(page.locator(f".jc1-live.{state}")).to_be_visible()
    expect(page.locator("#jc1-prompt .submit-button")).to_be_visible()


def say(page: Page, text: str) -> None:
    """Send `text` and see it echoed whole."""
    write(page, text)
    expect(replies(page).last).to_have_text(text)
    ended(page)


def replies(page: Page) -> Locator:
    return page.locator("#jc1-log .jc1-assistant > .jc1-prose")


def messages(page: Page) -> Locator:
    return page.locator("#jc1-log .jc1-message")


def remember(server: Server, session: str, *turns: tuple[str, str]) -> None:
    """Store a conversation, as if it had been held earlier."""
    for user, reply in turns:
        server.workbench.sessions.append(server.workbench.settings.owner, session, user=user, reply=reply)


def choose(page: Page, session: str) -> None:
    """Open a stored conversation."""
    page.locator(f'#jc1-sessions [data-open="{session}"]').click()
