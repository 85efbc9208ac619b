"""Scripts that a bundled model was not trained on are told; everything that English is written with is not."""

import pytest

from jc1.language import in_another_script, language_notice


@pytest.mark.parametrize(
    "text",
    [
        "你好",
        "我的猫叫什么名字？",
        "私の猫の名前は何ですか?",
        "ما اسم قطتي؟",
        "मेरी बिल्ली का नाम क्या है?",
        "Как зовут мою кошку?",
        "고양이 이름이 뭐예요?",
        "Πώς λέγεται η γάτα μου;",
        "שלום, מה שלומך?",
        "แมวของฉันชื่ออะไร",
        "我用 Python 写代码, 请告诉我怎么做",
    ],
)
def test_a_message_in_another_script_is_told_of_a_bundled_model(text: str) -> None:
    assert in_another_script(text)
    notice = language_notice("jc1-tiny", text)
    assert notice is not None
    assert notice.code == "language_not_known"
    assert "--model" in notice.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is my cat called?",
        "🙂🚀👩‍👩‍👧 !!",
        "3.14 + 2 = 5,14 €",
        "My friends are Zoë, Łukasz, Søren, Nguyễn and İpek.",
        "naïve café, Ærøskøbing",
        "for (int i = 0; i < n; ++i) { x[i] += λ * y[i]; }",
        "π?",
        "What is the value of π, and that of √2?",
        "ｆｕｌｌ ｗｉｄｔｈ and 𝒎𝒂𝒕𝒉 and ﬁne ligatures",
        "What does 日本語 mean?",
        "Please translate 'Привет' into English.",
        "Wie heißt meine Katze?",
    ],
)
def test_emoji_names_numbers_code_and_mixed_text_are_not(text: str) -> None:
    assert not in_another_script(text)
    assert language_notice("jc1-tiny", text) is None


def test_of_models_that_are_not_bundled_nothing_is_claimed() -> None:
    assert language_notice("organisation/model", "我的猫叫什么名字？") is None
    assert language_notice("echo", "我的猫叫什么名字？") is None
