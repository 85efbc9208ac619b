"""Beam search: which token sequences go on, which are finished, and when no better one can come.

Knows token ids, log probabilities and lengths; `jc1.decoding` states the semantics. Knows nothing about models or where
the log probabilities come from: an engine asks which sequences are `live`, gives the most likely next tokens of each,
and repeats until the search is `done`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jc1.decoding import Decoding
from jc1.engines.base import FinishReason, Step
from jc1.engines.output_processor import OutputProcessor
from jc1.tokenizer.tokenizer import Detokenizer

Candidates = Sequence[tuple[int, float]]
"""The most likely next tokens of one sequence: id and log probability (natural), best first."""


@dataclass(frozen=True, slots=True)
class Beam:
    """A token sequence with the sum of its log probabilities; its end token is among `token_ids`."""

    token_ids: tuple[int, ...] = ()
    logprob: float = 0.0
    finish_reason: FinishReason | None = None

    def score(self, length_penalty: float) -> float:
        """Return what beams are ranked by: the sum over the number of tokens to the power of `length_penalty`."""
        return float(self.logprob / len(self.token_ids) ** length_penalty)


class BeamSearch:
    """One request's search, for at most `limit` tokens."""

    def __init__(self, decoding: Decoding, *, limit: int, end_tokens: Sequence[int]) -> None:
        self.live: list[Beam] = [Beam()]
        self.parents: list[int] = [0]
        """For each live sequence, which of the live ones before the last step it continues."""
        self._decoding = decoding
        self._limit = limit
        self._end_tokens = frozenset(end_tokens)
        self._finished: list[Beam] = []

    @property
    def candidates(self) -> int:
        """Return how many next tokens `step` needs for each live sequence, if the vocabulary has so many.

        Even if every end token is among them, `beam_width` others are left.
        """
        return self._decoding.beam_width + len(self._end_tokens)

    def step(self, candidates: Sequence[Candidates]) -> None:
        """Go one token further, with the most likely next tokens of each live sequence, in the order of `live`."""
        width = self._decoding.beam_width
        # 1) Every continuation: by an end token it is finished, else it is a candidate. Sums are negated: the best
        # comes first, and equals go by sequence and token.
        longer: list[tuple[float, int, int]] = []
        for parent, (beam, following) in enumerate(zip(self.live, candidates, strict=True)):
            for token, logprob in following:
                if token not in self._end_tokens:
                    longer.append((-(beam.logprob + logprob), parent, token))
                elif len(beam.token_ids) >= self._decoding.min_tokens:
                    ended = Beam((*beam.token_ids, token), beam.logprob + logprob, "stop")
                    self._finished.append(ended)
        # 2) The best of the others live on.
        longer.sort()
        del longer[width:]
        self.parents = [parent for _, parent, _ in longer]
        self.live = [Beam((*self.live[parent].token_ids, token), -worth) for worth, parent, token in longer]
        # 3) All live ones are of one length: at the limit they are finished together.
        if self.live and len(self.live[0].token_ids) >= self._limit:
            self._finished += [Beam(beam.token_ids, beam.logprob, "length") for beam in self.live]
            self.live = []
        self._finished = self._ranked(self._finished)[:width]

    @property
    def done(self) -> bool:
        """Return whether no live sequence can still become one of the `n` best."""
        if not self.live:
            return True
        if len(self._finished) < self._decoding.n:
            return False
        return self._finished[self._decoding.n - 1].score(self._decoding.length_penalty) >= self._bound()

    @property
    def best(self) -> list[Beam]:
        """Return the `n` best sequences that are finished, best first."""
        return self._finished[: self._decoding.n]

    def _ranked(self, beams: Sequence[Beam]) -> list[Beam]:
        return sorted(beams, key=lambda beam: (-beam.score(self._decoding.length_penalty), beam.token_ids))

    def _bound(self) -> float:
        """Return the best score that any continuation can reach.

        Its sum only falls, so the best live one's stands for all; the length helps or hurts by the penalty's sign.
        """
        best, penalty = self.live[0], self._decoding.length_penalty
        length = self._limit if penalty > 0 else len(best.token_ids) + 1
        return float(best.logprob / length**penalty)


def last_steps(
    beams: Sequence[Beam], decoding: Decoding, *, end_tokens: Sequence[int], streams: Sequence[Detokenizer]
) -> list[Step]:
    """Return one last step for each of the best sequences, in order: none is known before all are."""
    steps: list[Step] = []
    for index, (beam, stream) in enumerate(zip(beams, streams, strict=True)):
        reply = OutputProcessor(index, decoding, limit=len(beam.token_ids), end_tokens=end_tokens, stream=stream)
        text = "".join(reply.add(token).text for token in beam.token_ids)
        steps.append(Step(index, text, beam.token_ids, beam.finish_reason, score=beam.score(decoding.length_penalty)))
    return steps
