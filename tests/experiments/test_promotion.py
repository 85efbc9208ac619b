"""What may be promoted, what it is compared with, and what its preset remembers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jc1.database import open_database
from jc1.database.presets import PresetRepository
from jc1.errors import Conflict, NotSignificant, UnknownRun
from jc1.presets import Preset, Presets
from jc1_lab.promotion import promote
from jc1_lab.records.results import (
    Comparison,
    Interval,
    Latency,
    Load,
    Percentiles,
    SuiteFacts,
    SweepResult,
    Trial,
    Verdict,
    Verified,
)
from jc1_lab.records.trials import TrialSettings
from tests.support.database import new_database

HELDOUT = [f"held-{i}" for i in range(40)]
WINNER = {"temperature": 0.8, "top_p": 0.9}


@pytest.fixture
def presets(tmp_path: Path) -> Iterator[Presets]:
    database = new_database(tmp_path / "jc1.db")
    yield Presets(PresetRepository(database))
    database.dispose()


def interval(mean: float) -> Interval:
    return Interval(mean=mean, low=mean - 0.05, high=mean + 0.05, prompts=len(HELDOUT))


def compared(difference: float, verdict: Verdict) -> Comparison:
    return Comparison(
        difference=difference,
        low=difference - 0.04,
        high=difference + 0.04,
        p=0.01,
        p_adjusted=0.01,
        verdict=verdict,
        prompts=len(HELDOUT),
        mde=0.05,
    )


def trial(number: int, decoding: dict[str, Any] | None = None, **fields: Any) -> Trial:
    settings = TrialSettings(decoding=decoding or {}, **fields.pop("settings", {}))
    return Trial(
        number=number, settings=settings, label=str(number), metrics={"score": interval(0.5 + number / 10)}, **fields
    )


def sweep(
    name: str = "warm",
    *,
    baseline: str = "default@0",
    over: dict[str, Any] | None = None,
    difference: float = 0.2,
    verdict: Verdict = "better",
    scores: dict[str, float] | None = None,
    trials: list[Trial] | None = None,
    **fields: Any,
) -> SweepResult:
    """A finished sweep of three trials whose winner, trial 2, was measured again on held-out prompts. `over` is the
    baseline's decoding."""
    verified = Verified(
        trial=2,
        search=interval(0.75),
        heldout=interval(0.7),
        baseline=interval(0.5),
        comparison=compared(difference, verdict),
        scores=scores or dict.fromkeys(HELDOUT, 0.7),
        baseline_scores=dict.fromkeys(HELDOUT, 0.5),
    )
    about: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:14:05+00:00",
        "suite": SuiteFacts(name="memory-qa", source="memory-qa", digest="d1", search=["s-1"], heldout=HELDOUT),
        "objectives": {"score": "max"},
        "winner": 2,
        "verified": verified,
        "settings": {"model": "jc1-tiny"},
        "mlflow_run": f"run-of-{name}",
    }
    given = {"space": {}, "search": {}, "mde": 0.05, "rows": 120, "machine": {}, "versions": {}}
    return SweepResult(
        name=name,
        baseline_name=baseline,
        trials=trials or [trial(0, over), trial(1, {"temperature": 0.4}), trial(2, WINNER)],
        **{**given, **about, **fields},
    )


def test_the_first_champion_is_compared_with_the_sweeps_baseline(presets: Presets) -> None:
    done = promote(sweep(), 2, presets)
    assert (done.preset.reference, done.alias, done.before, done.saved, done.forced) == (
        "warm@1",
        "champion",
        None,
        True,
        "",
    )
    assert presets.resolve("warm@champion").decoding == WINNER
    assert done.lines() == [
        "warm@1 is better than the baseline default@0, by +0.200 (95 % interval +0.160 to +0.240, "
        "40 held-out prompts).",
        "champion is warm@1.",
    ]


