"""Under pytest, measurements are kept in pytest's cache, and read by later runs."""

from __future__ import annotations

import json

import pytest
from projects import ONE, findings_in, on_one_line, printed

NET = """
import torch
import world

class Off(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("normal", torch.tensor([0.3, 0.0, 1.0, 0.5, 0.0, 0.2, 0.0, 0.1]) @ world.turn)

    def forward(self, x):
        score = x @ self.normal.to(x)
        return torch.stack([-score, score], dim=1)
"""
SETTINGS = """
[tool.dmmcheck]
model = "net:Off"
data = "world:data"
manifold = "world:Plane"
samples = 24
"""


@pytest.fixture
def kept(empty):
    """A project whose model is a module, which has an address."""
    empty.makepyfile(net=NET)
    empty.makefile(".toml", pyproject=SETTINGS)
    return empty


def run(project, *options):
    """The cost of a run of one claim, and its findings without costs."""
    result = project.runpytest_inprocess(*ONE, "--dmm-report", "report.json", *options)
    assert result.ret == 0, printed(result)
    path = project.path / "report.json"
    return json.loads(path.read_text(encoding="utf-8"))["cost"], findings_in(path)


def test_a_second_run_reads_what_the_first_one_measured(kept):
    (first, findings), (second, again) = run(kept), run(kept)
    assert first["total"]["gradient_evaluations"] > 100
    assert (
        second["parts"]["search"]["gradient_evaluations"] == second["parts"]["soundness"]["gradient_evaluations"] == 0
    )
    assert findings == again
    assert list((kept.path / ".pytest_cache/d/dmmcheck").glob("??/*.dmm"))


@pytest.mark.parametrize("options", [("--dmm-cache", "off"), ("-p", "no:cacheprovider")])
def test_nothing_is_kept_where_that_is_switched_off(kept, options):
    costs = [run(kept, *options)[0] for _ in range(2)]
    assert [cost["store"] for cost in costs] == ["", ""]
    assert costs[1]["parts"]["search"]["gradient_evaluations"] > 100


def test_a_folder_of_the_settings_starts_from_the_root(kept):
    run(kept, "--dmm-cache", "kept/here")
    assert list((kept.path / "kept/here").glob("??/*.dmm"))


@pytest.mark.parametrize("below", ["", "/deeper"], ids=["file", "below a file"])
def test_a_cache_that_is_a_file_is_one_error_and_the_file_stays(kept, below):
    file = kept.makefile(".txt", taken="mine")
    result = kept.runpytest_inprocess(*ONE, f"--dmm-cache={file.name}{below}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR, printed(result)
    assert f"{file} is no folder; name a folder, or set cache to off" in printed(result)
    assert "Traceback" not in printed(result)
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("options", [(), ("--dmm-cache", "kept")], ids=["cache of pytest", "folder"])
def test_a_project_that_cannot_be_written_to_is_tested_and_nothing_is_kept(kept, read_only, options):
    """Such as a checkout that is mounted read-only in a container."""
    report = kept.mkdir("out") / "report.json"
    before = {path.name for path in kept.path.iterdir()}
    read_only(kept.path)
    result = kept.runpytest_inprocess(*ONE, "--dmm-report", str(report), *options)
    assert result.ret == 0, printed(result)
    content = json.loads(report.read_text(encoding="utf-8"))
    assert (content["complete"], content["findings"][0]["verdict"]) == (True, "supported")
    assert "the store cannot be used ([Errno 13] Permission denied: " in content["cost"]["store"]
    assert content["cost"]["store_error"].startswith("[Errno 13] Permission denied: ")
    shown = on_one_line(printed(result))
    assert "new measurements are not kept for the next run ([Errno 13] Permission denied: " in shown
    assert "set cache to another folder, or to false" in shown
    assert {path.name for path in kept.path.iterdir()} <= {*before, "__pycache__"}


@pytest.mark.parametrize("fault", ["no locks", "evicted"])
def test_a_store_of_which_only_a_convenience_fails_keeps_what_is_measured(kept, monkeypatch, fault):
    def fail(*args, **more):
        raise (NotImplementedError if fault == "no locks" else FileNotFoundError)("not here")

    run(kept, "--dmm-cache", "kept")
    if fault == "no locks":
        monkeypatch.setattr("dmmcheck.measurement.store.FileLock.acquire", fail)
    else:
        monkeypatch.setattr("dmmcheck.measurement.store.os.utime", fail)
    cost, _ = run(kept, "--dmm-cache", "kept", "--dmm-seed", "5" if fault == "no locks" else "0")
    assert "the store cannot be used (not here)" in cost["store"]
    assert cost["store_error"] == ""


def test_a_store_that_cannot_be_written_to_any_more_is_still_read(kept, read_only):
    run(kept, "--dmm-cache", "kept")
    files = sorted((kept.path / "kept").rglob("*"))
    for folder in (kept.path / "kept", *(path for path in files if path.is_dir())):
        read_only(folder)
    cost, _ = run(kept, "--dmm-cache", "kept")
    assert cost["parts"]["search"]["gradient_evaluations"] == 0
    assert sorted((kept.path / "kept").rglob("*")) == files
