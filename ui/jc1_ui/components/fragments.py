"""Pieces of HTML that a tab shows: conversations, the live row, memories, errors.

Knows what each piece says. Knows nothing about where it stands or how it is styled (`assets/style.css`). Every text
from outside is escaped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from jc1_ui.components.plots import duration

if TYPE_CHECKING:
    from jc1.errors import Jc1Error
    from jc1.memory.base import Receipt
    from jc1.sessions import SessionInfo
    from jc1.trace import Trace
    from jc1_ui.components.live import LiveReply

REASONS = 3
"""Signals that a memory's card names."""
STAGE_SAYS = {"recall": "recalling", "prefill": "reading the prompt", "decode": "writing"}
"""What a person reads while a stage is under way, beside the stage's own word."""

_BIN = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 7h16M10 11v6M14 11v6M6 7l1 13h10l1-13M9 7V4h6v3"/></svg>'
)


def age(created: datetime, now: datetime | None = None) -> str:
    """Return how long ago it was, in the largest unit that fits."""
    seconds = ((now or datetime.now(UTC)) - created).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def conversations(sessions: Sequence[SessionInfo], current: str, draft: str | None = None) -> str:
    """List the conversations, most recent first.

    `draft` is the first message of the current one while it is not stored yet.
    """
    rows = [_conversation(s.id, s.title, age(s.updated), s.id == current) for s in sessions]
    if draft and current not in {session.id for session in sessions}:
        rows.insert(0, _conversation(current, draft, "just now", True))
    if not rows:
        return '<p class="jc1-empty">Your conversations will be listed here.</p>'
    return f'<ul class="jc1-conversations">{"".join(rows)}</ul>'


def _conversation(session: str, title: str, when: str, current: bool) -> str:
    name, key = escape(title.strip() or "Untitled"), escape(session, quote=True)
    return (
        f"<li{' class=current' if current else ''}>"
        f'<button type="button" data-open="{key}"{" aria-current=true" if current else ""} title="{name}">'
        f"<span>{name}</span><small>{when}</small></button>"
        f'<button type="button" class="jc1-delete" data-delete="{key}" aria-label="Delete {name}" title="Delete">'
        f"{_BIN}</button></li>"
    )


def welcome(model: str) -> str:
    """Return what an empty conversation says about the model."""
    about = (
        "jc1-tiny is a tiny bundled model. It knows only what you tell it, and remembers that from one "
        "conversation to the next. For more, start JC1 with a larger model."
        if model.startswith("jc1-tiny")
        else "What you tell it is remembered from one conversation to the next."
    )
    return f'<div class="jc1-welcome"><h2>Tell it something, then ask.</h2><p>{about}</p></div>'


def live_row(
    state: str,
    label: str,
    *,
    says: str = "",
    first_token: float | None = None,
    tokens_per_second: float | None = None,
    tokens: int | None = None,
) -> str:
    """Return one line: stage, time to first token, tokens a second, tokens. `state` is idle, busy, done or bad."""
    figures = (
        ("first token", "–" if first_token is None else duration(first_token)),
        ("tokens/s", "–" if tokens_per_second is None else f"{tokens_per_second:,.1f}"),
        ("tokens", "–" if tokens is None else f"{tokens:,}"),
    )
    cells = "".join(f'<span class="jc1-figure"><b>{value}</b> {name}</span>' for name, value in figures)
    explained = f'<span class="jc1-says">· {escape(says)}</span>' if says else ""
    return (
        f'<div class="jc1-live {state}" role="status"><span class="jc1-stage"><i></i>{escape(label)}{explained}</span>'
        f"{cells}</div>"
    )


def live_row_of(reply: LiveReply) -> str:
    """Return the live row of a reply that is under way or over."""
    if reply.error is not None:
        state, label = "bad", "failed"
    elif reply.stopped:
        state, label = "done", "stopped"
    elif reply.finished:
        state, label = "done", "done"
    else:
        state, label = "busy", reply.stage
    return live_row(
        state,
        label,
        says=STAGE_SAYS.get(label, "") if state == "busy" else "",
        first_token=reply.first_token,
        tokens_per_second=reply.tokens_per_second,
        tokens=reply.tokens,
    )


def live_row_of_trace(trace: Trace) -> str:
    """Return the live row of an earlier reply."""
    label = {"ok": "done", "cancelled": "stopped"}.get(trace.outcome, "failed")
    return live_row(
        "done" if trace.outcome in ("ok", "cancelled") else "bad",
        label,
        first_token=trace.first_token,
        tokens_per_second=trace.tokens_per_second,
        tokens=trace.usage.completion_tokens,
    )


def facts(trace: Trace) -> str:
    """List what else a trace holds: who replied, how it ended, what was read and what gave way."""
    rows = {
        "model": f"{trace.model} on {trace.engine}",
        "preset": trace.preset or "–",
        "prompt": f"{trace.usage.prompt_tokens:,} tokens",
        "finish": trace.finish_reason or trace.outcome,
        "stored": _stored(trace),
    }
    if trace.dropped_memories or trace.dropped_messages:
        rows["left out"] = f"{len(trace.dropped_memories)} memories, {trace.dropped_messages} messages (no room)"
    if trace.cached:
        rows["reply"] = "an earlier one to the same request, from the cache"
    if trace.speculation:
        rows["drafts"] = _drafts(trace.speculation)
    if trace.scores:
        rows["best score"] = f"{trace.scores[0]:.3f}"
    if trace.shards:
        parameters = max(shard["held"] for shard in trace.shards)
        rows["weights"] = f"{parameters:,} parameters on each of {len(trace.shards)} ranks"
    rows["trace"] = trace.id
    cells = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f'<dl class="jc1-facts">{cells}</dl>'


