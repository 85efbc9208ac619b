"""Does the newest of a fact win? Generated updates ("my cat is now called ..."), put through memory and asked for.

    python -m experiments.benchmarks.supersession [--half dev|held-out|both] [--cases 1000] [--seed 0]
        [--split 0] [--failures]

A case is an owner who tells a fact, changes it once or twice, and between that tells of neighbouring subjects ("my
sister's cat ...") and chats; then the fact is asked for in two wordings. It counts as right when every question recalls
the newest statement and none before it, the old statements are still in history and point to the newest, and nothing
else is superseded. `supersession.toml` holds the wordings. Half of them are for development and half are held out;
`--split` draws the halves, `--seed` the cases. Knows what people say and what must follow. Knows nothing about how
memory decides what a statement is about.
"""

from __future__ import annotations

import random
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from experiments.benchmarks.harness import Figures, main

if TYPE_CHECKING:
    from jc1.embedding.base import Embedder
    from jc1.memory.base import Record
    from jc1.memory.store import DatabaseMemory

WANTED = 0.95
"""Share of cases that are to be right."""
Half = Literal["dev", "held-out"]
HALVES: tuple[Half, ...] = get_args(Half)
KEPT, WRONG, UNSEEN, LOST = "not superseded", "wrongly superseded", "not recalled", "not in history"
FAILURES = {
    KEPT: "an older statement of the fact still counts",
    WRONG: "a statement on something else, or the newest one, does not count any more",
    UNSEEN: "a question does not recall the newest statement before any other of the fact",
    LOST: "an older statement is gone, or does not lead to the newest",
}
SHE = {"Ann", "my sister", "Grandma Rose", "my wife", "my daughter", "my mother"}
SPELLED_OUT = {
    "isn't": "is not", "I'm": "I am", "I've": "I have", "we've": "we have", "doesn't": "does not", "don't": "do not",
    "it's": "it is",
}  # fmt: skip

Part = Literal["fact", "near", "chatter"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One message of a user, and what it is in its case."""

    text: str
    part: Part


@dataclass(frozen=True, slots=True)
class Case:
    """The statements of an owner, in order, and the questions for the fact, whose last statement is the newest."""

    attribute: str
    statements: tuple[Statement, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The failures of a case; none where it is right. `strays` are the texts that were wrongly superseded."""

    case: Case
    failures: frozenset[str]
    strays: tuple[str, ...] = ()


@cache
def _wordings() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "supersession.toml").read_text(encoding="utf-8"))


def _listed(text: str) -> list[str]:
    return [" ".join(entry.split()).replace("~", " ") for entry in text.split("|")]


class Writer:
    """Writes cases of one half of the wordings."""

    def __init__(self, half: Half, *, seed: int = 0, split: int = 0) -> None:
        self._held_out = half == "held-out"
        self.split = split
        self.rng = random.Random(f"facts/{half}/{seed}")
        self.shared = _wordings()
        self.attributes = self.shared["attributes"]

    def cases(self, count: int) -> Iterator[Case]:
        """Yield cases with the attributes in turn."""
        for i in range(count):
            yield self._case(self.attributes[i % len(self.attributes)])

    def _case(self, attribute: Mapping[str, Any]) -> Case:
        r = self.rng
        updates = 2 if r.random() < 0.25 else 1
        values = r.sample(_listed(attribute["values"]), updates + 1)
        others = [value for value in _listed(attribute["values"]) if value not in values]
        x, *different = r.sample(_listed(attribute["things"]), 5) if "things" in attribute else [""] * 5
        filled = {"x": x, "they": "she" if x in SHE else "he"}
        # Each of another thing: two statements on the same one would be an update of their own.
        near = [
            Statement(self._styled(wording, "first", {**filled, "o": o, "w": r.choice(others)}), "near")
            for wording, o in zip(r.sample(self.half(attribute, "near"), 4), different, strict=True)
        ]
        first = self._styled(r.choice(self.half(attribute, "first")), "first", {**filled, "v": values[0]})
        statements = [*self._chatter(), Statement(first, "fact"), *near[:2], *self._chatter()]
        wordings = r.sample(self.half(attribute, "update"), updates)
        for i, wording in enumerate(wordings):
            text = self._styled(wording, "update", {**filled, "old": values[i], "v": values[i + 1]})
            statements += [Statement(text, "fact"), *near[2 + i : 4 - updates + 1 + i], *self._chatter()]
        questions = [
            self._styled(wording, "ask", filled, plain=True) for wording in r.sample(self.half(attribute, "ask"), 2)
        ]
        return Case(attribute["name"], tuple(statements), tuple(questions))

    def half(self, of: Mapping[str, Any], part: str) -> list[str]:
        """Return this half of a list of wordings."""
        wordings = _listed(of[part])
        random.Random(f"{self.split}/{of.get('name', '')}/{part}").shuffle(wordings)
        return wordings[self._held_out :: 2]

    def _chatter(self) -> list[Statement]:
        return [
            Statement(text, "chatter")
            for text in self.rng.sample(self.half(self.shared, "chatter"), self.rng.randint(0, 2))
        ]

    def _styled(self, wording: str, kind: str, filled: Mapping[str, str], *, plain: bool = False) -> str:
        """Return the wording filled in, as one of many people writes it."""
        r = self.rng
        lead = r.choice(self.half(self.shared, f"leads_{kind}"))
        if r.random() < 0.25:
            for short, full in SPELLED_OUT.items():
                wording = wording.replace(short, full)
        text = wording.format_map(filled)
        if not lead or lead.rstrip()[-1] in ".!?:":
            text = text[0].upper() + text[1:]
        text = lead + text
        if not text.endswith("?") and not plain:
            text += r.choices((".", "!", ""), (0.7, 0.15, 0.15))[0]
            if text[-1] in ".!":
                text += r.choice(self.half(self.shared, "tails"))
        style = r.random()
        if style < 0.12:
            text = text.lower()
        elif style < 0.15:
            text = text.upper()
        return text.replace("'", "’") if r.random() < 0.15 else text