def test_a_champion_that_was_the_baseline_is_compared_with_what_the_sweep_measured(presets: Presets) -> None:
    presets.save(Preset("mine", decoding={"top_k": 5}))
    presets.set_alias("champion", "mine")
    done = promote(sweep(baseline="mine@1", over={"top_k": 5}), 2, presets)
    assert (done.against, done.before, presets.aliases()) == ("mine@1", "mine@1", {"champion": "warm@1"})
    restored = presets.rollback("champion")
    assert restored is not None
    assert restored.reference == "mine@1"


def test_a_baseline_that_was_not_saved_is_known_by_what_it_sets(presets: Presets) -> None:
    presets.save(Preset("mine", decoding={"top_k": 0}))
    presets.set_alias("champion", "mine")
    assert promote(sweep(baseline="space.yaml"), 2, presets).against == "mine@1"


def test_a_preset_remembers_its_run_and_figures_in_plain_json(presets: Presets) -> None:
    latency = Latency(
        load=Load(concurrency=4),
        requests=90,
        blocks=3,
        seconds=12.0,
        ttft=Percentiles(p50=0.1, p90=0.2, p99=0.3),
        total=Percentiles(p50=0.5, p90=0.7, p99=0.9),
        tokens_per_second=400.0,
        requests_per_second=7.5,
    )
    trials = [trial(0), trial(2, latency=[latency])]
    promote(sweep(trials=trials), 2, presets)
    found = presets.resolve("champion").measured
    assert json.loads(json.dumps(found)) == found
    assert {name: found[name] for name in ("run", "sweep", "trial", "model", "suite", "forced")} == {
        "run": "run-of-warm",
        "sweep": "warm",
        "trial": 2,
        "model": "jc1-tiny",
        "suite": {"name": "memory-qa", "digest": "d1"},
        "forced": False,
    }
    assert (found["search"]["mean"], found["heldout"]["mean"], found["baseline"]["mean"]) == (0.7, 0.7, 0.5)
    assert (found["difference"]["verdict"], found["difference"]["against"]) == ("better", "the baseline default@0")
    assert found["scores"] == dict.fromkeys(HELDOUT, 0.7)
    assert found["latency"] == [
        {
            "load": "4 at a time",
            "ttft_p50": 0.1,
            "total_p50": 0.5,
            "total_p99": 0.9,
            "tokens_per_second": 400.0,
            "requests_per_second": 7.5,
        }
    ]
    assert "scores" not in presets.resolve("champion").figures


def test_a_preset_needs_the_model_that_answered_and_what_the_space_set_of_the_engine(presets: Presets) -> None:
    fast = {"engine": {"dtype": "float32", "speculation": "ngram:4"}}
    first = promote(sweep(trials=[trial(0), trial(1), trial(2, settings=fast)]), 2, presets).preset
    assert first.engine == {"model": "jc1-tiny", "dtype": "float32", "speculation": "ngram:4"}


def test_a_winner_needs_what_its_trial_had_from_the_champions_preset(presets: Presets) -> None:
    large = {"engine": {"model": "large", "dtype": "float32"}}
    promote(sweep("one", trials=[trial(0), trial(1), trial(2, settings=large)]), 2, presets)
    assert presets.resolve("champion").engine == large["engine"]
    trials = [trial(0, settings=large), trial(2, {"top_k": 5}, settings=large)]
    done = promote(sweep("two", baseline="one@1", trials=trials), 2, presets)
    assert (done.preset.engine, done.against) == (large["engine"], "one@1")


def test_a_model_in_a_folder_is_needed_by_its_whole_path(
    presets: Presets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / "mine").mkdir()
    (folder / "config.json").touch()
    monkeypatch.chdir(tmp_path)
    for name, model in (("short", "./mine"), ("long", str(folder))):
        promoted = promote(sweep(name, settings={"model": model}), 2, presets, alias=name).preset
        assert promoted.engine["model"] == promoted.measured["model"] == str(folder)
    hub = promote(sweep("hub", settings={"model": "organisation/name"}), 2, presets, alias="hub").preset
    assert hub.engine == {"model": "organisation/name"}


