"""The command line as a person or a script meets it: in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def jc1(tmp_path: Path) -> Run:
    """Run `jc1` with the echo engine in a home of its own."""

    def run(*args: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jc1", *args],
            capture_output=True,
            text=True,
            input=stdin,
            cwd=tmp_path,
            env={
                **os.environ,
                "JC1_HOME": str(tmp_path / "home"),
                "JC1_ENGINE": "echo",
                "COLUMNS": "160",
                **environment,
            },
        )

    return run


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_chat_prints_the_reply_and_remembers(jc1: Run) -> None:
    assert ok(jc1("chat", "My cat is called Ada.")) == "My cat is called Ada.\n"
    recalled = json.loads(ok(jc1("chat", "What is my cat called?", "--json")))["trace"]["recalled"]
    (found,) = [r for r in json.loads(ok(jc1("memory", "list", "--json")))["records"] if r["id"] == recalled[0]["id"]]
    assert found["text"] == "My cat is called Ada."


def test_chat_without_memory_leaves_nothing_behind(jc1: Run) -> None:
    ok(jc1("chat", "My cat is called Ada.", "--no-memory"))
    assert json.loads(ok(jc1("memory", "list", "--json")))["total"] == 0


def test_chat_reads_standard_input_and_continues_a_session(jc1: Run) -> None:
    ok(jc1("chat", "-", "--session", "s", stdin="Hello."))
    second = json.loads(ok(jc1("chat", "Again.", "--session", "s", "--json")))
    assert second["text"] == "Again."
    assert second["trace"]["usage"]["prompt_tokens"] > len("Hello.Hello.Again.")


def test_memories_are_added_found_listed_and_forgotten(jc1: Run) -> None:
    record_id = ok(jc1("memory", "add", "I live in Oslo.")).strip()
    hits = json.loads(ok(jc1("memory", "search", "Where do I live?", "--json")))
    assert [(hit["id"], hit["rank"]) for hit in hits] == [(record_id, 1)]
    assert "I live in Oslo." in ok(jc1("memory", "list"))
    assert "I live in Oslo." in ok(jc1("memory", "search", "Oslo"))
    assert ok(jc1("memory", "forget", record_id, "--yes")).startswith("forgotten: 1 record, 0 turns\n")
    assert json.loads(ok(jc1("memory", "list", "--json"))) == {"records": [], "total": 0, "next": None}


def test_an_owner_is_told_nothing_of_another(jc1: Run) -> None:
    record_id = ok(jc1("memory", "add", "I live in Oslo.", "--owner", "ann")).strip()
    assert json.loads(ok(jc1("memory", "search", "Oslo", "--owner", "ben", "--json"))) == []
    refused = jc1("memory", "forget", record_id, "--owner", "ben", "--yes")
    assert refused.returncode == 1
    assert "[record_not_found]" in refused.stderr


def test_config_says_where_a_value_came_from(jc1: Run) -> None:
    shown = json.loads(ok(jc1("config", "--json", JC1_PORT="9001")))
    assert shown["port"] == {"value": 9001, "source": "JC1_PORT"}
    assert shown["host"]["source"] == "default"
    assert "JC1_PORT" in ok(jc1("config", JC1_PORT="9001"))


def test_models_are_listed(jc1: Run) -> None:
    assert "jc1-tiny" in json.loads(ok(jc1("models", "--json")))


@pytest.mark.timeout(240)
def test_doctor_finds_this_machine_fit_and_every_engine_importable(jc1: Run) -> None:
    report = json.loads(ok(jc1("doctor", "--json")))
    assert report["ok"]
    assert report["verdict"].startswith("Ready")
    found = {c["check"]: c["finding"] for c in report["checks"]}
    assert found.keys() >= {"python", "cpu", "home", "model", "embedder", "sqlite"}
    assert found["engines"].startswith("transformers, vllm, deepspeed, openai, echo")


@pytest.mark.timeout(240)
def test_doctor_says_why_an_engine_cannot_be_imported(jc1: Run, tmp_path: Path) -> None:
    for package in ("deepspeed", "vllm"):
        (tmp_path / "broken" / package).mkdir(parents=True)
        (tmp_path / "broken" / package / "__init__.py").write_text("raise ImportError('libnone.so.2: no such file')\n")
    path = {"PYTHONPATH": str(tmp_path / "broken")}
    shown = " ".join(ok(jc1("doctor", **path)).split())
    assert "deepspeed not: ImportError: libnone.so.2" in shown
    assert "Ready" in shown
    assert "Not ready: see engines" in jc1("doctor", **{**path, "JC1_ENGINE": "vllm"}).stdout


@pytest.mark.parametrize(
    ("args", "environment", "code"),
    [
        (("chat", ""), {}, "empty_message"),
        (("chat", "Hi", "--temperature", "-1"), {}, "invalid_decoding"),
        (("chat", "Hi", "--preset", "nobody"), {}, "preset_not_found"),
        (("chat", "Hi", "--engine", "transformers", "--model", "no-such-model"), {}, "model_not_found"),
        (("chat", "Hi"), {"JC1_HOME": "/proc/nothing"}, "home_unusable"),
        (("config",), {"JC1_PORT": "ninety"}, "invalid_settings"),
        (("serve", "--host", "0.0.0.0"), {}, "invalid_settings"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_mistake_is_one_line_with_its_code(
    jc1: Run, args: tuple[str, ...], environment: dict[str, str], code: str
) -> None:
    done = jc1(*args, **environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("jc1: ")
    assert done.stderr.endswith(f"[{code}]\n")


def test_help_names_every_command(jc1: Run) -> None:
    shown = ok(jc1("--help"))
    commands = ("serve", "chat", "memory", "presets", "promote", "rollback", "models", "config", "doctor")
    assert all(name in shown for name in commands)
    assert "--session" in ok(jc1("chat", "--help"))
