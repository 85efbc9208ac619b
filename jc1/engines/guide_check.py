"""Compiles a grammar in a process of its own, which ends when it takes too long or too much memory.

Knows only llguidance: it is run by its path, so that it starts at once. `guides` starts and ends it. Exits with 0 where
the grammar can be followed, with 1 where not, and then says why on standard output.
"""

import resource
import sys


def main() -> None:
    """Compile the grammar on standard input; the arguments are the bytes of memory and the number of tokens."""
    memory_bytes, vocab = map(int, sys.argv[1:])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (memory_bytes if most == resource.RLIM_INFINITY else min(memory_bytes, most), most)
    )
    from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

    tokenizer = LLTokenizer(TokenizerWrapper(_Bytes()), n_vocab=max(vocab, len(_Bytes.tokens)))
    matcher = LLMatcher(tokenizer, sys.stdin.read(), log_level=0)
    matcher.compute_bitmask()
    nothing = matcher.is_stopped() and not matcher.is_accepting()
    if matcher.is_error() or nothing:
        print(matcher.get_error() or "no text fits it")
        sys.exit(1)


class _Bytes:
    """A vocabulary of bytes: which tokens there are makes no difference to whether a grammar compiles."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    special_token_ids = (256,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


if __name__ == "__main__":
    main()