def test_a_champion_is_the_baseline_only_on_the_model_that_it_needs(presets: Presets) -> None:
    promote(sweep(), 2, presets)
    own = {"baseline": "the space's baseline", "over": WINNER, "scores": {"held-0": 0.9}}
    with pytest.raises(NotSignificant, match=r"cannot be compared with warm@1"):
        promote(sweep("other", settings={"model": "another"}, **own), 2, presets)
    assert promote(sweep("same", **own), 2, presets).against == "warm@1"


def test_a_baseline_that_only_shares_the_champions_reference_is_another(presets: Presets) -> None:
    presets.save(Preset("mine", decoding={"top_k": 5}))
    presets.set_alias("champion", "mine")
    with pytest.raises(NotSignificant, match=r"cannot be compared with mine@1"):
        promote(sweep(baseline="mine@1", over={"top_k": 7}), 2, presets)


@pytest.mark.parametrize(
    ("difference", "verdict", "told"),
    [
        (
            -0.1,
            "worse",
            r"is worse than the baseline default@0, by -0\.100 \(95 % interval -0\.140 to -0\.060, 40 held",
        ),
        (0.01, "not distinguishable", r"is not distinguishable from the baseline default@0, by \+0\.010"),
    ],
)
def test_what_was_not_shown_to_be_better_takes_force(
    presets: Presets, difference: float, verdict: Verdict, told: str
) -> None:
    result = sweep(difference=difference, verdict=verdict)
    with pytest.raises(NotSignificant, match=told) as refused:
        promote(result, 2, presets)
    assert refused.value.message.endswith("ask more prompts, or add --force.")
    assert (len(presets.list()), presets.aliases()) == (2, {})
    done = promote(result, 2, presets, force=True)
    assert done.lines()[0].startswith("Forced: Trial 2 of 'warm' is")
    forced = presets.resolve("champion").measured
    assert (forced["forced"], forced["difference"]["verdict"]) == (True, verdict)


def test_a_trial_without_held_out_figures_takes_force(presets: Presets) -> None:
    with pytest.raises(
        NotSignificant, match=r"Trial 1 .* was not measured on prompts held out .* the winner, trial 2, or add"
    ):
        promote(sweep(), 1, presets)
    with pytest.raises(NotSignificant, match="run the sweep to its end"):
        promote(sweep(verified=None), 2, presets)
    done = promote(sweep(), 1, presets, force=True)
    assert done.comparison is None
    assert {"heldout", "scores", "difference"}.isdisjoint(done.preset.measured)
    assert done.preset.measured["search"]["mean"] == 0.6


def test_the_baseline_is_not_better_than_itself(presets: Presets) -> None:
    with pytest.raises(
        NotSignificant, match="Trial 0 of 'warm' is the baseline default@0 itself: promote another trial"
    ):
        promote(sweep(), 0, presets)


@pytest.mark.parametrize("state", ["stopped", "refused"])
def test_a_trial_that_was_not_measured_to_the_end_is_refused_even_by_force(presets: Presets, state: str) -> None:
    result = sweep(trials=[trial(0), trial(2, state=state, reason="behind after 8 prompts")])
    with pytest.raises(NotSignificant, match=rf"Trial 2 of 'warm' was {state} \(behind after 8 prompts\)"):
        promote(result, 2, presets, force=True)
    assert presets.aliases() == {}


def test_a_trial_that_there_is_not_is_told(presets: Presets) -> None:
    with pytest.raises(UnknownRun, match="'warm' has no trial 9: `jc1 runs show warm`"):
        promote(sweep(), 9, presets)


