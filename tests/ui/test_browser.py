"""The page in a real browser, in front of a real server. The echo engine repeats what it is told.

Each test also asserts what the `open_page` fixture does: nothing is asked of another host, no answer is an error, the
console holds no error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from jc1.presets import Preset
from jc1.trace import STAGES
from tests.ui.conftest import PATIENCE, Open, Server, opened
from tests.ui.pages import choose, ended, messages, remember, replies, say, write

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.timeout(4 * PATIENCE)
expect.set_options(timeout=PATIENCE * 1000)

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
LONG = "and then the story went on " * 100


def test_a_fact_told_in_one_conversation_is_recalled_in_another_and_both_outlive_a_reload(open_page: Open) -> None:
    page = open_page()
    expect(page.get_by_text("Tell it something, then ask.")).to_be_visible()
    say(page, "My cat is called Ada.")
    page.get_by_role("button", name="New conversation").click()
    expect(messages(page)).to_have_count(0)

    say(page, "What is my cat called?")
    memory = page.locator(".jc1-memories li").first
    expect(memory.locator("p")).to_have_text("My cat is called Ada.")
    expect(memory).to_contain_text(re.compile(r"score -?\d+\.\d\d.*dense 0\.\d\d #1"))
    expect(memory).to_contain_text("“My cat is called Ada.”, turn 1")

    stages = [stage for stage in STAGES if stage not in ("hear", "see", "speak")]
    figure = page.locator("#jc1-stages")
    expect(figure.locator(".bars .point")).to_have_count(len(stages))
    # Plotly draws an axis from the bottom.
    assert [name.strip() for name in reversed(figure.locator(".ytick").all_text_contents())] == stages
    expect(page.locator(".jc1-live")).to_contain_text(re.compile(r"\d m?s first token.*\d tokens/s.*\d tokens"))

    page.reload()
    expect(replies(page)).to_have_text(["What is my cat called?"])
    expect(memory.locator("p")).to_have_text("My cat is called Ada.")
    expect(figure.locator(".bars .point")).to_have_count(len(stages))

    page.locator("#jc1-sessions").get_by_role("button", name=re.compile("^My cat is called Ada")).click()
    expect(replies(page)).to_have_text(["My cat is called Ada."])


def test_a_reply_grows_while_it_is_written_and_stop_ends_it(open_page: Open, server: Server) -> None:
    page = open_page()
    write(page, "Slowly does it.")
    expect(page.locator(".jc1-live.busy")).to_contain_text("prefill")
    server.let_through(6)
    expect(replies(page)).to_have_text(["Slowly"])
    expect(page.locator(".jc1-live.busy")).to_contain_text("decode")
    server.let_through(5)
    expect(replies(page)).to_have_text(["Slowly does"])

    page.locator("#jc1-prompt .stop-button").click()
    expect(replies(page)).to_have_text(["Slowly does"])
    expect(page.locator(".jc1-stopped:visible")).to_have_text("Stopped")
    ended(page)
    server.wait_until_idle()
    page.reload()
    expect(replies(page)).to_have_text(["Slowly does"])
    expect(page.locator(".jc1-stopped:visible")).to_have_text("Stopped")


def test_an_error_shows_its_code_and_keeps_the_typed_text(open_page: Open) -> None:
    page = open_page()
    say(page, "This one is short.")
    write(page, LONG)
    expect(page.get_by_role("alert")).to_contain_text("context_length_exceeded")
    expect(page.get_by_label("Message", exact=True)).to_have_value(LONG)
    expect(replies(page)).to_have_text(["This one is short."])
    say(page, "This one fits again.")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_what_is_typed_while_a_message_is_on_its_way_stays_in_the_box(open_page: Open) -> None:
    page = open_page()
    box = page.get_by_label("Message", exact=True)
    on_its_way: list[Route] = []
    page.route("**/queue/join*", lambda route: on_its_way.append(route), times=1)
    with page.expect_request("**/queue/join*"):
        write(page, "The first of two.")
    write(page, "The second of two.")
    on_its_way[0].continue_()
    expect(replies(page)).to_have_text(["The first of two."])
    ended(page)
    expect(box).to_have_value("The second of two.")
    box.press("Enter")
    expect(replies(page)).to_have_text(["The first of two.", "The second of two."])
    ended(page)
    expect(box).to_have_value("")


def test_two_visitors_write_at_once_and_a_window_that_closes_frees_the_engine(open_page: Open, server: Server) -> None:
    first, second = open_page(), open_page()
    expect(messages(second)).to_have_count(0)
    write(first, "Slowly and first.")
    server.let_through(6)
    expect(replies(first)).to_have_text(["Slowly"])
    say(second, "Quickly and second.")
    expect(replies(first)).to_have_text(["Slowly"])
    assert server.workbench.engine.active == 1
    first.close()
    server.wait_until_idle()


def test_a_preset_promoted_while_the_page_is_open_can_be_chosen_and_one_that_cannot_be_served_is_told(
    open_page: Open, server: Server
) -> None:
    page = open_page()
    chosen = page.get_by_label("Preset", exact=True)
    expect(chosen).to_have_value("default")
    presets = server.workbench.presets
    presets.set_alias("champion", presets.save(Preset("short", decoding={"max_tokens": 2})).reference)
    presets.save(Preset("fast", engine={"speculation": "ngram:4"}))

    chosen.click()
    page.get_by_role("option", name="fast@1, needs speculation=ngram:4").click()
    expect(page.locator(".jc1-notice")).to_contain_text("start JC1 with --speculation ngram:4")
    page.get_by_label("Message", exact=True).click()
    chosen.click()
    page.get_by_role("option", name="champion (short@1)").click()
    expect(page.locator(".jc1-notice")).to_have_count(0)
    write(page, "Hello there.")
    expect(replies(page).last).to_have_text("He")
    ended(page)


def test_an_open_page_serves_and_shows_what_was_promoted_since_and_keeps_what_was_moved(
    open_page: Open, server: Server
) -> None:
    def promote(name: str, **decoding: float) -> None:
        presets.set_alias("best", presets.save(Preset(name, decoding=decoding)).reference)

    def answered(text: str, *seen: str) -> None:
        write(page, text)
        expect(replies(page)).to_have_text(seen)
        ended(page)

    presets = server.workbench.presets
    promote("one", max_tokens=5)
    page = open_page()
    chosen = page.get_by_label("Preset", exact=True)
    chosen.click()
    page.get_by_role("option", name="best (one@1)").click()
    page.get_by_role("tab", name="Decoding").click()
    tokens = page.get_by_label("number input for Max tokens")
    expect(tokens).to_have_value("5")
    promote("two", max_tokens=3, top_k=500, top_p=0.01, temperature=0.33)  # beyond the sliders, and between their steps
    answered("Pangolins sleep.", "Pan")
    for label, value in (("Max tokens", "3"), ("Top k", "500"), ("Temperature", "0.33")):
        expect(page.get_by_label(f"number input for {label}")).to_have_value(value)
    expect(chosen).to_have_value("best (two@1)")
    answered("Wombats dig.", "Pan", "Wom")

    tokens.fill("4")
    tokens.press("Tab")
    promote("three", max_tokens=2, top_k=5)
    answered("Otters swim.", "Pan", "Wom", "Otte")
    expect(page.get_by_label("number input for Top k")).to_have_value("5")
    expect(tokens).to_have_value("4")


def test_an_example_a_deletion_and_the_theme_switch_work_on_a_phone(open_page: Open) -> None:
    page = open_page(**PHONE, color_scheme="light")
    page.get_by_role("button", name="Where do I live?").click()
    expect(replies(page)).to_have_text(["Where do I live?"])
    ended(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for name in ("Memory", "Preset"):
        expect(page.locator("#jc1-options").get_by_text(name, exact=True)).to_be_visible()

    page.get_by_role("button", name="Details of the reply").click()
    expect(page.locator("#jc1-stages .bars .point").first).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.locator("#jc1-details")).not_to_be_visible()

    page.get_by_role("button", name="Conversations").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete Where do I live?").click()
    expect(messages(page)).to_have_count(0)
    expect(page.locator("#jc1-sessions").get_by_text("Where do I live?")).to_have_count(0)
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Light or dark").click()
    expect(page.locator("body.dark")).to_have_count(1)
    page.reload()
    expect(page.locator("body.dark")).to_have_count(1)


def test_an_empty_message_changes_nothing_and_a_long_list_of_conversations_stays_in_its_column(
    open_page: Open, server: Server
) -> None:
    for number in range(30):
        remember(server, f"listed-{number}", (f"Listed number {number}.", "Yes."))
    page = open_page()
    choose(page, "listed-29")
    expect(replies(page)).to_have_text(["Yes."])
    for text in ("", "   "):
        # Gradio drops what is sent before this is answered.
        with page.expect_response(lambda it: "/run/" in it.url and it.request.post_data_json["data"][0] == text):  # noqa: B023
            write(page, text)
    expect(page.locator(".jc1-live")).to_be_visible()
    expect(page.locator("#jc1-sessions [data-open=listed-0]")).to_have_count(1)
    say(page, "Still here.")
    expect(replies(page)).to_have_text(["Yes.", "Still here."])
    column = page.locator("#jc1-sessions")
    assert column.evaluate("element => element.scrollWidth - element.clientWidth") == 0
    first = column.get_by_role("button", name=re.compile("^Listed number 0"))
    first.scroll_into_view_if_needed()
    expect(first).to_be_in_viewport()


def test_what_is_on_screen_is_what_the_next_message_goes_to_even_when_a_reply_was_left(
    open_page: Open, server: Server
) -> None:
    page = open_page()
    for number in range(3):
        write(page, f"Slowly {number}.")
        server.let_through(4)
        expect(replies(page).last).to_have_text("Slow")
        page.get_by_role("button", name="New conversation").click()
        expect(messages(page)).to_have_count(0)
        server.wait_until_idle()
        say(page, f"Quickly {number}.")
        expect(messages(page)).to_have_count(2)
    sessions = server.workbench.sessions
    owner = server.workbench.settings.owner
    stored = [[turn.user for turn in sessions.history(owner, session.id)] for session in sessions.list(owner, limit=4)]
    between = [[f"Quickly {number}.", f"Slowly {number + 1}."] for number in range(1, -1, -1)]
    assert stored == [["Quickly 2."], *between, ["Slowly 0."]]


def test_each_tab_of_a_browser_keeps_its_own_conversation_over_a_reload(open_page: Open, server: Server) -> None:
    first = open_page()
    say(first, "In the first tab.")
    second = opened(first.context.new_page(), server.url)
    expect(replies(second)).to_have_text(["In the first tab."])  # a new tab begins with the last conversation
    second.get_by_role("button", name="New conversation").click()
    expect(messages(second)).to_have_count(0)
    say(second, "In the second tab.")
    for page, text in ((first, "In the first tab."), (second, "In the second tab.")):
        page.reload()
        expect(replies(page)).to_have_text([text])


def test_a_reader_who_scrolls_up_is_left_alone_until_the_end_is_asked_for(open_page: Open, server: Server) -> None:
    remember(server, "long", *((f"Long {number}.", "line\n\n" * 12) for number in range(4)))
    page = open_page()
    choose(page, "long")
    expect(replies(page)).to_have_count(4)
    scroller = page.locator("#jc1-log")
    write(page, "Slowly, line by line.")
    server.let_through(6)
    expect(replies(page).last).to_have_text("Slowly")
    expect(replies(page).last).to_be_in_viewport()
    scroller.hover()
    page.mouse.wheel(0, -600)
    expect(page.get_by_role("button", name="Scroll to the end")).to_be_visible()
    before = scroller.evaluate("element => element.scrollTop")
    server.let_through(20)
    ended(page)
    assert scroller.evaluate("element => element.scrollTop") == before
    page.get_by_role("button", name="Scroll to the end").click()
    expect(replies(page).last).to_be_in_viewport()
