"""The same results under pytest-xdist. Each run starts processes that import torch, so that each tests many things."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from projects import (
    ATTACK,
    FEWER_GATES,
    FIXTURES,
    OPEN,
    SETTINGS,
    SUBJECT,
    SUFFICES,
    WORLD,
    findings_in,
    on_one_line,
    printed,
    without_times,
)

import dmmcheck
from dmmcheck.config.settings import load_config
from dmmcheck.report import json as as_json

NO_HYPOTHESIS = ("-p", "no:hypothesispytest")  # whose plugin takes seconds in each process
CHECKS = [SUFFICES, "off-manifold-energy", "boundary-clings", "component-flips", "adversarial-training-deepens"]
TABLES = f"""
[tool.dmmcheck.checks.{SUFFICES}]
expected-failure = "tracked in #12"

[tool.dmmcheck.checks.off-manifold-energy]
threshold = 0.999

{OPEN}
"""
OWN_SUBJECTS = """
import dmmcheck
import pytest
import world


def subject():
    return dmmcheck.Subject(model=world.on, x=world.data[0], y=world.data[1], manifold=world.Plane())


made = pytest.fixture(scope="session")(subject)


@dmmcheck.parametrize(subject, checks="on-manifold-distance", tiers="stated", attacks=())
def test_function(dmm_check):
    dmm_check()


@dmmcheck.parametrize(subject(), checks="on-manifold-distance", tiers="stated", attacks=())
def test_value(dmm_check):
    dmm_check()


@dmmcheck.parametrize("made", checks="on-manifold-distance", tiers="stated", attacks=())
def test_fixture(dmm_check):
    dmm_check()
