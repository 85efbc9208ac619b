"""Messages in a real browser: what was said is read as it was said, and nothing in it acts.

The `open_page` fixture also asserts that a page asks nothing of another host and writes no error to its console.
"""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from playwright.sync_api import expect

from tests.ui.conftest import PATIENCE, Open, Server, visitors
from tests.ui.pages import choose, messages, remember, replies, say

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.timeout(4 * PATIENCE)
expect.set_options(timeout=PATIENCE * 1000)

AS_SAID = (
    "use List<String> for names",
    "a <b and c> d",
    "<restate your message here> now",
    "[INFO]: done, &lt;b&gt; and &copy;",
    "so </think> it is, <think>twice</think>",
)
MARKDOWN = r"""# Title

*One* of **two**, \(e^{i\pi}\) or [here](https://example.org), and $5 or $6.

\[
x

- y
\]

| Extraordinarily | Incomprehensibly | Inconsequentially |
|---|---|---|
| vLLM | `a<b` | x |

```python
def f(x): return "&lt;" if x < 1 else '\(x\)'
```

مرحبا بالعالم
"""


def test_what_was_said_is_shown_as_it_was_said_and_markdown_is_drawn(open_page: Open, server: Server) -> None:
    turns = [(text, text) for text in AS_SAID]
    remember(server, "shown", ("As said: __init__\n  and *this*", "<think>plan <b></think>answer"), *turns)
    remember(server, "shown", ("Draw.", MARKDOWN))
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    choose(page, "shown")
    users = page.locator("#jc1-log .jc1-user .jc1-text")
    expect(users).to_have_text(["As said: __init__\n  and *this*", *AS_SAID, "Draw."], use_inner_text=True)
    expect(replies(page)).to_have_count(len(AS_SAID) + 2)
    assert replies(page).all_inner_texts()[: len(AS_SAID) + 1] == ["answer", *AS_SAID]
    page.get_by_text("Reasoning").first.click()
    expect(page.locator(".jc1-thought .jc1-prose").first).to_have_text("plan <b>")

    drawn = replies(page).last
    for element in ("h1", "em", "strong", "a[rel~=noreferrer]", "td code", ".katex-display", "pre .hl-k"):
        expect(drawn.locator(element).first).to_be_visible()
    expect(drawn.locator(".katex")).to_have_count(2)
    expect(drawn).to_contain_text("and $5 or $6.")
    code = """def f(x): return "&lt;" if x < 1 else '\\(x\\)'"""
    expect(drawn.locator("pre")).to_have_text(code)
    assert drawn.locator("pre").evaluate(COLOUR) != drawn.locator("pre .hl-k").first.evaluate(COLOUR)
    for button, source in ((drawn.locator("[data-copy]"), code), (drawn.locator("~ .jc1-copy"), MARKDOWN)):
        button.click()
        expect(button).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()").strip() == source.strip()

    page.set_viewport_size({"width": 390, "height": 844})
    assert drawn.locator("th").last.evaluate(LINES) == 1  # a long word is not broken
    right_to_left = drawn.locator("p").last.evaluate(GAPS)
    assert right_to_left["right"] < 2 < right_to_left["left"]
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    placeholder, ground = page.locator("#jc1-prompt textarea").evaluate(PLACEHOLDER)
    assert contrast(placeholder, ground) >= 4.5


COLOUR = "element => getComputedStyle(element).color"
LINES = """element => {
  const range = document.createRange(); range.selectNodeContents(element); return range.getClientRects().length;
}"""
GAPS = """element => {
  const range = document.createRange(); range.selectNodeContents(element);
  const text = range.getBoundingClientRect(), box = element.getBoundingClientRect();
  return { left: text.left - box.left, right: box.right - text.right };
}"""
PLACEHOLDER = """element => [
  getComputedStyle(element, "::placeholder").color,
  getComputedStyle(element.closest(".input-container")).backgroundColor,
]"""


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@contextmanager
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Run another server: its address, and what it was asked for."""
    asked: list[str] = []

    class Listener(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode())
            self.wfile.write(b"HTTP/1.0 204 No Content\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Listener) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_address[1]}", asked
        listener.shutdown()


FORM = '<form action="/v1/memory/purge" method="post"><button style="position:fixed;inset:0">Continue</button></form>'


def test_nothing_that_was_said_is_html_or_makes_the_browser_ask_for_something(open_page: Open, server: Server) -> None:
    with elsewhere() as (address, asked):
        traps = [
            FORM,
            f"![x]({address}/a) [![x]({address}/b)]({address}/c) ![x][r]\n\n[r]: {address}/d",
            f'<img src="{address}/e" onerror="fetch(\'{address}/f\')"><video poster="{address}/g" src="{address}/h">',
            f'<link rel="preload" as="image" href="{address}/i"><link rel="stylesheet" href="{address}/j">',
            f'<style>body {{ background: url({address}/k) }}</style><p style="background: url({address}/l)">',
            f'<svg><image href="{address}/m"/></svg><iframe src="{address}/n"></iframe><object data="{address}/o">',
            f'<meta http-equiv="refresh" content="0;url={address}/p"><base href="{address}/q">',
            f'<script src="{address}/r"></script> $$\\includegraphics{{{address}/s}}$$ $$\\href{{{address}/t}}{{x}}$$',
            f"$$\\htmlStyle{{background:url({address}/u)}}{{x}}$$",
        ]
        remember(server, "traps", *((trap, trap) for trap in traps))
        page = open_page()
        choose(page, "traps")
        expect(replies(page)).to_have_count(len(traps))
        say(page, f'<img src="{address}/v"> is a picture.')  # while it is written, and as a memory
        page.get_by_role("button", name="New conversation").click()
        expect(messages(page)).to_have_count(0)
        say(page, "What is a picture?")
        expect(page.locator(".jc1-memories li").first).to_contain_text(f'<img src="{address}/v"> is a picture.')
        page.reload()
        expect(replies(page)).to_have_count(1)
        choose(page, "traps")
        expect(replies(page).first).to_have_text(FORM)
        expect(page.locator("#jc1-log .jc1-user").nth(2)).to_contain_text(traps[2])
        assert page.locator(ACTIVE).count() == 0
        assert asked == []
        urlopen(f"{address}/counts").close()
        assert asked == ["GET /counts HTTP/1.1\r\n"]


ACTIVE = ", ".join(
    f"{part} :is(form, img, video, audio, link, style, image, iframe, object, embed, meta, base, script, input)"
    for part in ("#jc1-log", "#jc1-details .jc1-memories", "#jc1-sessions")
)


def test_a_form_that_stood_in_a_reply_could_neither_cover_the_page_nor_be_sent(
    browser: Browser, server: Server
) -> None:
    with visitors(browser, server.url, expected="form-action 'none'") as open_page:
        page = open_page()
        say(page, "A form follows.")
        sent: list[str] = []
        page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
        replies(page).last.evaluate("(reply, form) => { reply.innerHTML = form; }", FORM)
        assert page.locator("#jc1-log form button").bounding_box() == replies(page).last.bounding_box()
        with page.expect_console_message(lambda message: "form-action" in message.text):
            page.locator("#jc1-log form button").dispatch_event("click")
        assert sent == []
