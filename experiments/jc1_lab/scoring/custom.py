"""Scorers from outside JC1: any Python function, and MLflow's scorers, by `module:name`, or by the name under which an
installed package brings one (the entry point `jc1.scorers`).

Knows how they are found, called, and their answers read. Knows nothing about JC1's own metrics. Naming a module runs
its code, so `module:name` is taken from who starts a sweep, never from a file of prompts alone
(jc1_lab.scoring.scoring).

A function is `scorer(text: str, references: Sequence[str]) -> float`, or `scorer(item, reply) -> float` where its
parameters have these names: `Item` of jc1_lab.records.items and `Reply` of jc1/reply.py. An `mlflow.genai` scorer
gets `inputs={"messages": [{"role", "content"}, ...]}`, `outputs` (the reply's text) and
`expectations={"expected_response": the first reference, "references": all of them}`; there is no trace and no session.
It is called for each reply by itself, so its aggregations do nothing.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from jc1.errors import InvalidSuite
from jc1_lab.scoring.metrics import METRICS

if TYPE_CHECKING:
    from jc1.reply import Reply
    from jc1_lab.records.items import Item

Measure = Callable[["Item", "Reply"], object]
"""What a scorer says of one reply: a number, a truth value, or a word of `WORDS`."""

WORDS = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0, "pass": 1.0, "fail": 0.0}
"""Ratings in words, as MLflow's judges give them."""


GROUP = "jc1.scorers"
"""The entry point by which installed packages bring scorers: a name, and the `module:name` that it stands for."""


class NoAnswer(Exception):
    """The scorer came to no result for one reply."""


@cache
def installed() -> dict[str, str]:
    """Return the scorers that installed packages bring: `module:name` by name."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def is_path(name: str) -> bool:
    """Tell whether the name has the form `module:name`."""
    module, colon, path = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *path.split(".")))


def is_custom(name: str) -> bool:
    """Tell whether the name is that of a scorer from outside; JC1's own names cannot be taken."""
    return is_path(name) or (name not in METRICS and name in installed())


def find(name: str) -> Measure:
    """Return the scorer that `module:name` means, or that a package brings under the name; modules are also looked for
    in the working folder, last.

    Raises:
        InvalidSuite: There is none, or it cannot be called with what it would be given.
    """
    module, _, path = installed().get(name, name).partition(":")
    # MLflow would report who uses its scorers, and reads this when it is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        scorer: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InvalidSuite(
            f"The scorer {name!r} cannot be imported: no module {error.name!r}. Install it, or run this in its folder.",
            param="scorer",
        ) from None
    except (Exception, SystemExit) as error:  # whatever the module's code raises
        raise InvalidSuite(
            f"The scorer {name!r} cannot be imported: its module raised {type(error).__name__}. Import it in Python to "
            "see where.",
            param="scorer",
        ) from error
    try:
        for part in path.split("."):
            scorer = getattr(scorer, part)
    except AttributeError:
        raise InvalidSuite(f"The scorer {name!r} is not there: {module!r} has no {path!r}.", param="scorer") from None
    of_mlflow = sys.modules.get("mlflow.genai.scorers.base")
    if of_mlflow is not None and isinstance(scorer, of_mlflow.Scorer):
        return _of_mlflow(name, scorer)
    return _of_python(name, scorer)


def _of_python(name: str, function: Any) -> Measure:
    if not callable(function) or inspect.isclass(function) or inspect.iscoroutinefunction(function):
        raise InvalidSuite(f"The scorer {name!r} is no plain function: {_HOW}", param="scorer")
    try:
        signature = inspect.signature(function)
        signature.bind("", ())
    except (TypeError, ValueError):
        raise InvalidSuite(f"The scorer {name!r} does not take two arguments: {_HOW}", param="scorer") from None
    if list(signature.parameters)[:2] == ["item", "reply"]:
        return lambda item, reply: function(item, reply)
    return lambda item, reply: function(reply.text, item.references)


_HOW = "write it as (text, references) or (item, reply) that returns a number."


def _of_mlflow(name: str, scorer: Any) -> Measure:
    given = {"inputs", "outputs", "expectations"}
    needed = {p.name for p in inspect.signature(scorer.__call__).parameters.values() if p.default is p.empty}
    if scorer.is_session_level_scorer or needed - given - {"self", "args", "kwargs"}:
        raise InvalidSuite(
            f"The scorer {name!r} needs more of MLflow than {', '.join(sorted(given))}: choose one that reads these.",
            param="scorer",
        )

    def measure(item: Item, reply: Reply) -> object:
        first = {"expected_response": item.references[0]} if item.references else {}
        answer = scorer.run(
            inputs={"messages": [{"role": message.role, "content": message.text} for message in item.messages]},
            outputs=reply.text,
            expectations={**first, "references": list(item.references)},
        )
        return _only(answer)

    return measure


def _only(answer: Any) -> object:
    """Return the value in an answer of MLflow: itself, or that of its one `Feedback`. Raises `NoAnswer`."""
    from mlflow.entities import Feedback

    if isinstance(answer, list) and len(answer) == 1:
        (answer,) = answer
    if isinstance(answer, Feedback):
        if answer.error is not None:
            raise NoAnswer(f"{answer.error.error_code}: {answer.error.error_message}")
        answer = answer.value
    if answer is None:
        raise NoAnswer("there is no value")
    return answer


def value_of(answer: object) -> object:
    """Return a float where the answer is a number, a truth value or a word for one, anything else as it is."""
    if isinstance(answer, str):
        return WORDS.get(answer.strip().casefold(), answer)
    try:
        return float(answer)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return answer
