"""What a trial ran with, told later: the same as serving would make of its preset under its sweep's settings."""

from dataclasses import asdict

from jc1 import Settings
from jc1.request import resolve
from jc1_lab.records.trials import TrialSettings
from tests.experiments.test_promotion import sweep

UNDER = {"model": "jc1-tiny", "memory_k": 3, "memory_window": 2, "max_reply_tokens": 50, "dtype": "bfloat16"}


def test_a_trial_resolves_as_a_request_with_its_preset_does() -> None:
    trial = TrialSettings(decoding={"temperature": 0.5}, retrieval={"window": 1}, engine={"speculation": "ngram:4"})
    serving = resolve(trial.preset("t"), Settings(memory_k=3, memory_window=2, max_reply_tokens=50))
    told = sweep(settings=UNDER).resolve(trial)
    assert (told.system, told.retrieval) == (serving.system, asdict(serving.retrieval))
    assert told.decoding == serving.decoding.model_dump()
    assert (told.retrieval["k"], told.retrieval["window"], told.decoding["max_tokens"]) == (3, 1, 50)
    assert (told.engine["dtype"], told.engine["speculation"], told.engine["ranks"]) == ("bfloat16", "ngram:4", 1)


def test_trials_that_mean_the_same_under_a_sweeps_settings_have_one_key() -> None:
    settings = Settings(memory_k=3)
    same = [TrialSettings(), TrialSettings(retrieval={"k": 3}), TrialSettings(decoding={"max_tokens": 256})]
    assert len({trial.key(settings) for trial in same}) == 1
    off = [TrialSettings(retrieval={"k": 0}), TrialSettings(retrieval={"k": 0, "window": 2})]
    assert len({trial.key(settings) for trial in (*off, TrialSettings())}) == 2
