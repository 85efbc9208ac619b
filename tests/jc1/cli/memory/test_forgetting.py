"""`jc1 memory forget`, `restore` and `purge` as a person meets them."""

import json

from tests.support.cli import Run, ok


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


def test_where_there_is_nothing_to_forget_that_is_said_and_no_restoring_is_offered(jc1: Run) -> None:
    ok(jc1("chat", "My cat is called Ada.", "--owner", "ann"))
    for asked in (["--all", "--yes"], ["--all"]):
        assert ok(jc1("memory", "forget", *asked)) == "There was nothing to forget.\n"
    ok(jc1("memory", "forget", "--all", "--yes", "--owner", "ann"))
    assert ok(jc1("memory", "forget", "--all", "--yes", "--owner", "ann")) == "There was nothing to forget.\n"
    assert "purged: 2 records" in ok(jc1("memory", "forget", "--all", "--yes", "--purge", "--owner", "ann"))
