"""The command line as a person or a script meets it, in this process; of each command one call in its own."""

import json
import re
import shutil
from pathlib import Path

import pytest

from jc1.models import BUNDLED
from tests.support.cli import Run, ok, run_process


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


def test_chat_says_where_the_bundled_model_does_not_know_the_language(jc1: Run) -> None:
    done = jc1("chat", "我的猫叫什么名字？", "--max-tokens", "1", "--no-memory", JC1_ENGINE="transformers")
    assert done.returncode == 0
    assert re.fullmatch(r"jc1: jc1-tiny knows English alone.*\(--model\)\. \[language_not_known\]\n", done.stderr)


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
    def broken(*packages: str) -> str:
        folder = tmp_path / "-".join(packages)
        for package in packages:
            (folder / package).mkdir(parents=True)
            (folder / package / "__init__.py").write_text("raise ImportError('libnone.so.2: no such file')\n")
        return str(folder)

    shown = " ".join(ok(jc1("doctor", PYTHONPATH=broken("deepspeed", "vllm"))).split())
    assert "deepspeed not: ImportError: libnone.so.2" in shown
    assert "Ready" in shown, "the engine of the settings is another"
    none = broken("deepspeed", "transformers", "vllm")
    assert "Not ready: see engines" in jc1("doctor", PYTHONPATH=none, JC1_ENGINE="vllm").stdout


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


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_model_is_one_line_that_names_the_file(jc1: Run, tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(BUNDLED / "jc1-tiny", tmp_path / "damaged")
    (folder / file).write_text("{")
    done = jc1("chat", "Hi", "--engine", "transformers", "--model", str(folder))
    assert (done.returncode, done.stdout) == (1, "")
    sentence = f"The {file} of 'damaged' cannot be read: download the model again."
    assert done.stderr == f"jc1: {sentence} [engine_unavailable]\n"


def test_help_names_every_command(jc1: Run) -> None:
    shown = ok(jc1("--help"))
    commands = ("serve", "chat", "memory", "presets", "promote", "rollback", "models", "config", "doctor")
    assert all(name in shown for name in commands)
    assert "--session" in ok(jc1("chat", "--help"))


@pytest.mark.parametrize(
    ("args", "code", "shown"),
    [
        (("chat", "-"), 0, "My cat is called Ada.\n"),
        (("memory", "list"), 0, "text"),
        (("presets",), 0, "creative@0"),
        (("models",), 0, "jc1-tiny"),
        (("config",), 0, "JC1_HOME"),
        (("version",), 0, "."),
        (("rollback", "nobody"), 1, "[preset_not_found]\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_command_is_the_same_in_a_process_of_its_own(jc1: Run, args: tuple[str, ...], code: int, shown: str) -> None:
    done = run_process(*args, stdin="My cat is called Ada.")
    assert done.returncode == code
    assert shown in (done.stderr if code else done.stdout)
    here = jc1(*args, stdin="My cat is called Ada.")
    assert (here.returncode, here.stdout, here.stderr) == (code, done.stdout, done.stderr)
