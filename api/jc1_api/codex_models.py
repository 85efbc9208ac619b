"""The list of models as Codex reads it: beside OpenAI's own list, at the same address.

Knows which fields an entry has to have: Codex passes over the whole list where one is missing, and has added some with
every few versions (those here are what 0.145 to 0.171 read). Knows nothing about which models are served.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

INSTRUCTIONS = (
    "You are a coding agent in the user's terminal. Use the tools that you are given to read, change and run what is "
    "in the working folder, and say briefly what you did."
)
"""Codex's own prompt for a model takes 4,000 tokens, more than many a small model reads."""


class Truncation(BaseModel):
    """How much of a tool's output Codex sends."""

    mode: Literal["bytes"] = "bytes"
    limit: int = 10_000


class Instructions(BaseModel):
    """Where newer versions look for the prompt."""

    instructions_template: str = INSTRUCTIONS


class CodexModel(BaseModel):
    """What Codex asks of a model."""

    slug: str
    display_name: str
    description: str
    context_window: int = Field(description="Tokens, prompt and reply together.")
    supports_parallel_tool_calls: bool
    priority: int
    base_instructions: str = INSTRUCTIONS
    model_messages: Instructions = Instructions()
    visibility: Literal["list"] = "list"
    supported_in_api: Literal[True] = True
    shell_type: Literal["shell_command"] = "shell_command"
    truncation_policy: Truncation = Truncation()
    input_modalities: list[str]
    experimental_supported_tools: list[str] = []
    supported_reasoning_levels: list[str] = []
    default_reasoning_summary: Literal["none"] = "none"
    supports_reasoning_summaries: Literal[False] = False
    supports_reasoning_summary_parameter: Literal[False] = False
    support_verbosity: Literal[False] = False


def codex_model(
    name: str, description: str, *, place: int, context_length: int, tools: bool, modalities: list[str]
) -> CodexModel:
    """Return the entry of a model. `place` is where it stands in the list, from 0."""
    return CodexModel(
        slug=name,
        display_name=name,
        description=description,
        context_window=context_length,
        supports_parallel_tool_calls=tools,
        priority=place,
        input_modalities=modalities,
    )
