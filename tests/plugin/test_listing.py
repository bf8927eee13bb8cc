"""--dmm-list and --dmm-explain print what is known of the checks, and run nothing."""

from __future__ import annotations

import pytest
from projects import on_one_line, printed

from dmmcheck.checks.base import registry
from dmmcheck.checks.explanation import TITLES


def test_the_list_names_every_check_with_claim_needs_and_source(pytester):
    result = pytester.runpytest_inprocess("--dmm-list")
    assert result.ret == 0
    text = printed(result)
    for check in registry().values():
        assert f"{check.id} ({', '.join(check.tiers)})" in result.outlines
        assert check.statement in text
    assert "set `checkpoints`" in text
    clings, growth = (
        text.partition(f"{id} (")[2].partition(" source ")[0] for id in ("boundary-clings", "normal-gradient-growth")
    )
    assert clings.endswith("set `factory` (seed -> model), for the tier mechanism")
    assert growth.endswith("set `factory` (seed -> model)")
    assert "arXiv 2106.10151" in text


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, each on one line; a line may end after a hyphen within a word."""
    return [on_one_line(part).replace("- ", "-") for part in text.split("\n\n")]


@pytest.mark.parametrize("id", registry())
def test_an_explanation_is_printed_with_its_paragraphs(pytester, id):
    result = pytester.runpytest_inprocess("--dmm-explain", id)
    assert result.ret == 0
    assert result.outlines[:2] == [id, "=" * len(id)]
    shown = paragraphs("\n".join(result.outlines))
    check = registry()[id]
    for title, name in TITLES.items():
        first, *more = paragraphs(getattr(check.explanation, name))
        if first:
            assert f"{title}: {first}" in shown
        assert [paragraph for paragraph in more if paragraph not in shown] == []
    assert f"[tool.dmmcheck.checks.{id}]" in printed(result)


def test_an_explanation_has_several_paragraphs(pytester):
    """So that the test above has something to find."""
    texts = [getattr(check.explanation, name) for check in registry().values() for name in TITLES.values()]
    assert sum(text.count("\n\n") for text in texts) > 20


def test_an_unknown_id_is_refused_with_one_that_is_near(pytester):
    result = pytester.runpytest_inprocess("--dmm-explain", "boundary-cling")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "unknown check 'boundary-cling'; did you mean 'boundary-clings'?" in printed(result)


def test_a_check_of_the_users_own_is_listed(pytester):
    pytester.makeconftest(
        """
        import dmmcheck

        @dmmcheck.check("is-wide", statement="margins are wide", threshold=1.0, direction="greater", needs=("factory",))
        def is_wide(view):
            ...
        """
    )
    result = pytester.runpytest_inprocess("--dmm-list")
    result.stdout.fnmatch_lines(["is-wide (stated)", "*claim *margins are wide", "*needs *an untrained model: *"])
