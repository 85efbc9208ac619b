"""Who was let in acts for its own owner, and may do what its scopes say."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jc1.access.principal import ADMIN, ANY_OWNER, SCOPES, USUAL_SCOPES, Limits, Principal, check_owner
from jc1.errors import InvalidRequest, Refused


def holding(*scopes: str) -> Principal:
    return Principal("local", frozenset(scopes))


def test_a_caller_acts_for_the_owner_it_names_or_for_the_default() -> None:
    everyone = holding(ANY_OWNER)
    assert everyone.acting_for(None) == "local"
    assert everyone.acting_for("Åsa 🐈") == "Åsa 🐈"


def test_a_caller_without_the_scope_acts_for_its_own_owner_only() -> None:
    ann = Principal("ann", frozenset())
    assert ann.acting_for(None) == ann.acting_for("ann") == "ann"
    with pytest.raises(Refused) as refused:
        ann.acting_for("ben")
    assert refused.value.param == "user"


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb", "a\x00", "\x7f", "\ud800"])
def test_a_name_that_cannot_be_an_owners_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        holding(ANY_OWNER).acting_for(name)
    assert refused.value.param == "user"


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200).filter(str.strip))
@example("x" * 200)
def test_every_other_text_may_name_an_owner(name: str) -> None:
    assert check_owner(name) == name


def test_a_scope_allows_what_it_names_and_nothing_else() -> None:
    caller = holding("memory:read")
    caller.require("memory:read")
    with pytest.raises(Refused, match="memory:write"):
        caller.require("memory:write")


def test_models_and_presets_may_be_used_that_are_listed_and_all_where_none_are() -> None:
    ann = Principal("ann", frozenset(), models=frozenset({"tiny"}), presets=frozenset({"short", "terse@2", "champion"}))
    assert [ann.may_ask(model) for model in ("tiny", "large")] == [True, False]
    used = ("short", "short@1", "terse@2", "terse@champion", "terse", "terse@1", "terse@1@champion")
    assert [ann.may_use(preset) for preset in used] == [True] * 4 + [False] * 3
    ann.require_model("tiny")
    ann.require_preset("short")
    with pytest.raises(Refused) as refused:
        ann.require_model("large")
    assert refused.value.param == "model"
    with pytest.raises(Refused, match="allowed are champion, short, terse@2") as refused:
        ann.require_preset("terse")
    assert refused.value.param == "preset"
    with pytest.raises(Refused, match="allowed are none"):
        Principal("ann", frozenset(), presets=frozenset()).require_preset("terse")
    assert holding().may_ask("large")
    assert holding().may_use("terse")


def test_the_usual_scopes_are_all_about_an_owners_own_and_nothing_else() -> None:
    ann = Principal("ann", USUAL_SCOPES)
    assert [scope for scope in SCOPES if not ann.may(scope)] == ["presets:write", "metrics", ANY_OWNER, ADMIN]


@pytest.mark.parametrize("scope", SCOPES)
def test_an_admin_may_do_everything(scope: str) -> None:
    holding(ADMIN).require(scope)


def test_limits_are_told_by_name_where_they_are_set() -> None:
    assert Limits(requests_per_minute=60, concurrent=4).to_dict() == {"requests_per_minute": 60, "concurrent": 4}
    assert Limits().to_dict() == {}
