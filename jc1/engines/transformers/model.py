"""A causal language model in this process: loaded by transformers, generating through its `generate`.

Knows weights, devices and threads, and turns a request into processor and stopping criterion for `generate`, whose KV
cache it is. Knows nothing about event loops, queues or messages: every call blocks. Importing this module imports torch
and transformers (seconds), so that is done when an engine starts, not before.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers.utils
from torch import Tensor

from jc1.compat.transformers import without_sklearn
from jc1.decoding import GUIDES, Decoding
from jc1.engines.base import Step, TokenLogprob
from jc1.engines.call_formats import Calls
from jc1.engines.guides import Guide
from jc1.engines.output_processor import alternative, processor, produced
from jc1.engines.sampling.beam import BeamSearch, last_steps
from jc1.engines.sampling.reference import uniforms
from jc1.engines.sampling.torch import TorchSampler
from jc1.engines.speculation import Speculation, figures
from jc1.engines.transformers.choosing import Choose
from jc1.engines.transformers.drafting import Drafter, DraftModel, PromptLookup
from jc1.errors import EngineFailed, Jc1Error
from jc1.tokenizer.tokenizer import Tokenizer

with without_sklearn():
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        GenerationConfig,
        LogitsProcessorList,
        StoppingCriteriaList,
    )

SMALL = 50_000_000
"""Parameters up to which one thread writes a single reply as fast as all: handing out the work costs what it saves."""
NO_NUMBER = "The model's output is no number: start with dtype float32, or with another model."
OUT_OF_MEMORY = "The device's memory is full: ask for fewer tokens or replies."
SEPARATE = {"max_tokens", "n", "seed", "stop", "logprobs", *GUIDES}
"""Fields of `Decoding` that every reply of a batch may have for itself."""
ALL_THREADS = torch.get_num_threads()
"""torch's own choice, before it is changed here."""


@dataclass(slots=True)
class Job:
    """A request for `generate`: what it reads, how it is answered, at most `limit` tokens a choice.

    Each round of steps goes to `emit`, the first with the seconds of `prefill`. Each choice keeps to `guide`, and may
    call what `calls` has; its text goes on from that of the tokens `before`. `error` says why it ended without a reply.
    """

    prompt: Sequence[int]
    decoding: Decoding
    limit: int
    emit: Callable[[list[Step]], None]
    cancelled: Callable[[], bool]
    guide: Guide | None = None
    calls: Calls | None = None
    before: Sequence[int] = ()
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """What the model is shown beside the prompt, by the names of its arguments: pictures."""
    error: Jc1Error | None = None

    @property
    def rows(self) -> int:
        return self.decoding.n

    def goes_with(self, other: Job) -> bool:
        """Return whether both can be in one batch: the filters are the same, and neither searches beams or sees."""
        if self.features or other.features:
            return False
        filters = [job.decoding.model_dump(exclude=SEPARATE) for job in (self, other)]
        return self.decoding.beam_width == 1 and filters[0] == filters[1]


