"""Markdown as blocks: each with the path of headings above it.

Knows what markdown-it calls its tokens. The text of a block is the source itself, mark-up included: what a model reads
well needs no rendering. Knows nothing about sizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt

from jc1.documents.parts import Block, Form

MAX_HEADING = 60
"""Characters of a heading in a path: six levels fit into a record's place."""

# Only blocks are wanted: what stands inside them is not parsed, but for headings.
_BLOCKS = MarkdownIt("commonmark").enable("table").disable("inline")
_INLINE = MarkdownIt("commonmark")
# Between two lines of three hyphens at the very beginning; markdown-it would take its end for a heading's underline.
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?=\S)(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|$)")
# A rule says as little by itself as a heading does.
_FORMS: dict[str, Form] = {
    "paragraph_open": "prose",
    "blockquote_open": "prose",
    "heading_open": "heading",
    "hr": "heading",
}


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a text whose lines end in line feeds, in order. Every line that is not blank is in one."""
    lines = text.split("\n")
    done = 0
    if front := _FRONT_MATTER.match(text):
        done = front[0].removesuffix("\n").count("\n") + 1
        yield Block(front[0], None, "whole")
    # Blank lines in place of the front matter, so that line numbers stay those of the text.
    tokens = _BLOCKS.parse("\n".join([*[""] * done, *lines[done:]]))
    path: list[tuple[int, str]] = []
    for index, token in enumerate(tokens):
        if token.level or not token.map:
            continue
        # 1) Lines between two tokens: a definition of a link is in none
        start, end = token.map
        yield from _block(lines[done:start], path, "prose")
        # 2) A heading replaces those of its level and below in the path
        form: Form = _FORMS.get(token.type, "whole")
        if token.type == "heading_open":
            level = int(token.tag[1:])
            path = [(above, name) for above, name in path if above < level]
            path.append((level, _plain(tokens[index + 1].content)))
        # 3) The token's own lines
        yield from _block(lines[max(done, start) : end], path, form)
        done = max(done, end)
    yield from _block(lines[done:], path, "prose")


def _block(lines: list[str], path: list[tuple[int, str]], form: Form) -> Iterator[Block]:
    """Yield the lines as a block, unless all of them are blank."""
    if any(line.strip() for line in lines):
        yield Block("\n".join(lines), " > ".join(name for _, name in path if name) or None, form)


def _plain(heading: str) -> str:
    """Return a heading without its mark-up, of at most `MAX_HEADING` characters."""
    inline = _INLINE.parseInline(heading[: 8 * MAX_HEADING])[0].children or []
    text = " ".join("".join(" " if child.type.endswith("break") else child.content for child in inline).split())
    return text if len(text) <= MAX_HEADING else text[: MAX_HEADING - 1].rstrip() + "…"
