"""`jc1 usage` as a person or a script meets it."""

import json

from jc1.workbench import Workbench
from tests.support.cli import Run, ok


def test_usage_is_shown_by_day_key_and_model(jc1: Run) -> None:
    assert json.loads(ok(jc1("usage", "--json"))) == []
    stores = Workbench.stores()
    stores.usage.record("0123456789ab", "tiny", requests=3, prompt_tokens=70, completion_tokens=11)
    stores.usage.record("ba9876543210", "tiny", refused=1)
    stores.usage.close()
    shown = ok(jc1("usage"))
    assert "0123456789ab" in shown
    assert "ba9876543210" in shown
    (row,) = json.loads(ok(jc1("usage", "--key", "0123456789ab", "--days", "1", "--json")))
    assert (row["requests"], row["prompt_tokens"], row["completion_tokens"], row["refused"]) == (3, 70, 11, 0)