def test_a_run_promoted_again_saves_no_other_version(presets: Presets) -> None:
    first = promote(sweep(), 2, presets)
    again = promote(sweep(), 2, presets)
    assert (again.saved, again.preset, again.before) == (False, first.preset, "warm@1")
    assert again.lines()[-1] == "champion is warm@1, as it was."
    assert [preset.reference for preset in presets.list()] == ["default@0", "creative@0", "warm@1"]
    assert len(presets.history("champion")) == 1


def test_a_run_promoted_to_another_alias_keeps_its_version(presets: Presets) -> None:
    promote(sweep(), 2, presets)
    done = promote(sweep(), 2, presets, alias="challenger")
    assert (done.saved, done.preset.reference) == (False, "warm@1")
    assert presets.aliases() == {"challenger": "warm@1", "champion": "warm@1"}


def test_a_sweep_of_the_same_name_run_anew_is_another_run(presets: Presets) -> None:
    promote(sweep(), 2, presets)
    done = promote(sweep(created="2026-02-02T03:04:05+00:00", baseline="warm@1", over=WINNER), 2, presets)
    assert (done.preset.reference, done.against) == ("warm@2", "warm@1")


@pytest.mark.parametrize(
    ("named", "made"),
    [("warm nights/2", "warm-nights-2"), ("champion", "sweep-champion"), ("default", "sweep-default")],
)
def test_a_sweeps_name_becomes_one_that_a_preset_can_have(presets: Presets, named: str, made: str) -> None:
    assert promote(sweep(named), 2, presets).preset.name == made


@pytest.mark.parametrize(
    "names", [{"name": "champion"}, {"alias": "default"}, {"alias": "a@b"}, {"name": "a@b"}], ids=str
)
def test_names_that_cannot_be_are_refused_before_anything_is_saved(presets: Presets, names: dict[str, str]) -> None:
    with pytest.raises(Conflict):
        promote(sweep(), 2, presets, **names)  # type: ignore[arg-type]
    assert (len(presets.list()), presets.aliases()) == (2, {})


@pytest.mark.parametrize(
    "other",
    [
        {"suite": SuiteFacts(name="other", source="other.jsonl", digest="d2", search=[], heldout=HELDOUT)},
        {"settings": {"model": "another"}},
        {"scores": {"held-0": 0.9}},
        {"owner": "ann", "memory": "m1"},
        {"settings": {"model": "jc1-tiny", "embedder": "sentence-transformers"}},
    ],
    ids=["another suite", "another model", "other prompts", "another memory", "another embedder"],
)
def test_a_champion_measured_otherwise_cannot_be_compared_with(presets: Presets, other: dict[str, Any]) -> None:
    promote(sweep("first", **other), 2, presets)
    with pytest.raises(
        NotSignificant, match=r"cannot be compared with first@1.*--suite memory-qa --baseline champion`"
    ):
        promote(sweep(), 2, presets)
    done = promote(sweep(), 2, presets, force=True)
    assert (done.comparison, done.before) == (None, "first@1")
    assert done.lines()[1] == "champion is warm@1, was first@1."


def test_winners_over_the_same_memory_are_compared_and_over_one_that_grew_since_are_not(presets: Presets) -> None:
    promote(sweep("first", owner="ann", memory="m1"), 2, presets)
    with pytest.raises(NotSignificant, match="is not distinguishable from first@1"):
        promote(sweep(owner="ann", memory="m1"), 2, presets)
    for owner, memory in (("ann", "m2"), ("bob", "m1"), (None, "")):
        with pytest.raises(NotSignificant, match="with the same model and memory"):
            promote(sweep(owner=owner, memory=memory), 2, presets)


def test_a_champion_saved_before_memories_were_remembered_is_compared_as_one_without(presets: Presets) -> None:
    later = promote(sweep("first"), 2, presets).preset
    measured = {k: v for k, v in later.measured.items() if k not in ("owner", "memory", "embedder")}
    presets.set_alias("champion", presets.save(Preset("early", decoding=WINNER, measured=measured)).reference)
    with pytest.raises(NotSignificant, match="is not distinguishable from early@1"):
        promote(sweep(), 2, presets)
    with pytest.raises(NotSignificant, match="with the same model and memory"):
        promote(sweep(owner="ann", memory="m1"), 2, presets)


