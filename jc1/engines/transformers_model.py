"""A causal language model in this process: loaded by transformers, generating through its `generate`.

Knows weights, devices and threads, and turns a request into processor and stopping criterion for `generate`, whose KV
cache it is. Knows nothing about event loops, queues or messages: every call blocks. Importing this module imports torch
and transformers (seconds), so that is done when an engine starts, not before.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import transformers.utils
from torch import Tensor

from jc1.decoding import Decoding
from jc1.engines.assembly import ReplyText
from jc1.engines.base import Alternative, Step, TokenLogprob
from jc1.engines.sampling import uniforms
from jc1.engines.torch_sampling import TorchSampler
from jc1.errors import EngineFailed
from jc1.text import Tokenizer

# Where scikit-learn is installed, transformers imports it (1.5 s) for one curve of assisted generation that is not used
# here; it asks for it while it is imported.
_is_sklearn_available = transformers.utils.is_sklearn_available
transformers.utils.is_sklearn_available = lambda: False
try:
    from transformers import (
        AutoModelForCausalLM,
        GenerationConfig,
        LogitsProcessorList,
        StoppingCriteriaList,
    )
finally:
    transformers.utils.is_sklearn_available = _is_sklearn_available

SMALL = 50_000_000
"""Parameters up to which one thread is faster than two: handing out the work costs more than it saves."""
ALL_THREADS = torch.get_num_threads()
"""torch's own choice, before it is changed here."""


class LoadedModel:
    """The weights on their device, and what the configuration says about them."""

    def __init__(self, path: Path, *, dtype: str, tokenizer: Tokenizer) -> None:
        """Load the folder `path`. `dtype` is torch's name or `auto`: the precision of the file on a GPU, float32 on the
        CPU, where half precision is emulated more often than not and float32 gives the same tokens everywhere.

        Raises `OSError` or `ValueError` where the folder holds no causal language model.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if dtype == "auto" and self.device.type == "cpu":
            dtype = "float32"
        transformers.utils.logging.disable_progress_bar()
        self._model = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, local_files_only=True, trust_remote_code=False
        )
        self._model.to(self.device).eval()
        config = self._model.config.get_text_config()
        self.context_length = int(config.max_position_embeddings)
        self.vocab = int(config.vocab_size)
        # A model's own sampling defaults must not mix with the request's; it chooses everything through Decoding.
        self._model.generation_config = GenerationConfig()
        self._tokenizer = tokenizer
        self.dtype = str(self._model.dtype).removeprefix("torch.")
        self.threads = 1 if self._model.num_parameters() <= SMALL else ALL_THREADS

    def generate(
        self,
        prompt: Sequence[int],
        decoding: Decoding,
        *,
        limit: int,
        emit: Callable[[list[Step]], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Reply to the token ids `prompt` with at most `limit` tokens a choice.

        Each round of steps goes to `emit`; once `cancelled` says so, generation ends with the step under way. The first
        step tells the seconds of `prefill`.

        Raises `EngineFailed` when the model gives no numbers or memory is out.
        """
        torch.set_num_threads(self.threads)
        rows = decoding.n
        replies = [
            ReplyText(i, decoding, limit=limit, end_tokens=self._tokenizer.end_tokens, stream=self._tokenizer.stream())
            for i in range(rows)
        ]
        sampler = TorchSampler(
            decoding,
            rows=rows,
            vocab=self.vocab,
            prompt=prompt,
            end_tokens=self._tokenizer.end_tokens,
            device=self.device,
        )
        choose = _Choose(sampler, [uniforms(decoding.seed, i) for i in range(rows)])

        def hand_out(input_ids: Tensor, scores: object, **_: object) -> Tensor:
            """Pass on what was chosen, and tell `generate` which rows are done."""
            described = self._describe(choose.logits, choose.tokens, decoding)
            steps = [
                reply.add(token, logprob)
                for reply, token, logprob in zip(replies, choose.tokens, described, strict=True)
                if reply.finish_reason is None
            ]
            if choose.rounds == 1:
                steps[0] = replace(steps[0], seconds={"prefill": choose.prefill})
            emit(steps)
            done = [reply.finish_reason is not None or cancelled() for reply in replies]
            return torch.tensor(done, device=self.device)

        inputs = torch.tensor([list(prompt)], device=self.device).repeat(rows, 1)  # (rows, prompt)
        try:
            with torch.inference_mode():
                self._model.generate(
                    inputs,
                    attention_mask=torch.ones_like(inputs),
                    generation_config=GenerationConfig(max_new_tokens=limit, do_sample=False),
                    logits_processor=LogitsProcessorList([choose]),
                    stopping_criteria=StoppingCriteriaList([hand_out]),
                )
        except torch.OutOfMemoryError:
            raise EngineFailed("The device's memory is full: ask for fewer tokens or replies.") from None

    def release(self) -> None:
        """Give the weights' memory back."""
        del self._model
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def _describe(self, logits: Tensor, tokens: Sequence[int], decoding: Decoding) -> list[TokenLogprob | None]:
        """What is reported of each row's token: the log probabilities before any filter."""
        if decoding.logprobs is None:
            return [None] * len(tokens)
        logprobs = torch.log_softmax(logits.double(), dim=1)
        ranked, order = torch.sort(logprobs, dim=1, descending=True, stable=True)
        piece = self._tokenizer.piece
        return [
            TokenLogprob(
                token,
                piece(token),
                float(row[token]),
                tuple(Alternative(i, piece(i), value) for i, value in zip(ids, values, strict=True)),
            )
            for token, row, ids, values in zip(
                tokens,
                logprobs,
                order[:, : decoding.logprobs].tolist(),
                ranked[:, : decoding.logprobs].tolist(),
                strict=True,
            )
        ]


class _Choose:
    """A logits processor that draws each row's token and leaves `generate`, which takes the best, no other choice."""

    def __init__(self, sampler: TorchSampler, numbers: Sequence[np.random.Generator]) -> None:
        self.rounds = 0
        self.prefill = 0.0
        self.tokens: list[int] = []
        self.logits = torch.empty(0)
        self._sampler = sampler
        self._numbers = numbers
        self._began = time.perf_counter()

    def __call__(self, input_ids: Tensor, logits: Tensor) -> Tensor:
        if self.rounds == 0:
            self.prefill = time.perf_counter() - self._began
        self.rounds += 1
        if not torch.isfinite(logits.amax()):
            raise EngineFailed("The model's output is no number: start with dtype float32, or with another model.")
        tokens = self._sampler.choose(logits, [generator.random() for generator in self._numbers])
        self.logits, self.tokens = logits, tokens.tolist()
        return torch.full_like(logits, -torch.inf).scatter_(1, tokens[:, None], 0.0)
