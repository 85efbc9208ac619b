"""Recalling: the owner's records that answer the message, unless the history holds them already.

Knows what of a request is searched with, and what is left out. Knows nothing about how memory searches.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jc1.memory.base import Receipt
    from jc1.request import Request
    from jc1.trace import Trace
    from jc1.workbench import Workbench


async def recall(bench: Workbench, trace: Trace, request: Request) -> tuple[Receipt, ...]:
    """Return what memory gives for a request, best first; nothing where it does not recall."""
    if not request.recalls:
        return ()
    began = trace.elapsed()
    result = await asyncio.to_thread(
        bench.memory.search,
        request.owner,
        request.message.said,
        request.resolved.retrieval,
        already_read=(request.session, frozenset(request.turns)) if request.session else None,
    )
    trace.recall(result, began)
    return result.receipts
