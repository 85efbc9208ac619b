"""One request in vLLM's words: a `Decoding` as sampling parameters, its outputs as entries and figures.

Knows vLLM's names and their quirks. Knows nothing about the engine that runs them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jc1.decoding import Decoding
from jc1.engines.base import TokenLogprob
from jc1.engines.grammar import Grammar
from jc1.engines.guides import too_complex
from jc1.engines.output_processor import alternative, produced
from jc1.engines.sampling.beam import Candidates
from jc1.engines.speculation import Speculation, figures
from jc1.errors import EngineFailed, Jc1Error

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

    from jc1.tokenizer.tokenizer import Tokenizer
    from jc1.vision.images import Picture

LARGEST_SEED = 2**62
"""vLLM adds a reply's index to the seed and keeps it in 64 bits."""
GIVEN_UP = "The vllm engine gave the request up: send it again."


def sampling_params(
    decoding: Decoding, limit: int, *, vocab: int, end_tokens: Collection[int], grammar: Grammar | None
) -> Any:
    """Return vLLM's parameters for a reply of at most `limit` tokens that keeps to a grammar."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    return SamplingParams(
        n=decoding.n,
        temperature=decoding.temperature,
        top_k=min(decoding.top_k, vocab),
        top_p=decoding.top_p,
        min_p=decoding.min_p,
        repetition_penalty=decoding.repetition_penalty,
        presence_penalty=decoding.presence_penalty,
        frequency_penalty=decoding.frequency_penalty,
        logit_bias=dict(decoding.logit_bias) or None,
        seed=None if decoding.seed is None else decoding.seed % LARGEST_SEED,
        max_tokens=limit,
        min_tokens=min(decoding.min_tokens, limit),
        logprobs=decoding.logprobs,
        stop_token_ids=list(end_tokens),
        structured_outputs=None if grammar is None else StructuredOutputsParams(grammar=grammar.lark),
        detokenize=False,  # text and stop strings are OutputProcessor's, as on every engine
        output_kind=RequestOutputKind.DELTA,
        skip_clone=True,  # they are this request's alone
    )


async def engine_input(llm: AsyncLLM, token_ids: Sequence[int], pictures: Sequence[Picture]) -> Any:
    """Return a prompt as vLLM takes it: where there are pictures, `token_ids` have one placeholder for each."""
    from vllm.inputs import TokensPrompt, tokens_input

    if not pictures:
        return tokens_input(list(token_ids))
    shown = {"image": [picture.image() for picture in pictures]}
    prompt = TokensPrompt(prompt_token_ids=list(token_ids), multi_modal_data=shown)
    (rendered,) = await llm.renderer.render_cmpl_async([prompt])
    return rendered


def next_token_params(count: int) -> Any:
    """Return vLLM's parameters for the `count` most likely next tokens."""
    from vllm import SamplingParams

    return SamplingParams(max_tokens=1, temperature=0.0, logprobs=count, detokenize=False, skip_clone=True)


def candidates(place: Mapping[int, Any], count: int) -> Candidates:
    """Return the `count` most likely tokens of one place, the likeliest first."""
    return [(int(token), float(entry.logprob)) for token, entry in _ranked(place)[:count]]


def entries(output: Any, tokenizer: Tokenizer, decoding: Decoding) -> Sequence[TokenLogprob | None]:
    """Return what is reported of each token of one output."""
    if decoding.logprobs is None:
        return [None] * len(output.token_ids)
    reported = []
    for token, place in zip(output.token_ids, output.logprobs, strict=True):
        top = tuple(alternative(tokenizer, i, entry.logprob) for i, entry in _ranked(place)[: decoding.logprobs])
        reported.append(produced(tokenizer, token, place[token].logprob, top))
    return reported


def seconds(metrics: Any) -> Mapping[str, float]:
    """Return the seconds of queue and prefill by the engine's own clock."""
    if metrics is None:
        return {"queue": 0.0, "prefill": 0.0}
    return {
        "queue": max(0.0, metrics.scheduled_ts - metrics.queued_ts),
        "prefill": max(0.0, metrics.first_token_ts - metrics.scheduled_ts),
    }


def speculated(speculation: Speculation, metrics: Any, lengths: Sequence[int]) -> dict[str, object]:
    """Return the trace's figures; with `flags`, which tokens were drafted, where each output held one engine step.

    `lengths` are the tokens of each output: where that holds, each has one besides the accepted ones.
    """
    result = figures(speculation, metrics.per_step_drafted, metrics.per_step_accepted)
    if lengths and sum(lengths) - len(lengths) == result["accepted"]:
        result["flags"] = [i < length - 1 for length in lengths for i in range(length)]
    return result


def given_up(grammar: Grammar | None) -> Jc1Error:
    """Return what it means that vLLM gave a request up: its grammar cannot be compiled, or it is shut down."""
    return EngineFailed(GIVEN_UP) if grammar is None else too_complex(grammar.param)


def _ranked(place: Mapping[int, Any]) -> list[tuple[int, Any]]:
    return sorted(place.items(), key=lambda item: (-item[1].logprob, item[0]))
