"""Each section of the page on quick starts is written into an empty folder, and its model is measured."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from typing import get_args

import pytest
import torch
import views
from pages import Folder, blocks, read

from dmmcheck.config.settings import load_config
from dmmcheck.inference.types import Verdict
from dmmcheck.loading.build import build_subject, load_part

PAGE = "docs/quick_starts.md"
ONE = "pytest --dmm --dmm-checks off-manifold-energy"
NEEDS = {"Hugging Face": ("datasets", "transformers"), "Tables": ("pandas",), "ONNX": ("onnx", "onnxruntime")}
HEAVY = {"Hugging Face"}
SAID = {
    "PyTorch": "Sequential",
    "Hugging Face": "ResNetForImageClassification",
    "Text": "from_embeddings",
    "scikit-learn": "MLPClassifier; model: it was rebuilt as a torch module",
    "Tables": "Pipeline; .*the columns alcohol, .*the labels barbera, barolo, grignolino",
    "ONNX": "net; model: gradients are finite differences",
    "An endpoint": "endpoint; model: its labels alone are searched",
}


def sections():
    """The blocks of each section, by its heading."""
    lines = read(PAGE).splitlines()
    starts = {number: line[3:] for number, line in enumerate(lines, 1) if line.startswith("## ")}
    found = {heading: [] for heading in starts.values()}
    for block in blocks(PAGE):
        before = [number for number in starts if number < block.line]
        if before:
            found[starts[max(before)]].append(block)
    return found


SECTIONS = sections()


def write_onnx(path):
    """A linear classifier of four digits as a graph."""
    import onnx
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(n_class=4, return_X_y=True)
    fitted, helper, kind = LogisticRegression().fit(x / 16, y), onnx.helper, onnx.TensorProto.FLOAT
    parts = {"w": fitted.coef_.astype("float32"), "b": fitted.intercept_.astype("float32")}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1)],
        "net",
        [helper.make_tensor_value_info("x", kind, ["n", 64])],
        [helper.make_tensor_value_info("z", kind, ["n", 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in parts.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def write(heading, path):
    """The files of a section; it skips the test where a package is missing."""
    missing = [package for package in NEEDS.get(heading, ()) if find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    for block in SECTIONS[heading]:
        (path / block.file).write_text(block.text, encoding="utf-8")
    if heading == "ONNX":
        write_onnx(path / "net.onnx")


def row(heading):
    return pytest.param(heading, marks=[pytest.mark.heavy] * (heading in HEAVY))


def test_each_section_has_both_files_and_is_expected_to_say_something():
    assert set(SECTIONS) == set(SAID)
    for heading, found in SECTIONS.items():
        assert [block.file for block in found] == ["mine.py", "pyproject.toml"], heading
    assert [block.commands for block in blocks(PAGE) if not block.file] == [["pytest --dmm"]]
    assert f"`{ONE}`" in " ".join(read(PAGE).split())


@pytest.mark.parametrize("heading", list(map(row, SAID)))
def test_what_a_section_holds_is_measured(heading, tmp_path, monkeypatch):
    write(heading, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        with torch.random.fork_rng(devices=[]):
            config = load_config(tmp_path)
            parts = {name: load_part(name, given, root=tmp_path) for name, given in config.subject.items()}
            of = build_subject(parts, root=tmp_path, samples=config.settings.samples)
    finally:
        sys.modules.pop("mine", None)
    said = "; ".join([of.classifier.name, *of.conversions])
    assert re.search(SAID[heading], said), said
    found = views.finding(of, "off-manifold-energy-stated-builtin", samples=16, effort="quick")
    assert found.verdict in get_args(Verdict)


@pytest.mark.heavy
@pytest.mark.parametrize("heading", ["Tables"])
def test_the_command_prints_a_table(heading, pytester):
    write(heading, pytester.path)
    status, printed = Folder(pytester).run(ONE)
    assert status in {0, 1}, printed
    assert re.search(r"^off-manifold-energy .*(supported|refuted|inconclusive)", printed, re.MULTILINE), printed