class LoadedModel:
    """The weights on their device, and what the configuration says about them."""

    def __init__(
        self, path: Path, *, dtype: str, tokenizer: Tokenizer, draft: Path | None = None, sees: bool = False
    ) -> None:
        """Load the folder `path`, a model that `sees` or one of text alone, and the model that drafts for it.

        `dtype` is torch's name or `auto`: the precision of the file on a GPU, float32 on the CPU, where half precision
        is emulated more often than not and float32 gives the same tokens everywhere.

        Raises:
            OSError: The folder holds no causal language model.
            ValueError: Likewise.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if dtype == "auto" and self.device.type == "cpu":
            dtype = "float32"
        transformers.utils.logging.disable_progress_bar()
        self._model = self._read(path, dtype, sees=sees).eval()
        self._draft = None if draft is None else self._read(draft, dtype).eval()
        config = self._model.config.get_text_config()
        self.context_length = int(config.max_position_embeddings)
        self.vocab = int(config.vocab_size)
        # A model's own sampling defaults must not mix with the request's; it chooses everything through Decoding.
        self._model.generation_config = GenerationConfig()
        self.speculates = all(kind == "full_attention" for kind in getattr(config, "layer_types", None) or ()) and not (
            getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
        )
        """Whether a draft can be taken back from the KV cache: where every layer keeps all of it."""
        self._tokenizer = tokenizer
        self.dtype = str(self._model.dtype).removeprefix("torch.")
        self.threads = 1 if self._model.num_parameters() <= SMALL else ALL_THREADS
        """How many of torch's threads write a single reply."""

    def _agreed(self, logits: Tensor) -> Tensor:
        """Return the logits that all processes which generate together share; here there is one."""
        return logits

    def _read(self, path: Path, dtype: str, *, sees: bool = False) -> Any:
        """Read the weights to where they are to be."""
        kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
        model = kind.from_pretrained(path, dtype=dtype, local_files_only=True, trust_remote_code=False)
        return model.to(self.device)

    def generate(self, jobs: Sequence[Job]) -> None:
        """Reply to several requests with equal settings at once.

        A job's prompt is padded on the left to the longest one's length. Once `cancelled` says so, a job ends with the
        step under way. A job whose logits are no numbers ends with an `error`; the others go on.

        Raises:
            EngineFailed: The device's memory is out.
        """
        rows = [self.row(job, i) for job in jobs for i in range(job.decoding.n)]
        torch.set_num_threads(self.threads if len(rows) == 1 else ALL_THREADS)
        sampler = self.sampler(rows)
        choose = Choose(sampler, [row.numbers for row in rows], self._agreed)

        def hand_out(input_ids: Tensor, scores: object, **_: object) -> Tensor:
            """Pass on what was chosen, and tell `generate` which rows are done."""
            # 1) Each row's token becomes a step of its job.
            steps: dict[int, list[Step]] = {}
            stopped = [job.error is not None or job.cancelled() for job in jobs]
            for at, row in enumerate(rows):
                if choose.bad[at] and row.job.error is None:
                    row.job.error = EngineFailed(NO_NUMBER)
                if row.reply.finish_reason is None and row.guide is not None:
                    row.job.error = row.job.error or row.guide.error
                if row.reply.finish_reason is None and row.job.error is None:
                    described = self.describe(choose.logits[at], choose.tokens[at], row.job.decoding)
                    steps.setdefault(id(row.job), []).append(row.reply.add(choose.tokens[at], described))
            # 2) Each job hands on the steps of this round.
            for job in jobs:
                if job_steps := steps.get(id(job)):
                    if choose.rounds == 1:
                        job_steps[0] = replace(job_steps[0], seconds={"prefill": choose.prefill})
                    job.emit(job_steps)
            # 3) A row is done with its reply, and with its job.
            over = {id(job): stop or job.error is not None for job, stop in zip(jobs, stopped, strict=True)}
            done = [over[id(row.job)] or row.reply.finish_reason is not None for row in rows]
            return torch.tensor(done, device=self.device)  # (rows,)

        ids, mask = self._padded([row.job.prompt for row in rows])  # both (rows, longest)
        try:
            with torch.inference_mode():
                self._model.generate(
                    ids,
                    attention_mask=mask,
                    **self._shown(rows[0].job, len(rows)),
                    generation_config=GenerationConfig(
                        max_new_tokens=max(job.limit for job in jobs), do_sample=False, pad_token_id=0
                    ),
                    logits_processor=LogitsProcessorList([choose]),
                    stopping_criteria=StoppingCriteriaList([hand_out]),
                )
        except torch.OutOfMemoryError:
            raise EngineFailed(OUT_OF_MEMORY) from None

    def speculate(self, job: Job, speculation: Speculation) -> None:
        """Reply to one request, choice after choice, verifying drafts: the tokens are those that `generate` gives.

        The last step of a choice tells what became of its drafts. Raises as `search` does.
        """
        torch.set_num_threads(self.threads)
        began = time.perf_counter()
        first = True
        try:
            for choice in range(job.decoding.n):
                reply = _Speculated(self, job, choice, speculation)
                while reply.row.reply.finish_reason is None and not job.cancelled():
                    steps = reply.verify()
                    if first:
                        steps[0] = replace(steps[0], seconds={"prefill": reply.read_at - began})
                        first = False
                    job.emit(steps)
        except torch.OutOfMemoryError:
            raise EngineFailed(OUT_OF_MEMORY) from None

    def forward(self, ids: Tensor, cache: Any, keep: int, shown: Mapping[str, Tensor] | None = None) -> Any:
        """Return the network's output for new tokens.

        Args:
            ids: The tokens that are new, shape (rows, new tokens).
            cache: The `past_key_values` of the call before, None at first. It is extended.
            keep: At how many of the last places logits are wanted.
            shown: What the model is shown beside them, by the names of its arguments.

        Returns:
            What has `logits`, shape (rows, keep, vocab), and `past_key_values`, the next call's `cache`.
        """
        return self._model(ids, past_key_values=cache, use_cache=True, logits_to_keep=keep, **(shown or {}))

    def _shown(self, job: Job, rows: int = 1) -> dict[str, Tensor]:
        """Return what the model is shown beside the prompt of a job, on its device, for each of its rows."""
        shown = {}
        for name, tensor in job.features.items():
            tensor = tensor.to(self.device, self._model.dtype if tensor.is_floating_point() else None)
            # The first dimension counts rows, pictures or their patches, all in the order of the rows.
            shown[name] = torch.cat([tensor] * rows)
        return shown

    def sampler(self, rows: Sequence[_Row]) -> TorchSampler:
        """Return what chooses the next token of each row; all have equal filters."""
        return TorchSampler(
            rows[0].job.decoding,
            vocab=self.vocab,
            prompts=[row.job.prompt for row in rows],
            end_tokens=self._tokenizer.end_tokens,
            device=self.device,
            guides=[row.guide for row in rows],
        )

    def drafter(self) -> Drafter:
        """Return what drafts the tokens of one reply."""
        return PromptLookup() if self._draft is None else DraftModel(self._draft)

    def row(self, job: Job, choice: int) -> _Row:
        """Begin one reply."""
        return _Row(job, choice, self._tokenizer)

    def _padded(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return token ids and mask, each of shape (rows, longest), with the padding on the left."""
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
            mask[row, longest - len(prompt) :] = 1
        return ids.to(self.device), mask.to(self.device)

    def search(self, job: Job) -> None:
        """Reply with the best beams of one request, in one round of steps; end without any once it is cancelled.

        Raises:
            EngineFailed: The model gives no numbers, or the device's memory is out.
        """
        torch.set_num_threads(ALL_THREADS)
        ends = self._tokenizer.end_tokens
        search = BeamSearch(job.decoding, limit=job.limit, end_tokens=ends)
        began = time.perf_counter()
        prefill = 0.0
        ids = torch.tensor([list(job.prompt)], device=self.device)  # (live, new tokens)
        cache = None
        try:
            with torch.inference_mode():
                while not search.done and not job.cancelled():
                    # 1) The log probabilities of what may follow each live sequence: (live, vocab).
                    out = self.forward(ids, cache, 1, self._shown(job) if cache is None else {})
                    cache = out.past_key_values
                    prefill = prefill or time.perf_counter() - began
                    logprobs = torch.log_softmax(_finite(self._agreed(out.logits[:, -1])).double(), dim=1)
                    # 2) The search chooses among the most likely of them.
                    best, order = logprobs.topk(min(search.candidates, self.vocab), dim=1)  # (live, candidates)
                    search.step(
                        [list(zip(*row, strict=True)) for row in zip(order.tolist(), best.tolist(), strict=True)]
                    )
                    # 3) The KV cache follows: a sequence may go on twice, or not at all.
                    if search.live:
                        cache.reorder_cache(torch.tensor(search.parents, device=self.device))
                        ids = torch.tensor([beam.token_ids[-1:] for beam in search.live], device=self.device)
        except torch.OutOfMemoryError:
            raise EngineFailed(OUT_OF_MEMORY) from None
        if not search.done:
            return
        streams = [self._tokenizer.stream(before=job.before) for _ in search.best]
        first, *rest = last_steps(search.best, job.decoding, end_tokens=ends, streams=streams)
        job.emit([replace(first, seconds={"prefill": prefill}), *rest])

    def release(self) -> None:
        """Give the weights' memory back."""
        del self._model, self._draft
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def describe(self, logits: Tensor, token: int, decoding: Decoding) -> TokenLogprob | None:
        """Return what is reported of one row's token: the log probabilities before any filter, from logits (vocab,)."""
        if decoding.logprobs is None:
            return None
        logprobs = torch.log_softmax(logits.double(), dim=0)
        ranked, order = (
            each[: decoding.logprobs].tolist() for each in torch.sort(logprobs, descending=True, stable=True)
        )
        top = tuple(alternative(self._tokenizer, other, value) for other, value in zip(order, ranked, strict=True))
        return produced(self._tokenizer, token, float(logprobs[token]), top)


class _Row:
    """One reply of a batch."""

    def __init__(self, job: Job, choice: int, tokenizer: Tokenizer) -> None:
        self.job = job
        self.numbers = uniforms(job.decoding.seed, choice)
        self.guide = job.guide.follow() if job.guide is not None else None
        self.reply = processor(
            choice, job.decoding, limit=job.limit, tokenizer=tokenizer, calls=job.calls, before=job.before
        )


class _Speculated:
    """One reply whose tokens are drafted and verified, several in one pass."""

    def __init__(self, model: LoadedModel, job: Job, choice: int, speculation: Speculation) -> None:
        self.row = model.row(job, choice)
        self.read_at = 0.0
        """When the latest pass was done."""
        self._model = model
        self._job = job
        self._speculation = speculation
        self._sampler = model.sampler([self.row])
        self._drafter = model.drafter()
        self._ids = list(job.prompt)
        self._cache: Any = None
        self._drafted: list[int] = []
        self._accepted: list[int] = []
        self._flags: list[bool] = []

    def verify(self) -> list[Step]:
        """Draft tokens, read them in one pass, and return the steps that this yields, at least one.

        The draft's tokens count up to the first that the model would not have chosen, which its own replaces.
        """
        # 1) Read the draft in one pass.
        guess, logits = self._read()
        # 2) Choose each token as without a draft; the first that differs from it is the last that counts.
        steps: list[Step] = []
        for at in range(len(guess) + 1):
            token = int(self._sampler.choose(logits[at : at + 1], [self.row.numbers.random()]))
            if self.row.guide is not None and self.row.guide.error is not None:
                raise self.row.guide.error
            self._ids.append(token)
            described = self._model.describe(logits[at], token, self._job.decoding)
            steps.append(self.row.reply.add(token, described))
            self._flags.append(at < len(guess) and token == guess[at])
            if steps[-1].finish_reason or not self._flags[-1]:
                break
        if guess:
            self._drafted.append(len(guess))
            self._accepted.append(sum(self._flags[-len(steps) :]))
        # 3) What was drafted and not chosen leaves the KV cache.
        if (excess := self._cache.get_seq_length() - (len(self._ids) - 1)) > 0:
            self._cache.crop(-excess)
        if steps[-1].finish_reason:
            speculation = {**figures(self._speculation, self._drafted, self._accepted), "flags": self._flags}
            steps[-1] = replace(steps[-1], speculation=speculation)
        return steps

    def _read(self) -> tuple[list[int], Tensor]:
        """Return a draft, and the logits (draft + 1, vocab) at its tokens' places and at the one after them."""
        read = 0 if self._cache is None else self._cache.get_seq_length()
        room = min(self._speculation.tokens, self._job.limit - self.row.reply.tokens - 1)
        with torch.inference_mode():
            guess = self._drafter.propose(self._ids, room) if read and room > 0 else []
            new = torch.tensor([[*self._ids[read:], *guess]], device=self._model.device)  # (1, new tokens)
            out = self._model.forward(new, self._cache, len(guess) + 1)
            logits = _finite(out.logits[0])  # (draft + 1, vocab)
        self._cache, self.read_at = out.past_key_values, time.perf_counter()
        return guess, logits


def _finite(logits: Tensor) -> Tensor:
    """Return the logits. Raises `EngineFailed` where the greatest is infinite, or one is no number."""
    if not torch.isfinite(logits.amax()):
        raise EngineFailed(NO_NUMBER)
    return logits
