"""The console command, in this process."""

from __future__ import annotations

import json

import pytest

from dmmcheck.cli import main

CODE = """
from dmmcheck.worlds.dimples import dimpled

deep, shallow = (dimpled(seed=0, depth=depth).subject for depth in (0.1, 0.07))
data, manifold = (deep.x, deep.y), deep.manifold
deep, shallow = deep.model, shallow.model
"""
RUN = ("run", "--data", "shop.py:data", "--manifold", "shop.py:manifold", "--samples", "96", "--tier", "stated")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    (tmp_path / "shop.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_compare_and_report(shop, capsys):
    checks = ("--checks", "boundary-clings")
    assert main([*RUN, *checks, "--model", "shop.py:deep", "--evidence", "true", "--report", "deep.json"]) == 0
    assert "boundary-clings" in capsys.readouterr().out
    assert main([*RUN, *checks, "--model", "shop.py:shallow", "--evidence", "true", "--report", "shallow.json"]) == 0
    assert main(["compare", "deep.json", "deep.json"]) == 0
    capsys.readouterr()
    assert main(["compare", "deep.json", "shallow.json", "--report", "change.html"]) == 1
    printed = capsys.readouterr().out
    assert "worse 0.70x" in printed
    assert "numbers compared with the baseline are worse, and" in printed
    assert "worse 0.70x" in (shop / "change.html").read_text()
    assert main(["report", "deep.json", "deep.md", "deep.csv"]) == 0
    assert len((shop / "deep.csv").read_text().splitlines()) == 97
    assert main(["report", "deep.json"]) == 0


def test_a_baseline_is_written_and_a_regression_fails(shop, capsys):
    run = (*RUN, "--checks", "boundary-clings", "--baseline", "main.json", "--gate", "stated,baseline")
    assert main([*run, "--model", "shop.py:deep"]) == 4
    assert "there is no baseline" in capsys.readouterr().err
    assert main([*run, "--model", "shop.py:deep", "--update-baseline"]) == 0
    assert json.loads((shop / "main.json").read_text())["evidence"]["values"]
    assert main([*run, "--model", "shop.py:deep"]) == 0
    assert main([*run, "--model", "shop.py:shallow"]) == 1
    assert "worse 0.70x" in " ".join(capsys.readouterr().out.split())


def found_by(shop, *options):
    """The JSON report of a run of one check in all tiers."""
    run = [word for word in RUN if word not in {"--tier", "stated"}]
    main([*run, "--checks", "boundary-clings", "--model", "shop.py:deep", "--report", "r.json", *options])
    return json.loads((shop / "r.json").read_text())


def test_a_fast_run_has_the_stated_claims_alone(shop):
    assert {finding["tier"] for finding in found_by(shop)["findings"]} > {"stated"}
    fast = found_by(shop, "--fast")
    assert fast["fast"] is True
    assert {finding["tier"] for finding in fast["findings"]} == {"stated"}


def test_a_run_whose_time_is_over_is_not_complete(shop):
    assert found_by(shop)["complete"] is True
    late = found_by(shop, "--max-time", "0.000001 s")
    assert late["complete"] is False
    assert all(finding["out_of_time"] for finding in late["findings"] if finding["verdict"] == "inconclusive")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "energy"], "unknown check 'energy'"),
        (["run"], "no model and no data and no manifold are given; write model ="),
        (["run", "--seed", "x"], "--seed: the value is 'x', expected a whole number"),
        (["report", "missing.json"], "cannot be read"),
        (["run", "--report", "report.doc"], "no report format has the suffix '.doc'"),
        (["run", "--update-baseline"], "says no path"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_status_4(shop, capsys, arguments, words):
    assert main(arguments) == 4
    assert words in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_measured(shop, capsys, read_only):
    read_only(shop)
    arguments = (*RUN, "--model", "shop.py:deep")
    for more in (["--report", "r.json"], ["--baseline", "b.json", "--update-baseline"]):
        assert main([*arguments, *more]) == 4
        (line,) = capsys.readouterr().err.splitlines()
        assert "(Permission denied); choose another path" in line
    assert [path.name for path in shop.iterdir() if path.is_file()] == ["shop.py"]


def test_a_store_that_cannot_be_written_to_is_not_cleared_and_says_so(shop, capsys, read_only):
    entry = shop / "kept" / "ab" / "abcd.dmm"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"")
    read_only(entry.parent)
    assert main(["cache", "clear", "kept"]) == 4
    assert "the measurements in kept cannot be removed (Permission denied); run the" in capsys.readouterr().err
    assert entry.exists()


def test_explain_prints_the_explanation(capsys):
    assert main(["explain", "boundary-clings"]) == 0
    assert "the boundary passes very close to the manifold" in " ".join(capsys.readouterr().out.split())
