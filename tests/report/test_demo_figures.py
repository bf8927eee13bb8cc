"""The figures of the demo's report as files."""

from compared_reports import with_evidence

from dmmcheck.report import figures
from dmmcheck.report.write import write
from examples import demo_figures

NAMES = ["demo_portrait", "demo_chance"]


def test_figures_are_written_with_their_alt_texts(tmp_path, capsys):
    report = with_evidence()
    write(report, tmp_path / "r.json", evidence=True)
    assert demo_figures.main([str(tmp_path / "r.json"), "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(".svg: ")[0] for line in lines] == NAMES
    assert lines[1].endswith(figures.draws(report.findings[2]).alt)
    assert all(b"<svg" in (tmp_path / "out" / f"{name}.svg").read_bytes()[:500] for name in NAMES)


def test_what_is_no_report_of_the_demo_is_one_sentence(tmp_path, capsys):
    path = tmp_path / "r.json"
    assert demo_figures.main([str(path)]) == 1
    assert "make demo writes it" in capsys.readouterr().err
    for text in ("{}", "no JSON"):
        path.write_text(text)
        assert demo_figures.main([str(path), "--out", str(tmp_path / "out")]) == 1
        assert "is no report of the demo" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