def test_what_was_recalled_while_it_was_measured_is_what_is_served(presets: Presets) -> None:
    settings = {"model": "jc1-tiny", "memory_k": 1, "memory_window": 0}
    off = {"settings": {"retrieval": {"k": 0}}}
    narrow = sweep("narrow", settings=settings)
    assert promote(narrow, 2, presets).preset.retrieval == {"k": 1, "window": 0}
    silent = sweep(
        "silent", baseline="narrow@1", trials=[trial(0, WINNER), trial(1), trial(2, **off)], settings=settings
    )
    assert promote(silent, 2, presets).preset.retrieval == {"k": 0, "window": 0}


def test_the_model_that_answered_is_remembered_where_the_space_varies_it(presets: Presets) -> None:
    own = {"settings": {"engine": {"model": "other-model"}}}
    done = promote(sweep(trials=[trial(0), trial(1), trial(2, **own)]), 2, presets)
    assert done.preset.measured["model"] == done.preset.engine["model"] == "other-model"
    with pytest.raises(NotSignificant, match="with the same model"):
        promote(sweep("later"), 2, presets)


def test_a_shipped_preset_keeps_its_meaning(presets: Presets) -> None:
    with pytest.raises(Conflict, match="that JC1 ships"):
        promote(sweep(), 2, presets, name="default", force=True)
    assert presets.resolve("default").version == 0


def test_a_champion_that_nobody_measured_cannot_be_compared_with(presets: Presets) -> None:
    presets.set_alias("champion", "creative")
    with pytest.raises(NotSignificant, match=r"cannot be compared with creative@0"):
        promote(sweep(), 2, presets)


def test_a_champion_of_another_sweep_is_compared_prompt_by_prompt(presets: Presets) -> None:
    spread = {prompt: (i % 4) / 4 for i, prompt in enumerate(HELDOUT)}
    promote(sweep("first", scores=spread), 2, presets)
    better = sweep("second", scores={prompt: score + 0.2 for prompt, score in spread.items()})
    done = promote(better, 2, presets)
    assert done.comparison is not None
    assert done.comparison.difference == pytest.approx(0.2)
    assert (done.comparison.verdict, done.preset.reference) == ("better", "second@1")
    noise = {prompt: score + 0.3 * (-1) ** i for i, (prompt, score) in enumerate(spread.items())}
    with pytest.raises(NotSignificant, match="is not distinguishable from second@1"):
        promote(sweep("third", scores={p: score + 0.2 for p, score in noise.items()}), 2, presets)
    with pytest.raises(NotSignificant, match=r"is worse than second@1, by -0\.200"):
        promote(sweep("fourth", scores=spread), 2, presets)


@pytest.mark.parametrize(
    ("meanwhile", "there"),
    [
        (lambda other: promote(sweep("second"), 2, other, force=True), "second@1"),
        (lambda other: other.rollback("champion"), "default@0"),
    ],
    ids=["promoted", "rolled back"],
)
def test_an_alias_that_another_process_moved_meanwhile_is_left_to_it(
    presets: Presets, tmp_path: Path, meanwhile: Callable[[Presets], object], there: str
) -> None:
    class Overtaken(Presets):
        def save(self, preset: Preset) -> Preset:
            meanwhile(presets)
            return super().save(preset)

    for reference in ("default", "creative"):
        presets.set_alias("champion", reference)
    database = open_database(f"sqlite:///{tmp_path / 'jc1.db'}")
    with pytest.raises(Conflict, match=f"'champion' was pointed at {there} meanwhile: try again"):
        promote(sweep(), 2, Overtaken(PresetRepository(database)), force=True)
    database.dispose()
    assert presets.aliases() == {"champion": there}
