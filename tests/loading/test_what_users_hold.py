"""Each row of what_users_hold.toml, in a folder with a file of settings, is measured or ends in one sentence."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
import torch
import views

from dmmcheck.config.schema import parse_toml
from dmmcheck.config.settings import load_config
from dmmcheck.errors import DmmError
from dmmcheck.inference.types import Verdict
from dmmcheck.loading.build import build_subject, load_part
from dmmcheck.subject import Subject

ROWS = parse_toml((Path(__file__).parent / "what_users_hold.toml").read_text(encoding="utf-8"))
KEYS = {"code", "settings", "prints", "refused", "needs", "heavy"}
DEFAULTS = {"model": "held:model", "data": "base:data", "manifold": "base:plane"}
BASE = """
import numpy as np
import torch
from torch import nn
from dmmcheck.manifolds import Subspace

torch.manual_seed(0)
x = torch.rand(40, 8)
net = nn.Linear(8, 2)
off, images = net.forward, x.reshape(-1, 2, 2, 2)
y = torch.arange(40) % 2
data, plane = (x, y), Subspace(torch.eye(8)[:, :2])


def write_onnx(path):
    import onnx
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    parts = {"w": net.weight, "b": net.bias}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1)],
        "net",
        [helper.make_tensor_value_info("x", kind, ["n", 8])],
        [helper.make_tensor_value_info("z", kind, ["n", 2])],
        [onnx.numpy_helper.from_array(value.detach().numpy(), name) for name, value in parts.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
"""


def row(name: str):
    """The row as a parameter of a test; one that is heavy is marked so."""
    return pytest.param(ROWS[name], id=name, marks=[pytest.mark.heavy] * ROWS[name].get("heavy", False))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, in which code runs and is forgotten."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")  # which Keras reads once, when it is imported
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with torch.random.fork_rng(devices=[]):
        yield tmp_path
    for name in ("base", "held"):
        sys.modules.pop(name, None)


def inline(value: object) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {inline(part)}" for name, part in value.items()) + "}"
    return repr(value)


def held_subject(folder: Path) -> Subject:
    """The subject of a folder's settings."""
    config = load_config(folder)
    parts = {name: load_part(name, given, root=folder) for name, given in config.subject.items()}
    return build_subject(parts, root=folder, samples=config.settings.samples)


def said(subject: Subject) -> str:
    """What is said of a subject: model, manifold, and what was converted."""
    shape = " x ".join(map(str, subject.input_shape))
    about = f"{subject.classifier.name}, D = {subject.x[0].numel()} ({shape})"
    manifold = f"manifold {subject.manifold.name}, k = {subject.manifold.dim}, {getattr(subject.manifold, 'note', '')}"
    return "; ".join([about, manifold, *subject.conversions])


def write(held: dict, folder: Path) -> None:
    """The code and the settings of a row; its code runs once, and may write files of its own.

    It skips the test where a package is missing.
    """
    missing = [package for package in held.get("needs", ()) if find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    (folder / "base.py").write_text(BASE, encoding="utf-8")
    code = "from base import *\nfrom base import net, off\n" + held["code"]
    (folder / "held.py").write_text(code, encoding="utf-8")
    settings = {name: value for name, value in {**DEFAULTS, **held.get("settings", {})}.items() if value != ""}
    lines = "".join(f"{name} = {inline(value)}\n" for name, value in settings.items())
    (folder / "pyproject.toml").write_text(f"[tool.dmmcheck]\n{lines}", encoding="utf-8")
    __import__("held")


@pytest.mark.parametrize("held", list(map(row, ROWS)))
def test_what_is_held_is_measured_or_ends_in_one_sentence(held, folder):
    assert set(held) <= KEYS
    write(held, folder)
    if held.get("refused"):
        with pytest.raises(DmmError) as error:
            held_subject(folder)
        assert re.search(held["prints"], str(error.value)), str(error.value)
        return
    of = held_subject(folder)
    assert re.search(held["prints"], said(of)), said(of)
    found = views.finding(of, "off-manifold-energy-stated-builtin", samples=16, effort="quick")
    assert found.verdict in get_args(Verdict)


@pytest.mark.heavy
@pytest.mark.parametrize("held", [row(name) for name in ROWS if ROWS[name].get("refused")])
def test_a_run_of_what_is_refused_prints_that_sentence_and_exits_with_4(held, folder, capfd):
    write(held, folder)
    status = pytest.main(["--dmm-only", "--rootdir", str(folder), str(folder)])  # pytester would import torch twice
    printed = "".join(capfd.readouterr())
    assert status == pytest.ExitCode.USAGE_ERROR, printed
    assert re.search(held["prints"], printed), printed
    assert "Traceback" not in printed
    assert "INTERNALERROR" not in printed
