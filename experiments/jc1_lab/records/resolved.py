"""What a trial ran with: JC1's defaults, over them the settings that its sweep ran under, over them its own.

Knows that order, and nothing about who shows it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from jc1.decoding import Decoding
from jc1.engines.settings import EngineSettings
from jc1.memory.base import Retrieval
from jc1_lab.records.trials import ENGINE_FIELDS, TrialSettings

if TYPE_CHECKING:
    from jc1_lab.records.results import SweepResult

_RETRIEVAL = {"k": "memory_k", "window": "memory_window"}
"""Fields of `Retrieval`, and the settings that say them for a whole sweep."""


def resolved(trial: TrialSettings, result: SweepResult) -> TrialSettings:
    """Every setting of a trial, those that it left to JC1 or to its sweep too."""
    under = result.settings
    recalled = {field: under[name] for field, name in _RETRIEVAL.items() if name in under}
    started = {name: under[name] for name in ENGINE_FIELDS if name in under}
    engine = {name: value for name, value in asdict(EngineSettings()).items() if name in ENGINE_FIELDS}
    return TrialSettings(
        decoding=Decoding().model_dump() | trial.decoding,
        system=trial.system,
        retrieval=asdict(Retrieval()) | recalled | trial.retrieval,
        engine=engine | started | trial.engine,
    )
