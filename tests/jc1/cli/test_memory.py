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


def test_forgetting_shows_what_goes_asks_and_can_be_undone_until_it_is_purged(jc1: Run) -> None:
    ok(jc1("chat", "My cat is called Ada.", "--session", "s"))
    asked = jc1("memory", "forget", "--session", "s", stdin="n\n")
    assert asked.returncode == 1
    assert "My cat is called Ada." in asked.stdout
    assert (
        "2 records (0 of them replies that repeat what was selected), 0 earlier texts, 1 session turn" in asked.stdout
    )
    assert asked.stdout.endswith("Nothing was forgotten.\n")
    done = ok(jc1("memory", "forget", "--session", "s", stdin="y\n"))
    assert "forgotten: 2 records, 1 turn" in done
    assert "`jc1 memory restore` brings it back until" in done
    assert json.loads(ok(jc1("memory", "list", "--forgotten", "--json")))["total"] == 2
    assert ok(jc1("memory", "restore", "--session", "s")) == "restored: 2 records, 1 turn\n"
    assert ok(jc1("memory", "purge")).startswith("purged: 0 records, 0 earlier texts, 0 turns\n")
    gone = ok(jc1("memory", "forget", "--all", "--yes", "--purge"))
    assert "purged: 2 records, 0 earlier texts, 1 turn\nJC1 does not reach:\n- Backups" in gone
    ok(jc1("memory", "forget", ok(jc1("memory", "add", "One.")).strip(), "--yes"))
    assert ok(jc1("memory", "purge", "--now", "--yes")).startswith("purged: 1 record, ")


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
