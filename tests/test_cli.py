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
    assert "worse 0.70x" in capsys.readouterr().out
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "energy"], "unknown check 'energy'"),
        (["run"], "there is no model and no data and no manifold"),
        (["run", "--seed", "x"], "--dmm-seed: the value is 'x', expected a whole number"),
        (["report", "missing.json"], "cannot be read"),
        (["run", "--report", "report.doc"], "no report format has the suffix '.doc'"),
        (["run", "--update-baseline"], "says no path"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_status_4(shop, capsys, arguments, words):
    assert main(arguments) == 4
    assert words in capsys.readouterr().err


def test_explain_prints_the_explanation(capsys):
    assert main(["explain", "boundary-clings"]) == 0
    assert "the boundary passes very close to the manifold" in " ".join(capsys.readouterr().out.split())
