"""Keeps transformers from importing scikit-learn, which takes 1.5 s.

For transformers 5.19. Where scikit-learn is installed, `transformers.generation.candidate_generator` imports it with
the module, for one curve of assisted generation that is not used here. No issue is known.

Changes the answer to one question, `is_sklearn_available`, while the import runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_sklearn() -> Iterator[None]:
    """Let scikit-learn count as not installed in the body, which imports what generates for the first time."""
    import transformers.utils

    is_available = transformers.utils.is_sklearn_available
    transformers.utils.is_sklearn_available = lambda: False
    try:
        yield
    finally:
        transformers.utils.is_sklearn_available = is_available
