"""Decoding: everything that a request may choose about generation, validated once for every engine.

Knows names, ranges and the order in which the filters act. Knows nothing about how an engine carries them out.

**The order.** From one step's logits to the next token, on every engine:

1. tokens that `json_schema`, `regex`, `choice` or the form of a tool's call rule out are dropped, `logit_bias` is
   added, and the end-of-sequence token is forbidden while fewer than `min_tokens` were produced and others are left
2. `repetition_penalty` (tokens of prompt and output), then `frequency_penalty` and `presence_penalty` (output only)
3. `temperature` 0 takes the most likely token here; otherwise the logits are divided by it
4. `min_p` drops tokens less likely than `min_p` times the most likely one
5. `top_k` keeps the k most likely, then `top_p` the smallest set of the rest whose mass reaches p
6. one token is drawn from what is left, renormalised

Reported logprobs are those of the model before step 1.

**Beam search** (`beam_width` above 1), on every engine that has it: at each step every live sequence is continued by
its most likely tokens, by the model's own log probabilities, which none of the filters above may change. Continuations
by an end token are finished, not before `min_tokens`; of the others the `beam_width` with the greatest sum of log
probabilities live on. Those still alive after `max_tokens` are finished too. A finished sequence's score is its sum
divided by its number of tokens, the end token included, to the power of `length_penalty`; the `n` best scores are the
replies. The search ends as soon as no live sequence can reach the n-th best score, which changes no result. Replies
come whole, at the end: until then it is not known which they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from jc1.errors import InvalidDecoding

NOT_WITH_BEAMS = (
    *("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("logit_bias", "seed", "stop", "logprobs", "json_schema", "regex", "choice"),
)
"""Fields that mean nothing to a search for the most likely replies, and are refused beside it."""


GUIDES = ("json_schema", "regex", "choice")
"""Fields that confine the reply to a form, token by token, ahead of all filters."""


class Decoding(BaseModel):
    """What one request asks of generation. The defaults are greedy: the same question gets the same answer.

    Build it with `Decoding.parse` where the values come from outside, so that a mistake is an `InvalidDecoding`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_tokens: int = Field(default=256, ge=1, le=2**31 - 1, description="Most tokens to produce for each choice.")
    min_tokens: int = Field(default=0, ge=0, description="Fewest tokens before the reply may end.")
    temperature: float = Field(default=0.0, ge=0.0, le=2.0, description="0 is greedy; above 1 flattens.")
    top_k: int = Field(default=0, ge=0, le=2**31 - 1, description="Keep the k most likely tokens; 0 keeps all.")
    top_p: float = Field(default=1.0, gt=0.0, le=1.0, description="Keep the smallest set with this mass; 1 keeps all.")
    min_p: float = Field(default=0.0, ge=0.0, le=1.0, description="Drop tokens below this share of the best one's.")
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=2.0, description="Divide the logits of seen tokens.")
    presence_penalty: float = Field(default=0.0, ge=-2.0, le=2.0, description="Subtracted once a token has appeared.")
    frequency_penalty: float = Field(default=0.0, ge=-2.0, le=2.0, description="Subtracted for every appearance.")
    logit_bias: dict[int, float] = Field(default_factory=dict, description="Added to the logits, by token id.")
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1, description="Makes sampling repeatable.")
    n: int = Field(default=1, ge=1, le=64, description="How many replies to produce.")
    beam_width: int = Field(default=1, ge=1, le=32, description="Beams to keep; 1 is no beam search.")
    length_penalty: float = Field(default=1.0, ge=-5.0, le=5.0, description="Beam score is divided by length to this.")
    stop: tuple[str, ...] = Field(default=(), description="The reply ends before any of these.")
    logprobs: int | None = Field(default=None, ge=0, le=20, description="Alternatives to report for each token.")
    json_schema: dict[str, Any] | None = Field(default=None, description="The reply is JSON that fits this schema.")
    regex: str | None = Field(default=None, min_length=1, description="The reply matches this regular expression.")
    choice: tuple[str, ...] = Field(default=(), description="The reply is one of these.")

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else () if value is None else value

    @field_validator("stop")
    @classmethod
    def _useful_stops(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > 16 or any(not text for text in value):
            raise ValueError("at most 16 stop strings, none of them empty")
        return value

    @field_validator("logit_bias")
    @classmethod
    def _bias_range(cls, value: dict[int, float]) -> dict[int, float]:
        if any(token < 0 or not -100 <= bias <= 100 for token, bias in value.items()):
            raise ValueError("token ids are 0 or more, biases between -100 and 100")
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        guides = [name for name in GUIDES if name in self.chosen]
        if len(guides) > 1:
            raise ValueError(f"{guides[0]!r} and {guides[1]!r} both say what the reply looks like: send one")
        if self.min_tokens > self.max_tokens:
            raise ValueError("'min_tokens' must not exceed 'max_tokens'")
        if self.beam_width > 1 and (refused := [name for name in NOT_WITH_BEAMS if name in self.chosen]):
            raise ValueError(
                f"beam search looks for the most likely replies and cannot take {refused[0]!r}: leave it out, or leave "
                "'beam_width' at 1"
            )
        if self.beam_width == 1 and "length_penalty" in self.chosen:
            raise ValueError("'length_penalty' ranks beams and needs 'beam_width' above 1")
        if self.beam_width > 1 and self.n > self.beam_width:
            raise ValueError("'n' must not exceed 'beam_width'")
        if self.beam_width == 1 and self.n > 1 and self.temperature == 0:
            raise ValueError(
                "'n' above 1 needs 'temperature' above 0 or 'beam_width' above 1: greedy replies are all alike"
            )
        return self

    @property
    def greedy(self) -> bool:
        """Return whether each token is simply the most likely one: no draw, no beams."""
        return self.temperature == 0 and self.beam_width == 1

    @property
    def chosen(self) -> dict[str, Any]:
        """Return the fields whose value is not the default, by name: what the request really asks for."""
        return {name: value for name, default in _defaults().items() if (value := getattr(self, name)) != default}

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Decoding:
        """Return `values`, fields by name as they came from outside, checked.

        Raises:
            InvalidDecoding: A field is unknown or out of its range, or two disagree; its `param` is the field.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _explain(error) from None


@cache
def _defaults() -> dict[str, Any]:
    return {name: info.get_default(call_default_factory=True) for name, info in Decoding.model_fields.items()}


def _explain(error: ValidationError) -> InvalidDecoding:
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else None
    if first["type"] == "extra_forbidden":
        return InvalidDecoding(f"Unknown field {field!r}: known are {', '.join(Decoding.model_fields)}.", param=field)
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    subject = f"{field!r} should be {reason}" if first["msg"].startswith("Input should be") else reason
    return InvalidDecoding(f"{subject[0].upper()}{subject[1:]}.", param=field)
