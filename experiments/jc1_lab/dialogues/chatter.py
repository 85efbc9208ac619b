"""What people say that is neither a fact nor a question about one: greetings, thanks, errands, requests.

Knows the fixed sentences with which the model answers them. Knows nothing about facts or memory.
"""

from __future__ import annotations

import random

from jc1_lab.dialogues.grammar import CANNOT, NOT_TOLD
from jc1_lab.dialogues.words import DAYS, LISTS, Words

HELLO = "Hello! Tell me something and I will remember it."
SMALL_TALK: tuple[tuple[str, tuple[str, ...]], ...] = (
    (HELLO, LISTS["hello"]),
    ("You are welcome.", LISTS["thanks"]),
    ("Goodbye!", LISTS["bye"]),
    ("I am fine, thank you.", LISTS["how are you"]),
    ("I can remember what you tell me and answer questions about it.", LISTS["what can you do"]),
    ("I am JC1, a tiny assistant with a memory.", LISTS["who are you"]),
    ("Good.", LISTS["well"]),
)
"""Replies, and what is said to get them."""

REQUESTS = LISTS["requests"]
WORLD = LISTS["world"]
REMARKS = LISTS["remarks"]
USER_WORDS = {"I": "I", "my": "my", "me": "me", "am": "am", "have": "have"}
ASSISTANT_WORDS = {"I": "you", "my": "your", "me": "you", "am": "are", "have": "have"}
SYSTEMS = LISTS["systems"]


class Chatter:
    """Draws talk that is not about facts."""

    def __init__(self, rng: random.Random, words: Words) -> None:
        self.rng = rng
        self.words = words

    def _slots(self) -> dict[str, str]:
        w = self.words
        return {
            "t": w.thing(),
            "w": w.made_up(False),
            "p": w.first_name(),
            "p2": w.first_name(),
            "c": w.city(),
            "c2": w.city(),
            "b": w.title(),
            "n": w.number(),
            "h": w.time(),
            "d": self.rng.choice(DAYS),
            "k": w.thing(),
        }

    def small_talk(self) -> tuple[str, str]:
        """Return a message of small talk and the answer to it."""
        reply, messages = self.rng.choice(SMALL_TALK)
        text = self.rng.choice(messages)
        if text[-1] != "!":
            question = reply.startswith(("I am", "I can"))
            text += self.rng.choice(("?", "?", "") if question else (".", "!", "", ""))
        return self._case(text), reply

    def request(self) -> tuple[str, str]:
        """Return a task that the model cannot do, and its answer."""
        text = self.rng.choice(REQUESTS).format(**self._slots())
        lead = self.rng.choice(("", "", "", "please ", "can you ", "could you "))
        if text.startswith(("what", "how", "please", "can", "could")):
            lead = ""
        mark = "?" if lead.startswith("c") or text.startswith(("what", "how", "can", "could")) else "."
        return self._case(lead + text) + self.rng.choice((mark, mark, "")), CANNOT

    def world(self) -> tuple[str, str]:
        """Return a question about the world, which nobody has told the model anything about, and its answer."""
        text = self.rng.choice(WORLD).format(**self._slots())
        lead = self.rng.choice(("", "", "", "", "do you know ", "tell me: "))
        if lead == "do you know ":
            lead = ""
        return self._case(lead + text) + self.rng.choice(("?", "?", "?", "")), NOT_TOLD

    def remark(self) -> tuple[str, str]:
        """Return a statement in the user's words, and the same as a clause in the assistant's."""
        template, slots = self.rng.choice(REMARKS), self._slots()
        return template.format(**slots, **USER_WORDS), template.format(**slots, **ASSISTANT_WORDS)

    def system(self) -> str:
        return self.rng.choice(SYSTEMS).format(**self._slots())

    def _case(self, text: str) -> str:
        p = self.rng.random()
        return (
            text.lower()
            if p < 0.15 and text.isascii() and not any(c.isupper() for c in text[1:])
            else text[:1].upper() + text[1:]
            if p < 0.85
            else text
        )
