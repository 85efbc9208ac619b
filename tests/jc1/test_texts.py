"""What text is, said once: who takes it from people refuses the rest, who stores it puts it right."""

import pytest

from jc1.texts import as_text, checked, is_text


@pytest.mark.parametrize("text", ["", "naïve café", "日本語", "🙂", "line\nbreak\ttab", "\x01", "￿"])
def test_text_is_what_utf8_and_databases_carry(text: str) -> None:
    assert is_text(text)
    assert checked(text) == as_text(text) == text


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d", "other half \udc00", "\ud83d\ude42"])
def test_a_nul_and_half_a_surrogate_pair_are_not_text(text: str) -> None:
    assert not is_text(text)
    with pytest.raises(ValueError, match="NUL or half"):
        checked(text)
    assert is_text(as_text(text))
