"""Each row of what_users_hold.toml, in a folder with a file of settings, becomes a subject or ends in one sentence."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from dmmcheck.config.schema import parse_toml
from dmmcheck.config.settings import load_config
from dmmcheck.errors import DmmError
from dmmcheck.loading.build import build_subject, load_part

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


def said(folder: Path) -> str:
    """What is said of the subject of a folder's settings: model, manifold, and what was converted."""
    config = load_config(folder)
    parts = {name: load_part(name, given, root=folder) for name, given in config.subject.items()}
    subject = build_subject(parts, root=folder, samples=config.settings.samples)
    shape = " x ".join(map(str, subject.input_shape))
    about = f"{subject.classifier.name}, D = {subject.x[0].numel()} ({shape})"
    manifold = f"manifold {subject.manifold.name}, k = {subject.manifold.dim}, {getattr(subject.manifold, 'note', '')}"
    return "; ".join([about, manifold, *subject.conversions])


@pytest.mark.parametrize("held", list(map(row, ROWS)))
def test_what_is_held_becomes_a_subject_or_ends_in_one_sentence(held, folder):
    assert set(held) <= KEYS
    for package in held.get("needs", ()):
        pytest.importorskip(package, reason=f"{package} is not installed")
    (folder / "base.py").write_text(BASE, encoding="utf-8")
    code = "from base import *\nfrom base import net, off\n" + held["code"]
    (folder / "held.py").write_text(code, encoding="utf-8")
    settings = {name: value for name, value in {**DEFAULTS, **held.get("settings", {})}.items() if value != ""}
    lines = "".join(f"{name} = {inline(value)}\n" for name, value in settings.items())
    (folder / "pyproject.toml").write_text(f"[tool.dmmcheck]\n{lines}", encoding="utf-8")
    __import__("held")  # which writes the files of a row, where there are any
    if not held.get("refused"):
        assert re.search(held["prints"], said(folder)), said(folder)
        return
    with pytest.raises(DmmError) as error:
        said(folder)
    assert re.search(held["prints"], str(error.value)), str(error.value)
