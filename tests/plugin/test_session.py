"""One run of a subject in a process: its sample is drawn first, each finding is made once, whatever the order."""

from __future__ import annotations

import json
import re
import types

import pytest
from projects import SUFFICES, findings_in, printed

import dmmcheck
from dmmcheck.config.settings import Settings
from dmmcheck.errors import BaselineError, SubjectError
from dmmcheck.measurement import workers
from dmmcheck.pytest_plugin.distances import DistanceTest
from dmmcheck.pytest_plugin.outcomes import RefutedError
from dmmcheck.pytest_plugin.session import SubjectSession, start_session, workers_of


def subject_of(world, model="off"):
    return dmmcheck.Subject(model=getattr(world, model), x=world.data[0], y=world.data[1], manifold=world.Plane())


def planned_in(session: SubjectSession, check: str):
    return next(planned for planned in session.run.planned if planned.check.id == check)


def test_too_few_inputs_are_said_before_the_forecast(world):
    lines, kept = [], []
    start_session(subject_of(world), Settings(samples=8), lines.append, keep=kept.append)
    assert len(kept) == 1
    assert "8 inputs cannot decide a claim" in kept[0]
    assert "set samples to" in kept[0]


def test_the_sample_is_drawn_at_the_start(world):
    lines = []
    session = start_session(subject_of(world), Settings(samples=24), lines.append)
    (line,) = lines
    assert re.fullmatch(r"about [\d,]+ gradients expected, [\d.]+ (s|min|h) \([\d,]+ a second on this model\)", line)
    assert len(session.run.measure.sample.x) == 24


def test_an_unusable_subject_is_an_error_at_the_start(world):
    swapped = dmmcheck.Subject(model=world.off, x=world.data[0], y=1 - world.data[1], manifold=world.Plane())
    with pytest.raises(SubjectError, match="classifies 0 of 40"):
        start_session(swapped, Settings(), lambda line: None)


def test_each_finding_is_made_once_and_has_a_report_of_its_own(world, monkeypatch):
    session = start_session(subject_of(world, "on"), Settings(samples=24), lambda line: None)
    planned = planned_in(session, SUFFICES)
    assert session.report(planned) is None
    finding = session.finding(planned)
    monkeypatch.setattr(session.run, "finding", None)
    assert session.finding(planned) is finding
    assert session.report(planned).findings == (finding,)
    assert session.report(planned).subject.inputs == 24
    with pytest.raises(RefutedError, match=r"4\.60 .*, not < 1\.25"):
        session.conclude(planned)


def test_verdicts_do_not_depend_on_what_else_is_selected(project):
    full = ("--dmm-only", "--dmm-checks", f"{SUFFICES},boundary-parallel,noise-like")
    project.runpytest_inprocess(*full, "--dmm-report", "full.json")
    project.runpytest_inprocess("--dmm-only", "--dmm-checks", "noise-like", "--dmm-report", "part.json")
    part = findings_in(project.path / "part.json")
    assert part == [f for f in findings_in(project.path / "full.json") if f["check"] == "noise-like"]
    assert part


def test_settings_reach_the_run(project):
    options = ("--dmm-only", "--dmm-checks", SUFFICES, "--dmm-samples", "16", "--dmm-seed", "7")
    project.runpytest_inprocess(*options, "--dmm-report", "r.json")
    content = json.loads((project.path / "r.json").read_text())
    assert (content["seed"], content["findings"][0]["n"]) == (7, 16)


def test_a_device_that_does_not_exist_is_an_error(project):
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", SUFFICES, "--dmm-device", "cuda:99")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "device 'cuda:99' cannot be used here" in printed(result)


def test_a_distance_has_no_report_where_the_report_cannot_be_made(world, monkeypatch):
    session = start_session(subject_of(world), Settings(samples=24), lambda line: None)

    def fails(findings):
        raise BaselineError("the baseline is of other data")

    monkeypatch.setattr(session.run, "report", fails)
    with pytest.raises(BaselineError):
        session.conclude(DistanceTest("free"))
    assert session.report(DistanceTest("free")) is None, "makereport asks for it after the error"


def test_a_worker_measures_with_its_part_of_the_threads_alone(world, monkeypatch):
    counts = []
    monkeypatch.setattr(workers.torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(workers, "use_threads", counts.append)
    session = start_session(subject_of(world, "on"), Settings(samples=24), lambda line: None, workers=2)
    planned = planned_in(session, SUFFICES)
    assert counts == [2, 4]
    session.finding(planned)
    assert counts == [2, 4] * 3  # the finding, and the report with all but findings, in which it must be writable
    session.report(planned)
    session.finding(planned)
    assert counts == [2, 4] * 3


@pytest.mark.parametrize(
    ("sent", "count"),
    [
        (None, 1),
        ({"workercount": 4, "dmmcheck_dist": "load"}, 4),
        ({"workercount": 4, "dmmcheck_dist": "worksteal"}, 4),
        ({"workercount": 4, "dmmcheck_dist": "loadfile"}, 1),  # one worker has all checks, since they are of one file
        ({"workercount": 4, "dmmcheck_dist": "each"}, 1),
    ],
)
def test_the_checks_are_shared_where_each_worker_takes_the_next_one(sent, count):
    config = types.SimpleNamespace() if sent is None else types.SimpleNamespace(workerinput=sent)
    assert workers_of(config) == count


def test_one_process_leaves_the_number_of_threads_alone(world, monkeypatch):
    monkeypatch.setattr(workers, "use_threads", None)
    session = start_session(subject_of(world, "on"), Settings(samples=24), lambda line: None)
    assert session.finding(planned_in(session, SUFFICES)).verdict == "refuted"
