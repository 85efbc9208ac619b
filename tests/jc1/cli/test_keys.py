"""`jc1 keys` as a person or a script meets it."""

import json
import re

import pytest

from tests.support.cli import Run, ok

TOKEN = re.compile(r"jc1_([0-9a-f]{12})_[A-Za-z0-9_-]{43}\n")


def made(jc1: Run, *args: str) -> str:
    """Return the id of a new key."""
    match = TOKEN.fullmatch(ok(jc1("keys", "create", *args)))
    assert match
    return match[1]


def test_the_token_stands_alone_on_standard_output_with_what_it_allows_beside_it(jc1: Run) -> None:
    done = jc1("keys", "create", "ann", "--scope", "chat")
    match = TOKEN.fullmatch(ok(done))
    assert match
    assert done.stderr == f"jc1: key {match[1]} for 'ann': chat. It is shown this once.\n"


def test_a_key_is_listed_and_shown_without_its_secret(jc1: Run) -> None:
    given = ("--name", "laptop", "--model", "jc1-tiny", "--concurrent", "2", "--expires", "30d")
    issued = json.loads(ok(jc1("keys", "create", "ann", *given, "--json")))
    token = issued.pop("key")
    assert (issued["owner"], issued["name"], issued["state"]) == ("ann", "laptop", "valid")
    assert (issued["models"], issued["presets"], issued["limits"]) == (["jc1-tiny"], None, {"concurrent": 2})
    assert json.loads(ok(jc1("keys", "list", "--json"))) == [issued]
    assert json.loads(ok(jc1("keys", "show", issued["id"], "--json"))) == issued
    for command in (("list",), ("show", issued["id"])):
        shown = ok(jc1("keys", *command))
        assert issued["id"] in shown
        assert token.rpartition("_")[2] not in shown
    assert re.search(r"limits +concurrent 2", ok(jc1("keys", "show", issued["id"])))


def test_a_rotation_says_how_long_the_old_secret_is_good(jc1: Run) -> None:
    key_id = made(jc1, "ann")
    kept = jc1("keys", "rotate", key_id, "--grace", "1h")
    assert TOKEN.fullmatch(ok(kept))
    assert re.search(r"The one before is good until \d{4}-\d\d-\d\d \d\d:\d\d \(UTC\)\.", kept.stderr)
    ended = jc1("keys", "rotate", key_id)
    assert TOKEN.fullmatch(ok(ended))
    assert "The one before ends within 5 seconds." in ended.stderr


def test_a_revoked_key_stays_listed(jc1: Run) -> None:
    key_id = made(jc1, "ann")
    assert ok(jc1("keys", "revoke", key_id)) == f"The key {key_id} of 'ann' is revoked.\n"
    (listed,) = json.loads(ok(jc1("keys", "list", "--json")))
    assert (listed["id"], listed["state"]) == (key_id, "revoked")
    assert json.loads(ok(jc1("keys", "revoke", key_id, "--json"))) == listed
    assert "[conflict]" in jc1("keys", "rotate", key_id).stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("create", "ann", "--scope", "root"), "[invalid_request]"),
        (("create", "ann", "--expires", "soon"), "write 90s, 30m, 12h or 30d"),
        (("create", " "), "[invalid_request]"),
        (("show", "0" * 12), "[key_not_found]"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(jc1: Run, args: tuple[str, ...], told: str) -> None:
    done = jc1("keys", *args)
    assert done.returncode != 0
    assert told in done.stderr
    assert done.stdout == ""


def test_no_model_is_needed_to_make_one(jc1: Run) -> None:
    assert TOKEN.fullmatch(ok(jc1("keys", "create", "ann", JC1_MODEL="/nowhere", JC1_ENGINE="transformers")))
