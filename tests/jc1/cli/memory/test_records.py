"""`jc1 memory` as a person or a script meets it, without an engine."""

import json
import re

from tests.support.cli import Run, ok


def test_a_memory_is_edited_marked_shown_and_counted(jc1: Run) -> None:
    record_id = ok(jc1("memory", "add", "I live in Oslo.", "--pin")).strip()
    assert ok(jc1("memory", "edit", record_id, "I live in Bergen.")) == f"edited: {record_id}\n"
    assert ok(jc1("memory", "unpin", record_id)) == f"unpinned: {record_id}\n"
    assert ok(jc1("memory", "exclude", record_id)) == f"excluded: {record_id}\n"
    shown = json.loads(ok(jc1("memory", "show", record_id, "--json")))
    assert (shown["text"], shown["pinned"], shown["excluded"]) == ("I live in Bergen.", False, True)
    assert [edit["text"] for edit in shown["history"]] == ["I live in Oslo."]
    assert "I live in Oslo." in ok(jc1("memory", "show", record_id))
    assert json.loads(ok(jc1("memory", "search", "Bergen", "--json"))) == []
    assert "excluded, edited" in ok(jc1("memory", "list", "--contains", "bergen", "--excluded"))
    assert ok(jc1("memory", "include", record_id)) == f"included: {record_id}\n"
    assert ok(jc1("memory", "pin", record_id)) == f"pinned: {record_id}\n"
    assert json.loads(ok(jc1("memory", "stats", "--json")))["pinned"] == 1
    assert re.search(r"kinds: statement +1\n", re.sub(" +\n", "\n", ok(jc1("memory", "stats"))))


def test_what_cannot_be_done_is_one_line_and_a_status(jc1: Run) -> None:
    for arguments, code in (
        (("forget", "mem_none", "--yes"), "[record_not_found]"),
        (("forget", "--yes"), "[invalid_request]"),
        (("restore", "--session", "none"), "[session_not_found]"),
        (("pin", "mem_none"), "[record_not_found]"),
    ):
        refused = jc1("memory", *arguments)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert code in refused.stderr
    for arguments in (("import", "nowhere.jsonl"), ("export", "no/where.jsonl"), ("list", "--kind", "lie")):
        assert jc1("memory", *arguments).returncode == 2
