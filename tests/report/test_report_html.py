"""The HTML page: self-contained, without scripts, harmless with hostile texts, and complete."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import reports
from compared_reports import with_evidence

from dmmcheck.report import csv, html, json, markdown, terminal
from dmmcheck.report.changes import compared

HOSTILE = (
    "<script>alert(1)</script> \"'></td>\n::error::x\n\x1b[31mred\x1b[0m ]]> \u202eabc \udcff \x00 ${{ x }} =1+1 "
    + "y" * 10_000
)


class Page(HTMLParser):
    """What a page holds: its elements, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, *tags):
        return [attributes for tag, attributes in self.tags if tag in tags]


def hostile():
    base = with_evidence()
    texts = {"statement": HOSTILE, "statistic": HOSTILE, "reason": HOSTILE, "reference": HOSTILE}
    findings = tuple(replace(finding, **texts) for finding in base.findings)
    subject = replace(base.subject, model=HOSTILE, manifold=replace(base.subject.manifold, name=HOSTILE))
    soundness = tuple(replace(item, name=HOSTILE, message=HOSTILE, ok=False) for item in base.soundness)
    return replace(
        base, findings=findings, subject=subject, soundness=soundness, errors=(HOSTILE,), versions={HOSTILE: HOSTILE}
    )


def test_the_page_answers_five_questions_and_loads_nothing():
    page = Page(html.render(compared(with_evidence(factor=0.7), with_evidence(), is_gate=True)))
    assert not page.all("script", "iframe", "object", "embed", "form")
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for attributes in page.all("a")]
    assert len([link for link in links if link in {"#soundness", "#claims", "#changes", "#todo"}]) == 6  # and the skip
    assert {link.removeprefix("#") for link in links} <= ids
    images = page.all("img")
    assert len(images) >= 6
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in images)
    assert all(re.search(r"\d", image["alt"]) for image in images)
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert not [
        attributes for _, attributes in page.tags if "style" in attributes or any(k[:2] == "on" for k in attributes)
    ]


def test_the_page_states_the_change_and_the_command_that_accepts_it():
    text = html.render(compared(with_evidence(factor=0.7), with_evidence(), is_gate=True))
    assert "boundary-clings-stated-builtin is worse 0.70x [0.70, 0.70] beside the baseline" in text
    assert "--dmm-update-baseline</code> accepts it" in text
    assert "Keep this report; it was compared with the first report." in text
    assert "4 of 4 numbers that were compared" in text


def test_a_refuted_claim_is_to_be_looked_at_with_a_command_that_reruns_it():
    text = html.render(reports.report(reports.DISTANCE))
    command = "pytest --dmm-only --dmm-checks on-manifold-distance --dmm-tier stated --dmm-seed 0"
    assert f"rerun it with <code>{command}</code></li>" in text


def test_without_evidence_figures_are_left_out_and_not_faked():
    page = Page(html.render(reports.report(reports.DISTANCE)))
    assert not page.all("img")


def test_hostile_texts_are_harmless_in_the_page():
    text = html.render(hostile())
    page = Page(text)
    assert not page.all("script")
    assert "&lt;script&gt;" in text
    text.encode("utf-8")  # no lone surrogate is left
    assert not re.search("[\x00\x1b\u202e]", text)


@pytest.mark.parametrize("render", [terminal.render, markdown.render, csv.render], ids=["terminal", "markdown", "csv"])
def test_hostile_texts_are_harmless_in_texts(render):
    text = render(hostile())
    text.encode("utf-8")
    assert not re.search("[\x00\x1b\u202e]", text)
    assert not [line for line in text.splitlines() if line.strip().startswith(("::", "##["))]
    assert len(text) < 400_000
    if render is markdown.render:
        assert "<script>" not in text.replace("\\<script\\>", "")


def test_hostile_texts_survive_in_json():
    report = hostile()
    written = json.render(report).encode("utf-8", "backslashreplace").decode("utf-8")
    assert json.parse(written) == report


def test_csv_has_a_row_for_each_input():
    lines = csv.render(with_evidence()).splitlines()
    assert lines[0].startswith("input,d_free,d_on,d_off,residual,boundary-clings-stated-builtin")
    assert len(lines) == 129


def test_metrics_are_flat_finite_numbers():
    base = with_evidence()
    own = replace(base.findings[0], interval=(0.66, math.inf))
    found = replace(base, findings=(own, *base.findings[1:])).metrics()
    assert found["dmmcheck/off-manifold-energy-stated-builtin/estimate"] == 0.9123
    assert found["dmmcheck/claims/supported"] == 1.0
    assert "dmmcheck/boundary-clings-stated-builtin/high" not in found  # infinite
    assert all(re.fullmatch(r"[a-z0-9/-]+", name) for name in found)


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    text = with_evidence()._repr_html_()
    assert text.startswith('<iframe title="dmmcheck report" sandbox="" srcdoc="')
    assert "<script" not in text


def test_a_data_frame_holds_the_values():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = with_evidence().to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.shape == (128, 6)


@pytest.mark.heavy
def test_ten_thousand_inputs_are_rendered_in_three_megabytes():
    base = with_evidence(10_000)
    own = base.findings[0]
    many = tuple(replace(own, check=f"check-{number}", trajectory=()) for number in range(16))
    report = replace(base, findings=(*many, *base.findings[1:]))
    assert len(html.render(report).encode()) <= 3_000_000


@pytest.mark.heavy
def test_a_notebook_runs_and_shows_the_report(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.setenv("PYTHONPATH", str(Path(html.__file__).parents[2]))
    cells = (
        "import dmmcheck\nsubject = dmmcheck.worlds.hyperplane(angle=85, seed=0).subject",
        'dmmcheck.run(subject, checks=["off-manifold-energy"], tiers=["stated"], samples=64, seed=0)',
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (output,) = notebook.cells[1].outputs
    assert output["data"]["text/html"].startswith('<iframe title="dmmcheck report"')
