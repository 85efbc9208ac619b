"""One row an engine: what everybody reads of it, and an engine that another package brings."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from jc1.cli.main import app
from jc1.doctor import examine, import_error
from jc1.engines import create_engine
from jc1.engines.registry import BUILT_IN, EngineRow, distributions, engines
from jc1.engines.settings import FIELDS, FLAGS, default_of
from jc1.errors import InvalidSettings
from jc1.settings import Settings

ROW = """
from jc1.engines.registry import EngineRow

row = EngineRow(
    "steam", "jc1_steam.boiler:make", takes=frozenset({"model", "engine_args"}), local_model=False,
    distributions=("jc1-steam",),
)
"""
BOILER = """
from jc1.engines.echo import EchoEngine

class SteamEngine(EchoEngine):
    name = "steam"

def make(settings):
    engine = SteamEngine()
    engine.model = f"{settings.engine_args.get('bars', 1)} bars"
    return engine
"""


def install(folder: Path, row: str = ROW, point: str = "steam = jc1_steam:row") -> None:
    """A package as pip leaves it: its modules, and what it is in a dist-info."""
    (folder / "jc1_steam").mkdir(parents=True)
    (folder / "jc1_steam" / "__init__.py").write_text(row)
    (folder / "jc1_steam" / "boiler.py").write_text(BOILER)
    info = folder / "jc1_steam-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jc1-steam\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[jc1.engines]\n{point}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for packages, on the path of this process and of those that it starts."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    monkeypatch.delitem(sys.modules, "jc1_steam", raising=False)
    monkeypatch.delitem(sys.modules, "jc1_steam.boiler", raising=False)
    engines.cache_clear()
    yield folder
    engines.cache_clear()


def test_every_field_is_taken_by_some_engine_and_is_a_setting_with_the_same_default_and_meaning() -> None:
    assert set().union(*(row.takes for row in BUILT_IN)) == set(FIELDS)
    settings = Settings(home=Path("nowhere"))
    for name in set(FIELDS) - {"api_key"}:
        assert getattr(settings, name) == default_of(name), name
        assert Settings.model_fields[name].description


def test_a_fields_meaning_names_the_engines_where_few_take_it() -> None:
    described = {name: str(Settings.model_fields[name].description) for name in FIELDS}
    assert described["tensor_parallel"] == "Devices that share each layer (vllm)."
    assert described["speculation"].endswith("(transformers, vllm).")
    assert "(" not in described["dtype"]


def test_serve_chat_and_sweep_take_the_same_flags_of_the_engine() -> None:
    group = typer.main.get_command(app)
    context = group.make_context("jc1", ["version"])
    wanted = {f"--{name.replace('_', '-')}" for name in ("home", "engine", *FLAGS)}
    for command in ("serve", "chat", "sweep"):
        options = {option for parameter in group.get_command(context, command).params for option in parameter.opts}
        assert wanted <= options
        assert not {"--api-key", "--engine-args", "--flags"} & options


def test_a_package_brings_an_engine_that_is_served(site: Path) -> None:
    install(site)
    done = CliRunner().invoke(app, ["chat", "Full ahead.", "--engine", "steam", "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert (told["text"], told["trace"]["engine"], told["trace"]["model"]) == ("Full ahead.", "steam", "1 bars")


def test_its_settings_reach_it_and_those_that_it_does_not_take_are_refused(site: Path) -> None:
    install(site)
    assert create_engine(Settings(engine="steam", engine_args={"bars": 12})).model == "12 bars"
    with pytest.raises(InvalidSettings, match="The steam engine takes no speculation"):
        create_engine(Settings(engine="steam", speculation="ngram:4"))


def test_the_doctor_lists_it_and_says_why_a_broken_one_is_not_there(site: Path, tmp_path: Path) -> None:
    install(site)

    def finding() -> dict[str, str]:
        probe = {"import jc1_steam.boiler": import_error}
        settings = Settings(engine="steam", home=tmp_path / "home")
        report = examine(settings, probe=lambda code: probe.get(code, lambda _: "")(code))
        return {check["check"]: check for check in report["checks"]}["engines"]

    assert finding() == {"check": "engines", "state": "ok", "finding": ", ".join(engines())}
    assert "steam" in engines()
    (site / "jc1_steam" / "boiler.py").write_text("raise ImportError('no coal')\n")
    broken = finding()
    assert (broken["state"], broken["finding"].rpartition("; ")[2]) == ("bad", "steam not: ImportError: no coal")


def test_its_packages_count_among_what_a_reply_depends_on(site: Path) -> None:
    install(site)
    assert "jc1-steam" in distributions()


@pytest.mark.parametrize(
    "row", ["raise ImportError('no coal')", "raise SystemExit", "row = 3", ROW.replace('"steam"', '"echo"')]
)
def test_what_cannot_join_changes_nothing(site: Path, row: str, caplog: pytest.LogCaptureFixture) -> None:
    install(site, row)
    with caplog.at_level(logging.ERROR):
        assert list(engines().values()) == list(BUILT_IN)
    with pytest.raises(InvalidSettings, match=r"engine = 'steam' .* here there are auto, transformers"):
        Settings.load({"engine": "steam"})


def test_a_row_without_a_probe_imports_what_makes_it() -> None:
    row = EngineRow("steam", "jc1_steam.boiler:make", takes=frozenset())
    assert row.statements == "import jc1_steam.boiler"