"""


@dataclass(frozen=True)
class Run:
    """A run with two workers.

    Attributes:
        folder: Its project.
        status: Its exit status.
        output: Its lines.
    """

    folder: Path
    status: int
    output: list[str]

    @property
    def text(self) -> str:
        """The output on one line."""
        return on_one_line(*self.output)

    def report(self, name: str = "r.json") -> dict:
        """A report without its times, and without what tells runs apart."""
        content = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return without_times(content)

    def junit(self) -> dict[str, str]:
        """From the name of each test case to the kinds and messages of its elements."""
        cases = ElementTree.parse(self.folder / "junit.xml").getroot().iter("testcase")
        return {case.get("name"): " ".join(f"{part.tag}: {part.get('message')}" for part in case) for case in cases}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """One run of a project with settings, an own attack, and subjects of its own in a test file."""
    folder = tmp_path_factory.mktemp("xdist")
    files = {
        "conftest.py": FEWER_GATES,
        "world.py": WORLD,
        "own_attack.py": ATTACK,
        "test_shop.py": OWN_SUBJECTS,
        "pyproject.toml": SETTINGS + TABLES,
        "summary.md": "before\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    environment = {**os.environ, "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    for name in ("PYTEST_ADDOPTS", "COLUMNS"):
        environment.pop(name, None)
    options = ("--dmm", "--dmm-checks", ",".join(CHECKS), "--dmm-attacks", "own_attack:GradientRay")
    settings = ("--dmm-samples", "20", "--dmm-seed", "7")
    files_written = ("--dmm-report", "r.json", "--junitxml", "junit.xml")
    command = [
        sys.executable,
        "-m",
        "pytest",
        *NO_HYPOTHESIS,
        "-n",
        "2",
        "-v",
        "-rs",
        *options,
        *settings,
        *files_written,
    ]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    return Run(folder, done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()])


def test_the_report_is_that_of_the_function(run, monkeypatch):
    monkeypatch.chdir(run.folder)
    exec(FEWER_GATES, {})
    world = SimpleNamespace(**runpy.run_path(str(run.folder / "world.py")))
    subject = dmmcheck.Subject(model=world.off, x=world.data[0], y=world.data[1], manifold=world.Plane())
    options = {"samples": "20", "seed": "7", "attacks": "own_attack.py:GradientRay"}
    report = dmmcheck.run(subject, checks=CHECKS, settings=load_config(run.folder, options).settings)
    expected = without_times(json.loads(as_json.render(replace(report, evidence=None))))  # as the plugin writes it
    found = run.report()
    assert found == expected
    assert {finding["verdict"] for finding in found["findings"]} == {"supported", "refuted", "inconclusive", "not-run"}
    assert found["seed"] == 7
    assert max(finding["n"] for finding in found["findings"]) == 20


def test_each_verdict_has_its_word_and_junit(run):
    findings = run.report()["findings"]
    cases = run.junit()
    for finding in findings:
        name = f"{finding['check']}-{finding['tier']}-{finding['variant']}"
        word = {"supported": "PASSED", "inconclusive": "INCONCLUSIVE", "not-run": "SKIPPED"}.get(finding["verdict"])
        if finding["verdict"] == "refuted":
            word = "FAILED" if finding["gating"] else "REFUTED (ADVISORY)"
        if finding["check"] == SUFFICES:
            word = "FAILED"  # supported, where a failure is expected
        assert f"{word} pyproject.toml::{name}" in run.text
        kind = {"PASSED": "", "FAILED": "failure: "}.get(word, "skipped: ")
        assert cases[name].startswith(kind)
        assert bool(cases[name]) is bool(kind)
    assert run.status == 1
    assert "INTERNALERROR" not in run.text


def test_reasons_and_failures_are_shown(run):
    for words in (
        "expected to fail (tracked in #12); remove expected-failure from checks.off-manifold-suffices",
        "pyproject.toml:1: needs a standard",
        "refuted (advisory)",
        "pytest --dmm --dmm-samples 20 --dmm-seed 7 --dmm-attacks own_attack:GradientRay "
        "pyproject.toml::off-manifold-energy-stated-builtin",
    ):
        assert words in run.text
    assert run.text.count("planned,") == 4


def test_each_subject_has_its_expected_cost_before_the_tests_are_decided(run):
    expected = [n for n, line in enumerate(run.output) if "gradients expected" in line]
    assert len(expected) == 4  # of the settings and of three test functions
    assert all("s in 2 workers (" in run.output[n] and "on this model in each)" in run.output[n] for n in expected)
    labels = {run.output[n].removeprefix("dmmcheck: ").partition("about")[0] for n in expected}
    assert labels == {"", *(f"test_shop.py::test_{name}: " for name in ("function", "value", "fixture"))}
    assert expected[0] < min(n for n, line in enumerate(run.output) if line.startswith("[gw"))


def test_an_own_attack_has_its_rows(run):
    assert any(line.startswith("… gradient-ray") and "refuted" in line for line in run.output)
    assert "pyproject.toml::off-manifold-energy-controlled-gradient-ray" in run.text


@pytest.mark.parametrize("name", ["function", "value", "fixture"])
def test_subjects_in_a_test_file_have_tables_and_reports(run, name):
    (finding,) = run.report(f"r-test_{name}.json")["findings"]
    assert finding["verdict"] == "refuted"
    assert finding["estimate"] < 1
    assert f"= dmmcheck: test_shop.py::test_{name} =" in run.text
    nodeid = f"test_shop.py::test_{name}[on-manifold-distance-stated-builtin]"
    assert f"'{nodeid}'" in run.text
    assert f"FAILED {nodeid}" in run.text


def test_github_is_told_by_the_controlling_process_alone(run):
    annotations = [line for line in run.output if line.startswith("::error ")]
    assert len(annotations) == 5  # two rows of off-manifold-energy, three test functions
    assert "::error title=dmmcheck%3A off-manifold-energy-stated-builtin::off-manifold-energy (stated): " in run.text
    summary = (run.folder / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("before\n## dmmcheck")
    assert summary.count("## dmmcheck") == 4


NEARLY_OFF = (
    "world.hyperplane(*(torch.tensor([0.3, 0.0, 1.0, 0.5, 0.0, 0.2, 0.0, 0.1]) + 0.01 * torch.rand(8)).tolist())"
)
"""A model that is another one in each process, since nothing seeds it."""
BROKEN = """
import importlib

import dmmcheck
import pytest
import world


@pytest.fixture(scope="session")
def weights():
    return {}["best"]


def subject(model):
    return lambda: dmmcheck.Subject(model=model, x=world.data[0], y=world.data[1], manifold=world.Plane())


def reshaped(x):
    return x.reshape(3, -1)


@dmmcheck.parametrize("weights", tiers="stated", checks="off-manifold-suffices")
def test_fixture(dmm_check): ...


@dmmcheck.parametrize(lambda: importlib.import_module("broken"), tiers="stated", checks="off-manifold-suffices")
def test_module(dmm_check): ...


