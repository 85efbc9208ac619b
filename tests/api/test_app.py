"""The application's life: it starts and ends with its workbench, and gives everything back when it cannot start."""

import pytest

from jc1 import Workbench
from jc1.engines.echo import EchoEngine
from jc1.errors import EngineUnavailable
from jc1_api.app import create_app


class Unstartable(EchoEngine):
    """Cannot be started, and knows whether it was closed."""

    closed = False

    async def start(self) -> None:
        raise EngineUnavailable("The weights are not there: download them.")

    async def close(self) -> None:
        self.closed = True


async def test_an_engine_that_cannot_start_is_the_callers_to_tell_and_the_stores_are_closed(
    workbench: Workbench,
) -> None:
    workbench.engine = engine = Unstartable()
    app = create_app(workbench)
    with pytest.raises(EngineUnavailable, match="download them"):
        await app.router.lifespan_context(app).__aenter__()
    assert engine.closed


async def test_the_workbench_lives_as_long_as_the_app(workbench: Workbench) -> None:
    app = create_app(workbench)
    async with app.router.lifespan_context(app):
        assert workbench.engine.healthy
    assert not workbench.engine.healthy
