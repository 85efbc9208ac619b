"""`/v1/embeddings`: texts as vectors, by the model that embeds memories.

Knows OpenAI's shapes, and what is refused by name. Who may embed how much, `jc1.access.guarded` decides.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import orjson
from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from jc1.access.guarded import Embedded
from jc1.embedding.base import Embedder
from jc1.errors import InvalidRequest, UnknownModel
from jc1_api.deps import TheWorkbench, requires
from jc1_api.fields import NOT_BLANK, Body, Name, Text, Whole, accepted, refused
from jc1_api.routing import Router
from jc1_api.sse import until_disconnect

router = Router(tags=["embeddings"])

MOST_TEXTS = 2048
"""Texts of a request, as OpenAI has it."""
_Words = Annotated[str, NOT_BLANK]


def _text_or_texts(value: object) -> str:
    return "texts" if isinstance(value, list) else "text"


Input = Annotated[
    Annotated[_Words, Tag("text")] | Annotated[list[_Words], Field(min_length=1, max_length=MOST_TEXTS), Tag("texts")],
    Discriminator(_text_or_texts),
]


class EmbeddingRequest(Body):
    """OpenAI's embedding request. What is not listed is refused, not dropped."""

    model: Annotated[Name, Field(description="The model that embeds, as /v1/models lists it.")]
    input: Annotated[Input, Field(description=f"A text, or up to {MOST_TEXTS}.")]
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="float (default), or base64 of float32 in little-endian order."
    )
    dimensions: Whole | None = Field(None, description="Accepted where it is the model's own.")
    user: Text | None = accepted("what is embedded is nobody's memory")

    @model_validator(mode="before")
    @classmethod
    def _refuse_tokens(cls, values: Any) -> Any:
        sent = values.get("input") if isinstance(values, dict) else None
        if isinstance(sent, list) and sent and isinstance(sent[0], int | list):
            reason = "'input' holds token ids, and this model's are not OpenAI's: send texts."
            raise refused("input", sent, f"{reason} (In LangChain: check_embedding_ctx_length=False.)")
        return values

    def texts(self) -> list[str]:
        """Return the texts, however they were sent."""
        return [self.input] if isinstance(self.input, str) else self.input

    def check(self, embedder: Embedder) -> None:
        """Raise `InvalidRequest` or `UnknownModel` where the request asks for another model or another length."""
        if self.model != embedder.model:
            raise UnknownModel(
                f"{self.model!r} does not embed here: {embedder.model!r} does, see /v1/models.", param="model"
            )
        if self.dimensions not in (None, embedder.dimension):
            raise InvalidRequest(
                f"{embedder.model!r} has {embedder.dimension} dimensions, and they cannot be made fewer: leave "
                "'dimensions' out.",
                param="dimensions",
            )


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(description="A vector of length one; in base64 where that was asked for.")


class Usage(BaseModel):
    prompt_tokens: int = Field(description="As the model read them; of a text that is too long, what it read.")
    total_tokens: int


class Embeddings(BaseModel):
    """OpenAI's list of embeddings, in the order of the texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


@router.post("/v1/embeddings", dependencies=[requires("embed")], response_model=Embeddings)
async def create_embeddings(body: EmbeddingRequest, request: Request, workbench: TheWorkbench) -> Response:
    """Return a vector for each text."""
    embedder = workbench.embedder
    body.check(embedder)
    async with until_disconnect(request.receive):
        embedded = await workbench.guarded.embed(request.state.principal, body.texts())
    shown = _shown(embedded, embedder.model, as_text=body.encoding_format == "base64")
    return Response(shown, media_type="application/json", headers=dict(embedded.headers))


def _shown(embedded: Embedded, model: str, *, as_text: bool) -> bytes:
    """Return the answer as JSON, each number as short as float32 allows."""
    vectors = embedded.vectors.astype("<f4", copy=False)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(vector.tobytes()).decode() if as_text else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    answer = {"object": "list", "data": data, "model": model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
