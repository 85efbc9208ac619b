"""With the bundled model: what was never told stays unknown however often it is asked, and is known once it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from jc1.settings import Settings
from jc1.workbench import Workbench

UNKNOWN = "You have not told me that."


@pytest.mark.parametrize(
    ("questions", "statement", "answer"),
    [
        (("Where do I live?", "Where do I live?", "Tell me where I live."), "I live in Bergen.", "Bergen"),
        (("What is my dog called?", "What's my dog's name?"), "My dog is called Rex.", "Rex"),
    ],
    ids=["where I live", "my dog"],
)
async def test_a_question_asked_again_is_no_answer_to_itself(
    tmp_path: Path, questions: tuple[str, ...], statement: str, answer: str
) -> None:
    async with Workbench.open(Settings(home=tmp_path, engine="transformers", embedder_threads=1)) as workbench:
        replies = [(await workbench.pipeline.chat(question)).text for question in questions]
        assert replies == [UNKNOWN] * len(questions)
        await workbench.pipeline.chat(statement)
        assert answer in (await workbench.pipeline.chat(questions[0])).text