def _drafts(stats: Mapping[str, Any]) -> str:
    if not stats["fired"]:
        return f"{stats['method']}: nothing was ever drafted"
    return f"{stats['accepted']} of {stats['drafted']} tokens accepted ({stats['acceptance']:.0%}, {stats['method']})"


def _stored(trace: Trace) -> str:
    if trace.remembered is None:
        # A stopped reply is stored while the page already shows its end.
        return "as stopped" if trace.outcome == "cancelled" else "no"
    return "yes" if trace.remembered else f"no ({trace.remember_error})"


def heading(title: str, detail: str = "") -> str:
    """Return a section's title with a quiet remark on its right."""
    return f'<h3 class="jc1-heading">{escape(title)}<small>{escape(detail)}</small></h3>'


def memories_heading(receipts: Sequence[Receipt]) -> str:
    """Return the title above `memories`: how many, and the order where scores alone do not explain it."""
    count = str(len(receipts)) if receipts else ""
    kinds = {receipt.record.kind for receipt in receipts}
    return heading(
        "Recalled memories", f"{count}, statements first" if "statement" in kinds and len(kinds) > 1 else count
    )


def memories(
    receipts: Sequence[Receipt] | None, *, session: str, titles: Mapping[str, str], searched: bool = True
) -> str:
    """List the recalled memories with their scores, best first. `None` is before the first reply."""
    if receipts is None:
        return '<p class="jc1-empty">The memories that a reply reads are listed here, with their scores.</p>'
    if not receipts:
        reason = (
            "Nothing was recalled: no stored memory answers this message."
            if searched
            else "Memory was off for this reply."
        )
        return f'<p class="jc1-empty">{reason}</p>'
    # Statements are compared with statements, the rest with the rest: their scores have nothing to do with each other.
    best: dict[bool, float] = {}
    for receipt in receipts:
        stated = receipt.record.kind == "statement"
        best[stated] = max(receipt.score, best.get(stated, 0.0))
    ranks = {receipt.record.id: receipt.rank for receipt in receipts}
    cards = "".join(_memory(r, best[r.record.kind == "statement"], ranks, session, titles) for r in receipts)
    return f'<ol class="jc1-memories">{cards}</ol>'


def _memory(receipt: Receipt, best: float, ranks: Mapping[str, int], session: str, titles: Mapping[str, str]) -> str:
    record = receipt.record
    width = 100 * max(0.0, receipt.score / best) if best > 0 else 0.0
    dense = _score(receipt.dense_score, receipt.dense_rank)
    lexical = _score(receipt.lexical_score, receipt.lexical_rank)
    expansion = ""
    if receipt.expanded_from is not None:
        rank = ranks.get(receipt.expanded_from)
        expansion = f"<span>neighbour of {'another' if rank is None else f'#{rank}'}</span>"
    return (
        f'<li><div class="jc1-memory-top"><span class="jc1-rank">{receipt.rank}</span>'
        f'<p dir="auto">{escape(receipt.quoted.text)}</p></div>'
        f'<div class="jc1-bar" title="score, of the best of its kind"><i style="width:{width:.0f}%"></i></div>'
        f'<div class="jc1-scores"><span>score <b>{receipt.score:.2f}</b></span>'
        f"<span>dense {dense}</span><span>lexical {lexical}</span>{expansion}</div>{_why(receipt)}"
        f'<div class="jc1-source">{escape(record.kind)} · {_source(record.session, record.turn, session, titles)}'
        f" · {age(record.created)}</div></li>"
    )


def _why(receipt: Receipt) -> str:
    """Name the signals that spoke most for the record, and what each added to its score."""
    parts = sorted(receipt.parts.items(), key=lambda part: -part[1])[:REASONS]
    shown = " · ".join(f"{name.replace('_', ' ')} +{value:.1f}" for name, value in parts if value >= 0.05)
    return f'<div class="jc1-scores" title="what added most to the score">{shown}</div>' if shown else ""


def _score(score: float | None, rank: int | None) -> str:
    if score is None:
        return "<b>–</b>"
    # BM25 over a handful of records is nearly nothing, and still a match.
    shown = f"{score:.2f}" if abs(score) >= 0.005 or score == 0 else "&lt;0.01"
    return f"<b>{shown}</b> #{rank}"


def _source(session: str | None, turn: int | None, current: str, titles: Mapping[str, str]) -> str:
    if session is None:
        return "added by hand"
    where = f", turn {turn}" if turn is not None else ""
    if session == current:
        return f"this conversation{where}"
    name = titles.get(session)
    key = escape(session, quote=True)
    label = f"“{escape(name)}”" if name else f"session {escape(session[:8])}"
    return f'<button type="button" data-open="{key}" title="Open session {key}">{label}</button>{where}'


def notice(error: Jc1Error) -> str:
    """Show an error as a person reads it, with the code that a bug report needs."""
    return f'<div class="jc1-notice" role="alert"><p>{escape(error.message)}</p><code>{escape(error.code)}</code></div>'


def not_remembered(trace: Trace) -> str:
    """Return the remark on a reply that was given but could not be stored."""
    code = trace.remember_error or "unknown"
    return (
        '<div class="jc1-notice" role="alert"><p>The reply could not be stored: it will not be remembered.</p>'
        f"<code>{escape(code)}</code></div>"
    )
