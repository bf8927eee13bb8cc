"""The tier search under pytest: options of Hypothesis, its database across processes, gating, and reports."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from projects import FEWER_GATES, SETTINGS, configure, printed

from dmmcheck.report import json as report_json

OFF = "label-steady-off-manifold"
RADIUS = f"[tool.dmmcheck.checks.{OFF}]\nthreshold = 1.0\n"
ONE = ("--dmm-only", "--dmm-checks", OFF)
REBUILD = re.compile(r"NormalStep\(subject, index=(\d+), coordinates=\((0\.\d+),\)\)")


@pytest.fixture
def planted(project):
    """A project with a radius beyond the boundary."""
    configure(project, RADIUS)
    return project


def finding(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(content, report_json.schema())
    assert report_json.render(report_json.parse(path.read_text(encoding="utf-8"))) == path.read_text(encoding="utf-8")
    (found,) = content["findings"]
    return found


def test_a_search_is_advisory_and_reports_its_counterexample(planted, world):
    result = planted.runpytest_inprocess(*ONE, "--dmm-report", "r.json")
    assert result.ret == 0
    index, length = REBUILD.search(printed(result)).groups()
    found = finding(planted.path / "r.json")
    assert (found["verdict"], found["gating"], found["threshold"]) == ("refuted", False, 1.0)
    example = found["counterexample"]
    assert (example["input"], example["kind"]) == (int(index), "normal")
    assert example["length"] == found["estimate"] == pytest.approx(float(length), rel=1e-4)
    assert example["margins"][0] > 0 > example["margins"][1]
    assert example["x"] == pytest.approx(world.data[0][int(index)].tolist())
    x = world.torch.tensor(example["x"]) + world.torch.tensor(example["step"])
    assert int(world.off(x[None]).argmax()) == example["labels"][1] != example["labels"][0]


def test_a_gating_search_fails_the_run_and_one_that_finds_nothing_does_not(planted):
    planted.makefile(".toml", pyproject=f'{SETTINGS}gate = ["search"]\non-inconclusive = "fail"\n{RADIUS}')
    result = planted.runpytest_inprocess(*ONE)
    assert result.ret == 1
    assert "steps off the manifold within the radius keep the label" in printed(result)
    planted.makefile(".toml", pyproject=f'{SETTINGS}gate = ["search"]\non-inconclusive = "fail"\n')
    result = planted.runpytest_inprocess("--dmm-only", "--dmm-checks", "label-steady-on-manifold")
    assert result.ret == 0
    assert re.search(r"none in \d+ tries with steps of length up to 0\.0\d+; a search cannot show", printed(result))


@pytest.mark.heavy
def test_another_process_tries_first_what_was_found_in_the_folder_that_pytest_runs_in(planted, monkeypatch):
    planted.makeconftest(FEWER_GATES)
    folder = planted.mkdir("elsewhere")
    monkeypatch.chdir(folder)
    command = (*ONE, f"--rootdir={planted.path}", "--hypothesis-show-statistics", "-p", "no:cacheprovider")
    found_again(*(planted.runpytest_subprocess(*command, str(planted.path)) for _ in range(2)))
    assert (folder / ".hypothesis" / "examples").is_dir()
    assert not (planted.path / ".hypothesis").exists()


def test_the_same_process_tries_first_what_was_found_and_shows_statistics(planted):
    found_again(*(planted.runpytest_inprocess(*ONE, "--hypothesis-show-statistics") for _ in range(2)))


def found_again(first, again):
    assert f"{OFF}-search-builtin:" in printed(first)
    assert "during generate phase" in printed(first)
    assert "during shrink phase" in printed(first)
    assert "during reuse phase" in printed(again)
    assert "during generate phase" not in printed(again)
    assert REBUILD.search(printed(again)).groups() == REBUILD.search(printed(first)).groups()


def test_a_seed_and_a_profile_decide_what_is_drawn(planted):
    planted.makepyfile(
        conftest="""
        from hypothesis import settings
        settings.register_profile("alone", database=None, max_examples=5)
        """
    )
    seeded = (*ONE, "--hypothesis-profile=alone", "--hypothesis-show-statistics", "--dmm-report", "r.json")
    found = []
    for _ in range(2):
        planted.runpytest_inprocess(*seeded, "--hypothesis-seed=3")
        found.append(finding(planted.path / "r.json"))
    assert found[0]["counterexample"] == found[1]["counterexample"]
    assert found[0]["reason"] == found[1]["reason"]


def test_a_radius_of_zero_is_a_usage_error(planted):
    planted.makefile(".toml", pyproject=SETTINGS + RADIUS.replace("1.0", "0.0"))
    result = planted.runpytest_inprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"a threshold of 0 is set for '{OFF}'" in printed(result)


def test_other_verdicts_do_not_depend_on_the_tier(planted):
    reports = []
    for more in ((), ("--dmm-tier", "stated,search")):
        checks = "off-manifold-suffices" if not more else f"off-manifold-suffices,{OFF}"
        planted.runpytest_inprocess(
            "--dmm-only", "--dmm-tier", "stated", "--dmm-checks", checks, *more, "--dmm-report", "r.json"
        )
        content = json.loads((planted.path / "r.json").read_text(encoding="utf-8"))
        reports.append([{**one, "cost": 0} for one in content["findings"] if one["tier"] == "stated"])
        assert len(content["findings"]) == 1 + bool(more)
    assert reports[0] == reports[1] != []
