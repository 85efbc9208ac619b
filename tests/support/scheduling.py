"""Which worker runs what where pytest runs in two (`-n 2 --dist loadscope`), and in what order.

A module stays on one worker, since its fixtures are made once a module. All that starts vLLM or DeepSpeed stays on one:
each takes both cores while it starts, and those that several tests share are started once. Knows paths only.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

ENGINES = (
    "tests/jc1/engines/deepspeed/",
    "tests/jc1/engines/vllm/",
    "tests/jc1/engines/test_conformance.py",
    "tests/jc1/engines/test_distribution.py",
    "tests/jc1/engines/test_parity.py",
    "tests/jc1/compat/",
    "tests/api/test_serve_engines.py",
    "tests/experiments/sweep/test_engines.py",
)
"""Where tests marked `engines` are."""
ORDER: tuple[tuple[str, ...] | str, ...] = (
    ENGINES,
    "tests/ui/",
    "tests/notebooks/",
    "tests/experiments/",
    "tests/api/",
    "tests/jc1/",
)
"""What takes longest begins first, so that both workers end at about the same time."""


class ByModule(LoadScopeScheduling):  # type: ignore[misc]
    """A module, or all engines, to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return "engines" if nodeid.startswith(ENGINES) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    config.option.loadscopereorder = False  # xdist's own would begin with what has many short tests
    return ByModule(config, log) if config.option.dist == "loadscope" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the items in order, modules together; an engine's test that no worker is set apart for is a mistake."""
    engines = [item.nodeid for item in items if item.get_closest_marker("engines")]
    if strays := [nodeid for nodeid in engines if not nodeid.startswith(ENGINES)]:
        raise pytest.UsageError(f"add to ENGINES in {__name__}: {strays}")
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    return next((place for place, paths in enumerate(ORDER) if item.nodeid.startswith(paths)), len(ORDER))
