"""JC1: a research workbench for LLM inference. Chat, vision, speech and memory through one pipeline.

Knows the public names and where they live; each is imported when it is first used, so `import jc1` costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jc1.decoding import Decoding
    from jc1.errors import Jc1Error
    from jc1.messages import Message
    from jc1.pipeline import Pipeline
    from jc1.presets import Preset
    from jc1.reply import Done, Recalled, Reply, Token
    from jc1.settings import Settings
    from jc1.sync import SyncPipeline
    from jc1.tools import Tool, ToolCall, ToolCallDelta
    from jc1.trace import Trace
    from jc1.workbench import Workbench

__version__ = "0.1.0"
__all__ = [
    "Decoding",
    "Done",
    "Jc1Error",
    "Message",
    "Pipeline",
    "Preset",
    "Recalled",
    "Reply",
    "Settings",
    "SyncPipeline",
    "Token",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "Trace",
    "Workbench",
    "__version__",
]

_HOMES = {
    "Decoding": "decoding",
    "Done": "reply",
    "Jc1Error": "errors",
    "Message": "messages",
    "Pipeline": "pipeline",
    "Preset": "presets",
    "Recalled": "reply",
    "Reply": "reply",
    "Settings": "settings",
    "SyncPipeline": "sync",
    "Token": "reply",
    "Tool": "tools",
    "ToolCall": "tools",
    "ToolCallDelta": "tools",
    "Trace": "trace",
    "Workbench": "workbench",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"jc1.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jc1' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
