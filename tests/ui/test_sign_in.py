"""Two people with keys of their own at one server, each in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.ui.conftest import PATIENCE
from tests.ui.pages import say, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.ui.conftest import Server

pytestmark = pytest.mark.timeout(4 * PATIENCE)


def sign_in(page: Page, url: str, token: str) -> None:
    """Open the front address, and show a key where it leads."""
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(url)
    expect(page).to_have_url(f"{url}/sign-in")
    page.get_by_label("Key").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_two_people_see_what_is_their_own_until_they_leave(browser: Browser, server: Server) -> None:
    ann, bob = (server.workbench.keys.create(name) for name in ("ann", "bob"))
    with browser.new_context() as first, browser.new_context() as second:
        hers, his = first.new_page(), second.new_page()

        sign_in(hers, server.url, "jc1_none")
        expect(hers.get_by_role("alert")).to_contain_text("unknown, expired or revoked")
        sign_in(hers, server.url, ann.token)
        expect(hers).to_have_url(f"{server.url}/ui/")
        expect(hers.locator(".jc1-who")).to_have_text("ann")
        say(hers, "My cat is called Ada.")
        expect(hers.locator("#jc1-sessions [data-open]")).to_have_count(1)

        sign_in(his, server.url, bob.token)
        expect(his.locator(".jc1-who")).to_have_text("bob")
        expect(his.locator("#jc1-sessions [data-open]")).to_have_count(0)
        say(his, "What is my cat called?")
        expect(his.locator("#jc1-details")).not_to_contain_text("Ada")
        assert [s.title for s in server.workbench.sessions.list("ann")] == ["My cat is called Ada."]
        assert [s.title for s in server.workbench.sessions.list("bob")] == ["What is my cat called?"]
        assert server.workbench.memory.list("local").total == 0

        hers.get_by_role("button", name="Sign out").click()
        expect(hers).to_have_url(f"{server.url}/sign-in")
        hers.goto(f"{server.url}/ui/")
        expect(hers).to_have_url(f"{server.url}/sign-in")

        server.workbench.keys.revoke(bob.key.id)
        write(his, "Hello?")
        expect(his).to_have_url(f"{server.url}/sign-in?ended=true")
        expect(his.get_by_role("alert")).to_contain_text("What you wrote last was not sent")


def test_a_page_becomes_that_of_who_signed_in_in_another_tab(browser: Browser, server: Server) -> None:
    ann, bob = (server.workbench.keys.create(name) for name in ("ann", "bob"))
    with browser.new_context() as context:
        first, second = context.new_page(), context.new_page()
        sign_in(first, server.url, bob.token)
        expect(first.locator(".jc1-who")).to_have_text("bob")
        second.goto(f"{server.url}/sign-in")
        second.get_by_label("Key").fill(ann.token)
        second.get_by_role("button", name="Sign in").click()
        expect(second.locator(".jc1-who")).to_have_text("ann")
        write(first, "Hello?")
        expect(first.locator(".jc1-who")).to_have_text("ann")
