"""`jc1` that tells, at each SIGUSR1, which tasks its event loop has: `python counting_tasks.py FILE serve`.

FILE is where it writes how many there are, by the names of what they run, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from pathlib import Path

from jc1.cli.main import main

FILE = Path(sys.argv.pop(1))


def count(*_: object) -> None:
    """Write the counts, in one move: who waits for the file finds it whole."""
    names = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    unfinished = FILE.with_suffix(".part")
    unfinished.write_text(json.dumps(names))
    unfinished.replace(FILE)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, count)
    main()