def measure(cases: Sequence[Case], embedder: Embedder) -> list[Outcome]:
    """Put each case through a memory of its own owner."""
    from jc1.database import open_database
    from jc1.memory.store import DatabaseMemory

    with tempfile.TemporaryDirectory() as home:
        memory = DatabaseMemory(open_database(f"sqlite:///{Path(home) / 'jc1.db'}"), embedder)
        try:
            return [_outcome(memory, f"owner-{i}", case) for i, case in enumerate(cases)]
        finally:
            memory.close()


def _outcome(memory: DatabaseMemory, owner: str, case: Case) -> Outcome:
    from jc1.memory.base import NewRecord, Retrieval

    added = memory.add(owner, [NewRecord(statement.text) for statement in case.statements])
    pairs = list(zip(case.statements, (memory.get(owner, record.id) for record in added), strict=True))
    *older, newest = [record for statement, record in pairs if statement.part == "fact"]
    strays = [statement.text for statement, record in pairs if statement.part != "fact" and record.superseded_by]
    if newest.superseded_by:
        strays.append(newest.text)
    failures = {WRONG} if strays else set()
    if any(record.superseded_by is None for record in older):
        failures.add(KEPT)
    history = {record.id: record for record in memory.list(owner, limit=1000).records}
    if any(record.superseded_by and not _leads_to(newest, record, history) for record in older):
        failures.add(LOST)
    of_the_fact = {record.id for record in (*older, newest)}
    for question in case.questions:
        receipts = memory.search(owner, question, Retrieval()).receipts
        if [r.record.id for r in receipts if r.record.id in of_the_fact][:1] != [newest.id]:
            failures.add(UNSEEN)
    return Outcome(case, frozenset(failures), tuple(strays))


def _leads_to(newest: Record, old: Record, history: Mapping[str, Record]) -> bool:
    """Tell whether `old` is in history and its successors end at the newest."""
    at = history.get(old.id)
    while at is not None and at.superseded_by is not None:
        at = history.get(at.superseded_by)
    return at is not None and at.id == newest.id


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the share of right cases, in all with the 95 % interval of Wilson and by attribute, and the failures."""
    from scipy.stats import binomtest

    right = sum(not outcome.failures for outcome in outcomes)
    interval = binomtest(right, len(outcomes)).proportion_ci(method="wilson")
    beside = sum(statement.part != "fact" for outcome in outcomes for statement in outcome.case.statements)
    strays = sum(len(outcome.strays) for outcome in outcomes)
    attributes = dict.fromkeys(outcome.case.attribute for outcome in outcomes)
    return {
        "cases": len(outcomes),
        "right": round(right / len(outcomes), 4),
        "interval": [round(interval.low, 4), round(interval.high, 4)],
        "failures": {failure: sum(failure in o.failures for o in outcomes) for failure in FAILURES},
        "beside": {"statements": beside, "wrongly superseded": strays},
        "by_attribute": {name: _attribute([o for o in outcomes if o.case.attribute == name]) for name in attributes},
    }


def _attribute(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    failures = Counter(failure for outcome in outcomes for failure in outcome.failures)
    right = sum(not outcome.failures for outcome in outcomes)
    return {"cases": len(outcomes), "right": round(right / len(outcomes), 4), "failures": dict(failures)}


def benchmark(
    half: Literal["dev", "held-out", "both"] = "both",
    cases: int = 1000,
    seed: int = 0,
    split: int = 0,
    failures: bool = False,
) -> Figures:
    """Measure so many cases of a half of the wordings, or of each; `split` draws the halves, `seed` the cases. A
    summary goes to standard error, with every case that is not right if `failures` are wanted."""
    from jc1.embedding.openvino import OpenVinoEmbedder

    embedder = OpenVinoEmbedder()
    results: Figures = {}
    for one in HALVES:
        if half in (one, "both"):
            outcomes = measure([*Writer(one, seed=seed, split=split).cases(cases)], embedder)
            results[one] = figures(outcomes)
            shown = [*(_failures(outcomes) if failures else ()), *_summary(one, results[one])]
            print(*shown, sep="\n", file=sys.stderr)
    embedder.close()
    return results


def _failures(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        if outcome.failures:
            yield f"{outcome.case.attribute}: {', '.join(sorted(outcome.failures))}"
            for statement in outcome.case.statements:
                if statement.part != "chatter":
                    yield f"  {statement.part:<5}{'x' if statement.text in outcome.strays else ' '} {statement.text}"


def _summary(half: str, measured: Mapping[str, Any]) -> Iterator[str]:
    low, high = measured["interval"]
    right = f"{measured['right']:.3f} of {measured['cases']} cases are right ({low:.3f} to {high:.3f})"
    yield f"{half}: {right}; {WANTED} wanted"
    for failure, meaning in FAILURES.items():
        yield f"  {failure}, in {measured['failures'][failure]} cases: {meaning}"
    beside = measured["beside"]
    yield f"  of {beside['statements']} statements beside the fact {beside['wrongly superseded']} are superseded"
    for name, of in measured["by_attribute"].items():
        wrong = ", ".join(f"{failure} {count}" for failure, count in sorted(of["failures"].items()))
        yield f"  {name:<22}{of['right']:>7.3f}  {wrong}"


if __name__ == "__main__":
    main(benchmark, packages=["faiss-cpu", "openvino"])