@dmmcheck.parametrize(subject(reshaped), tiers="stated", checks="off-manifold-suffices")
def test_model(dmm_check): ...


@dmmcheck.parametrize(dict, tiers="stated", checks="off-manifold-suffices")
def test_dict(dmm_check): ...
"""


@pytest.mark.heavy
def test_errors_of_every_kind_reach_the_controlling_process(project):
    """The model differs between workers; the subjects of a test file raise; a factory does not fit."""
    project.makepyfile(
        conftest=FEWER_GATES,
        model=f"import torch, world\nnet = {NEARLY_OFF}\n",
        other="import torch\n\ndef factory(seed):\n    return torch.nn.Linear(8, 3)\n",
        broken="def load():\n    return open('missing.pt')\n\n\nnet = load()\n",
        test_broken=BROKEN,
    )
    checks = "off-manifold-suffices,on-manifold-distance,boundary-clings,normal-gradient-growth"
    options = ("--dmm", "--dmm-checks", checks, "--dmm-model", "model:net", "--dmm-factory", "other:factory")
    result = project.runpytest_inprocess(*options, *NO_HYPOTHESIS, "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = printed(result)
    for words in (
        "tested 2 different models or data",
        "or add --dist loadfile",
        "the fixture weights raised KeyError: 'best'",
        'return {}["best"]',
        "the subject of test_module raised FileNotFoundError when called",
        "broken.py:2",
        "return open('missing.pt')",
        "the model raised RuntimeError in forward on an input of shape (2, 8)",
        "return x.reshape(3, -1)",
        "the subject of test_dict is a dict, expected a dmmcheck.Subject",
        "the model of factory(0) has 3 classes",
    ):
        assert words in text
    for sign in ("INTERNALERROR", "pytest_plugin", "Traceback (most recent call last)"):
        assert sign not in text


def test_one_worker_serves_fixtures_and_pasted_ids_from_a_folder_below(empty, monkeypatch):
    """The one claim is inconclusive, which fails here, so that the run has no verdict."""
    empty.makeconftest(FEWER_GATES + dedent(FIXTURES))
    empty.makefile(".toml", pyproject=OPEN)
    monkeypatch.chdir(empty.mkdir("sub"))
    id = "boundary-clings-stated-builtin"
    options = ("--dmm-samples", "24", "--dmm-on-inconclusive", "fail", "--dmm-report", "r.json")
    result = empty.runpytest_inprocess(f"../pyproject.toml::{id}", *options, *NO_HYPOTHESIS, "-n", "1")
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    text = printed(result)
    rerun = f"pytest --dmm --dmm-samples 24 --dmm-on-inconclusive fail ../pyproject.toml::{id}"
    assert rerun in text
    assert "inconclusive: the interval holds the limit 0.272" in text
    assert "no gating check reached a verdict" in text
    assert "1 planned, 1 ran" in text
    assert [finding["check"] for finding in findings_in(Path("r.json"))] == ["boundary-clings"]


@pytest.mark.heavy
def test_an_old_report_comes_back_where_a_worker_refuses_a_path(project):
    (project.path / "r.json").write_text("old")
    options = ("--dmm-only", "--dmm-checks", SUFFICES, "--dmm-report", "r.json", "none.py")
    project.runpytest_inprocess(*options, *NO_HYPOTHESIS, "-n", "1")
    assert (project.path / "r.json").read_text() == "old"
    assert not list(project.path.glob(".dmmcheck-*"))


@pytest.mark.heavy
def test_with_dist_loadfile_a_model_that_differs_between_processes_is_tested_once(empty):
    """The remedy that the message about different models names."""
    empty.makeconftest(f"import torch\n{FEWER_GATES}" + dedent(SUBJECT.replace("world.off,", f"{NEARLY_OFF},")))
    options = ("--dmm-only", "--dmm-checks", f"{SUFFICES},boundary-parallel", "--dmm-tier", "stated")
    result = empty.runpytest_inprocess(*options, *NO_HYPOTHESIS, "-n", "2", "--dist", "loadfile", "--dmm-samples", "24")
    assert result.ret == 0
    assert "different models" not in printed(result)
    assert "gradients expected" in printed(result)
    assert "in 2 workers" not in printed(result)
    assert result.parseoutcomes() == {"passed": 2}
