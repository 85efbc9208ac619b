"""`jc1 memory export` and `import` as a person or a script meets them."""

import json

from tests.support.cli import Run, ok


def test_memories_are_carried_from_one_owner_to_another(jc1: Run) -> None:
    ok(jc1("memory", "add", "I live in Oslo."))
    whole = ok(jc1("memory", "export", "-"))
    assert ok(jc1("memory", "export", "out.jsonl")) == "exported: 1 record to out.jsonl\n"
    assert ok(jc1("memory", "import", "out.jsonl", "--owner", "ann")).startswith("imported: 1 record;")
    again = json.loads(ok(jc1("memory", "import", "-", "--owner", "ann", "--json", stdin=whole)))
    assert again == {"added": 0, "same": 1, "kept": 0}
    wrong = jc1("memory", "import", "-", stdin=whole + "{}\n")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "Line 2" in wrong.stderr
