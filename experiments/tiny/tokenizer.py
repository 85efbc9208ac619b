"""The tokenizer of jc1-tiny: a SentencePiece model learnt from rendered dialogues, and the same as a tokenizer.json.

Knows how the vocabulary is made and how both forms are kept identical. Knows nothing about batches or the network.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import sentencepiece

from jc1.messages import Message
from jc1_lab.dialogues.dialogue import Writer, shape

SIZE = 1024
BOS, EOS, END = "<s>", "</s>", "<|end|>"
ROLE_TOKENS = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_CHUNK = re.compile(r" ?[^\W\d_]+| ?\d| ?[^\w\s]+| ?_+|\s", re.UNICODE)
"""Pieces never cross a change from letters to marks or digits, so that a text may be encoded chunk by chunk."""


def train(folder: Path, dialogues: int = 12_000, seed: int = 7) -> Path:
    """Learn the vocabulary and write tokenizer.model, tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_lines(dialogues, seed),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=SIZE,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        split_digits=True,
        byte_fallback=True,
        required_chars="".join(map(chr, range(33, 127))),
        control_symbols=[*ROLE_TOKENS.values(), END],
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=2,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    export(folder)
    return folder / "tokenizer.model"


def _lines(dialogues: int, seed: int) -> Iterator[str]:
    """Yield lines of dialogues; the system prompt, which is always the same, only now and then."""
    rng = random.Random(seed)
    writer = Writer(rng)
    for i in range(dialogues):
        for turn in writer.write(shape(rng, rng.random())).turns:
            if turn.role != "system" or i % 10 == 0:
                yield from turn.text.split("\n")


def export(folder: Path) -> None:
    """Write the Hugging Face form beside tokenizer.model."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    vocabulary = {pieces.id_to_piece(i): i for i in range(len(pieces))}
    merges = []
    for piece, rank in vocabulary.items():
        if pieces.is_control(rank) or pieces.is_byte(rank) or pieces.is_unknown(rank):
            continue
        splits = [
            (piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocabulary and piece[i:] in vocabulary
        ]
        merges += [(rank, vocabulary[a], vocabulary[b], a, b) for a, b in splits]
    merges.sort()
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[(a, b) for *_, a, b in merges],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = [BOS, EOS, "<unk>", *ROLE_TOKENS.values(), END]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": END,
        "unk_token": "<unk>",
        "pad_token": EOS,
        "additional_special_tokens": list(ROLE_TOKENS.values()),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(TEMPLATE)


class Encoder:
    """Turns messages into ids. With `roughness`, words are cut at random, the same way throughout one text."""

    def __init__(self, model: Path) -> None:
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
        self.bos = self.pieces.piece_to_id(BOS)
        self.end = self.pieces.piece_to_id(END)
        self.roles = {role: self.pieces.piece_to_id(token) for role, token in ROLE_TOKENS.items()}
        self._known: dict[str, list[int]] = {}

    def text(
        self, text: str, cuts: dict[str, list[int]] | None = None, rng: random.Random | None = None, share: float = 0.5
    ) -> list[int]:
        """Return the ids of a text.

        `cuts` remembers how each word was cut; only words of letters are cut, a `share` of them.
        """
        ids: list[int] = []
        for chunk in _CHUNK.findall(text):
            if cuts is not None and rng is not None:
                if chunk not in cuts:
                    cuts[chunk] = self._cut(chunk, rng) if rng.random() < share else self._whole(chunk)
                ids += cuts[chunk]
            else:
                ids += self._whole(chunk)
        return ids

    def _whole(self, chunk: str) -> list[int]:
        ids = self._known.get(chunk)
        if ids is None:
            ids = self.pieces.encode(chunk)
            if len(self._known) < 200_000:
                self._known[chunk] = ids
        return ids

    def _cut(self, chunk: str, rng: random.Random) -> list[int]:
        """Return a random cut: the word is split at random places and each part is encoded by itself."""
        ids: list[int] = []
        start = 0
        while start < len(chunk):
            width = rng.choice((1, 2, 2, 3, 3, 4, 5))
            width = max(width, 2) if start == 0 and chunk[0] == " " else width
            ids += self._whole(chunk[start : start + width])
            start += width
        return ids

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of messages as the chat template renders them, generation prompt included."""
        ids = [self.bos]
        for message in messages:
            ids += [self.roles[message.role], *self.text(message.text), self.end]
        return [*ids, self.roles["assistant"]]
