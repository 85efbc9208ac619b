"""A reply's Markdown as HTML that loads nothing and loses nothing.

Knows which Markdown is drawn and how. HTML, pictures and character references are text here: a reply is written by a
model that read other people's words, and a page that obeys it gives what it knows away. Knows nothing about messages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import table
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

if TYPE_CHECKING:
    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

MAX_NESTING = 60
"""Levels of quotes and lists; markdown-it drops what lies deeper, so a text that goes so far is shown as it is."""
MAX_HIGHLIGHTED = 20_000
"""Characters of code that are coloured: Pygments takes about 5 ms for a thousand."""
MATHS = (("$$", "$$", True), ("\\[", "\\]", True), ("\\(", "\\)", False))
"""Delimiters of formulas, and whether each stands on a line of its own. `$` is left out: "$5 and $6" is no formula."""

_CELL_END = re.compile(r"(?<!\\)\|")
_FORMATTER = HtmlFormatter(nowrap=True, classprefix="hl-")


class GrowingMarkdown:
    """A text that is rendered again whenever it has grown: its last two blocks are, for the others cannot change.

    A line that is not finished may still join the block before it, as `2` does that becomes `2. b` under `1. a`.
    """

    def __init__(self) -> None:
        self._finished: list[str] = []
        self._start = 0
        """Where the last two blocks begin."""

    def render(self, text: str) -> list[str]:
        """Return the HTML of each block of `text`, which begins with the text of the call before."""
        tail = _with_line_feeds(text)[self._start :]
        blocks = _blocks(tail)
        if blocks is None:
            return [_plain(text)]
        finished, growing = blocks[:-2], blocks[-2:]
        self._finished += [_html(tokens, growing=False) for tokens in finished]
        if finished:
            self._start += _offset(tail, growing[0])
        last = len(growing) - 1
        return [*self._finished, *(_html(tokens, growing=index == last) for index, tokens in enumerate(growing))]


@lru_cache(maxsize=512)
def render(text: str) -> tuple[str, ...]:
    """Return the HTML of each block of a finished text: paragraph, list, table, code and so on."""
    blocks = _blocks(text)
    if blocks is None:
        return (_plain(text),)
    return tuple(_html(tokens, growing=False) for tokens in blocks)


def _blocks(text: str) -> list[list[Token]] | None:
    """Return the tokens of each top-level block, or nothing where markdown-it would drop some of the text."""
    blocks: list[list[Token]] = []
    depth = 0
    for token in _PARSER.parse(text):
        if token.level >= MAX_NESTING - 1:
            return None
        if depth == 0:
            blocks.append([])
        blocks[-1].append(token)
        depth += token.nesting
    return blocks


def _html(tokens: list[Token], *, growing: bool) -> str:
    return str(_PARSER.renderer.render(tokens, _PARSER.options, {"growing": growing}))


def _plain(text: str) -> str:
    return f'<p class="jc1-plain">{escape(text)}</p>'


def _offset(text: str, tokens: list[Token]) -> int:
    """Return where the block's first line begins."""
    lines = text.split("\n")[: tokens[0].map[0]] if tokens[0].map else []
    return sum(len(line) + 1 for line in lines)


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


# What is parsed


def _inline_maths(state: StateInline, silent: bool) -> bool:
    """Take `\\(a\\)`, `\\[a\\]` or `$$a$$` in a line."""
    for opening, closing, display in MATHS:
        if not state.src.startswith(opening, state.pos):
            continue
        end = state.src.find(closing, state.pos + len(opening), state.posMax)
        if end < 0 or not state.src[state.pos + len(opening) : end].strip():
            return False
        if not silent:
            token = state.push("maths", "", 0)
            token.content, token.block = state.src[state.pos : end + len(closing)], display
        state.pos = end + len(closing)
        return True
    return False


def _block_maths(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take the lines from `$$` or `\\[` to the closing one, or to the end: one may begin like a list or a heading."""
    opening = _line(state, first).strip()
    closing = {"$$": "$$", "\\[": "\\]"}.get(opening)
    if closing is None:
        return False
    if silent:
        return True
    end, is_closed = first + 1, False
    for line in range(first + 1, last):
        if not state.isEmpty(line) and state.sCount[line] < state.blkIndent:
            break  # The list that holds the formula is over.
        end = line + 1
        if is_closed := _line(state, line).rstrip().endswith(closing):
            break
    token = state.push("maths" if is_closed else "unclosed_maths", "", 0)
    token.content = state.getLines(first, end, state.blkIndent, False).strip()
    token.block, token.map = True, [first, end]
    state.line = end
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _table_without_loss(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a table, unless a row has more cells than its head: they would be dropped."""
    before = len(state.tokens)
    if not table(state, first, last, silent):
        return False
    if silent:
        return True
    lines = (
        state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]] for line in range(first, state.line)
    )
    head, *rows = (len(_CELL_END.findall(line.strip().strip("|"))) for line in lines)
    if any(cells > head for cells in rows):
        del state.tokens[before:]
        state.line = first
        return False
    return True


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        """Let a link lead to another site or a mailbox; anything else stays text."""
        return re.match(r"(?:https?|mailto):", url, re.IGNORECASE) is not None


# What is written


def _fence(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """Render code. While it is being written it is not coloured: each frame would do all of it again."""
    token = tokens[index]
    info = token.info.strip()
    code = (
        escape(token.content) if env["growing"] else _coloured(token.content, info.split(maxsplit=1)[0] if info else "")
    )
    return (
        f'<div class="jc1-code"><div class="jc1-code-top"><span>{escape(info)}</span>'
        f'<button type="button" data-copy="code">Copy</button></div><pre><code>{code}</code></pre></div>'
    )


@lru_cache(maxsize=256)
def _coloured(code: str, language: str) -> str:
    if not language or len(code) > MAX_HIGHLIGHTED:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, _FORMATTER))


def _formula(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """Render the source of a formula. The page draws it; where it cannot, the source stays."""
    token = tokens[index]
    if token.type == "unclosed_maths":
        return _plain(token.content)
    return f'<span class="jc1-maths"{" data-display" if token.block else ""}>{escape(token.content)}</span>'


def _picture(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """Write the picture's source: its address may carry what the model has read to whoever is asked for it."""
    token = tokens[index]
    return escape(f"![{token.content}]({token.attrs['src']})")


def _link(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    attributes = tokens[index].attrs
    address = escape(str(attributes["href"]))
    title = escape(str(attributes.get("title", attributes["href"])))
    return f'<a href="{address}" title="{title}" target="_blank" rel="noopener noreferrer nofollow">'


def _parser() -> MarkdownIt:
    options: Any = {"html": False, "breaks": True, "maxNesting": MAX_NESTING}
    parser = _Parser("commonmark", options)
    parser.enable(["table", "strikethrough"])
    # A definition of a link is shown nowhere, and "[note]: done" is one.
    parser.disable(["entity", "reference"])
    parser.inline.ruler.before("escape", "maths", _inline_maths)
    parser.block.ruler.at("table", _table_without_loss, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.before("fence", "maths", _block_maths, {"alt": ["paragraph", "blockquote", "list"]})
    rules = {"fence": _fence, "code_block": _fence, "image": _picture, "link_open": _link}
    for name, rule in {**rules, "maths": _formula, "unclosed_maths": _formula}.items():
        parser.add_render_rule(name, rule)
    return parser


_PARSER = _parser()
