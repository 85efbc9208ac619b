"""Markdown as the page shows it: nothing is lost, nothing is fetched, and what grows ends as what is whole."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jc1_ui.components.markdown import MAX_NESTING, GrowingMarkdown, render

TAGS = {
    "a", "blockquote", "br", "button", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {"class", "data-copy", "data-display", "href", "rel", "start", "style", "target", "title", "type"}


class Page(HTMLParser):
    """What a browser makes of the HTML: its elements, and the text a person reads."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text = ""
        self._skips = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(attrs)
        self._skips = tag == "button"

    def handle_endtag(self, tag: str) -> None:
        self._skips = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._skips else data


def page(text: str) -> Page:
    return Page("".join(render(text)))


@pytest.mark.parametrize(
    "text",
    [
        "use List<String> for names",
        "a <b and c> d",
        "<restate your message here> now",
        "if a<b or b>c: <br> <!-- note --> <![CDATA[x]]> <?php x ?> </think> <div>",
        "tags &lt;b&gt; and &amp; and &copy; are what was written",
        "![x](http://127.0.0.1:9/x.png)",
        "[INFO]: done",
        "[click](javascript:alert(1)) [two](data:text/html,x) [three](//host/x) [four](/v1/memory/export)",
        "![a][b] <img src=x onerror=alert(1)>",
        "$5 and $6",
    ],
)
def test_text_is_shown_as_it_was_written(text: str) -> None:
    assert page(text).text.strip() == text


@pytest.mark.parametrize("text", ["List<String> &lt;b&gt; <b>x</b> ![x](http://h/x.png) \\(a\\)"])
def test_code_is_shown_as_it_was_written(text: str) -> None:
    assert page(f"`{text}`").text.strip() == text
    assert page(f"```html\n{text}\n```").text == f"html{text}\n"
    assert page(f"    {text}").text == f"{text}\n"


@pytest.mark.parametrize(
    "text",
    [
        "| a |\n|---|\n| 1 | secret |",
        "> " * (MAX_NESTING + 5) + "deep",
        "- " * (MAX_NESTING + 5) + "deep",
        "```python title=deep\nx\n```",
        "1. one\n1. two\n\n   deep",
    ],
)
def test_no_word_is_dropped(text: str) -> None:
    shown = page(text)
    assert [word for word in re.findall("[a-z]+", text) if word not in shown.text] == []


def test_markdown_is_drawn() -> None:
    text = (
        "# Title\n\nA *b* **c** ~~d~~ `e`\nnew line\n\n- f\n\n1. g\n\n> h\n\n| i | j |\n|---|--:|\n| k | l |\n\n---\n"
    )
    tags = page(text).tags
    assert tags >= {"h1", "em", "strong", "s", "code", "br", "ul", "ol", "blockquote", "table", "th", "td", "hr"}
    assert len(render(text)) == 7
    (link,) = (value for name, value in page("[x](https://example.org/a?b=1&c)").attributes if name == "href")
    assert link == "https://example.org/a?b=1&c"
    assert ("rel", "noopener noreferrer nofollow") in page("<https://example.org>").attributes


def test_code_is_coloured_where_its_language_is_known() -> None:
    assert '<span class="hl-k">def</span>' in render("```python\ndef f(): pass\n```")[0]
    for plain in ("```\ndef f(): pass\n```", "```no-such-language\ndef f(): pass\n```"):
        assert "hl-" not in render(plain)[0]


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        (r"so \(e^{i\pi} = -1\), done", [r"\(e^{i\pi} = -1\)"]),
        ("$$x < y$$", ["$$x < y$$"]),
        ("\\[\na\n+ b\n\n= c\n\\]\nand so on", ["\\[\na\n+ b\n\n= c\n\\]"]),
        ("- see\n  $$\n  x\n  - y\n  $$\n- b", ["$$\nx\n- y\n$$"]),
        ("$$\na\n\n- b", []),
        (r"open \( and $$ and \[ only", []),
        (r"`\(a\)` and $5 and $6", []),
    ],
)
def test_formulas_keep_their_source_until_the_page_draws_them(text: str, formulas: list[str]) -> None:
    found = re.findall(r'<span class="jc1-maths"[^>]*>(.*?)</span>', "".join(render(text)), re.DOTALL)
    assert [source.replace("&lt;", "<") for source in found] == formulas


SNIPPETS = st.sampled_from(
    ["<img src=http://h/x>", "<b", ">", "&lt;", "![x](http://h)", "[y](http://h 't')", "[z]: http://h", "`", "```",
     "\n", "\n\n", "- ", "> ", "    ", "|a|b|\n|-|-|\n", "$$", "\\(", "\\)", "\\[", "*", "__", "word ", "<script>",
     "javascript:", '"', "'", "\\", "<!--", "\r\n", "\r", "1. ", "# ", "~~~", "\x00", "</div>", "<http://h>",
     "===", "---"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(SNIPPETS, max_size=25))
def test_whatever_is_written_only_known_elements_come_of_it_and_a_growing_text_ends_as_the_whole(
    parts: list[str],
) -> None:
    text = "".join(parts)
    shown = page(text)
    assert shown.tags <= TAGS
    assert {name for name, _ in shown.attributes} <= ATTRIBUTES
    assert all(re.match("https?:|mailto:", value or "") for name, value in shown.attributes if name == "href")
    growing, html = GrowingMarkdown(), []
    for end in range(1, len(parts) + 1):
        html = growing.render("".join(parts[:end]))
    assert Page("".join(html)).text == shown.text


def test_the_finished_blocks_of_a_growing_reply_are_not_rendered_again() -> None:
    growing = GrowingMarkdown()
    first = growing.render("One.\n\nTwo.\n\n```python\nx = 1\n```\n\nFo")
    second = growing.render("One.\n\nTwo.\n\n```python\nx = 1\n```\n\nFour.\n\nFive")
    assert [a is b for a, b in zip(first, second, strict=False)] == [True, True, False, False]
    assert "Four." in second[3]


def test_code_is_coloured_once_it_is_finished() -> None:
    growing = GrowingMarkdown()
    assert "hl-" not in growing.render("```python\ndef f(): pass\n")[0]
    assert "hl-k" in growing.render("```python\ndef f(): pass\n```\n\nSo")[0]
