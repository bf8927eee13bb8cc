"""Models in files: they compute what they computed, and every other file is one clear error that executes nothing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from dmmcheck.errors import ConfigError
from dmmcheck.loading.model_files import is_model_file, load_model_file
from dmmcheck.models.base import is_differentiable
from dmmcheck.models.torch import adapt

X = torch.randn((16, 3), generator=torch.Generator().manual_seed(0))


def network():
    torch_generator = torch.Generator().manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch_generator)
    return net.eval()


def onnx_file(path, net, *, batch="n"):
    onnx = pytest.importorskip("onnx", reason="onnx writes the graph of this test")
    pytest.importorskip("onnxruntime", reason="onnxruntime runs the graph of this test")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    first, second = net[0], net[2]
    weights = {"a": first.weight, "b": first.bias, "c": second.weight, "d": second.bias}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "a", "b"], ["h"], transB=1),
            helper.make_node("Tanh", ["h"], ["t"]),
            helper.make_node("Gemm", ["t", "c", "d"], ["z"], transB=1),
        ],
        "net",
        [helper.make_tensor_value_info("x", kind, [batch, 3])],
        [helper.make_tensor_value_info("z", kind, [batch, 4])],
        [onnx.numpy_helper.from_array(value.detach().numpy(), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


def saved(kind, path):
    net = network()
    if kind == ".pt":
        torch.jit.trace(net, X).save(str(path))
    elif kind == ".pt2":
        batch = torch.export.Dim("n", min=1)
        torch.export.save(torch.export.export(net, (X,), dynamic_shapes=({0: batch},)), path)
    else:
        onnx_file(path, net)
    return net


@pytest.mark.parametrize("kind", [".pt", ".pt2", ".onnx"])
@pytest.mark.filterwarnings("ignore")
def test_a_file_computes_what_its_network_computed(kind, tmp_path):
    net = saved(kind, tmp_path / f"net{kind}")
    loaded = adapt(load_model_file(tmp_path / f"net{kind}", "model"), X)
    assert is_differentiable(loaded)
    leaf, own = X.clone().requires_grad_(True), X.clone().requires_grad_(True)
    torch.testing.assert_close(loaded.logits(leaf), net(own), rtol=1e-4, atol=1e-5)
    weights = torch.tensor([1.0, -2.0, 0.5, 0.0])
    (found,) = torch.autograd.grad((loaded.logits(leaf) * weights).sum(), leaf)
    (true,) = torch.autograd.grad((net(own) * weights).sum(), own)
    assert float(((found - true).norm(dim=1) / true.norm(dim=1)).median()) <= 0.02


def test_a_graph_for_single_inputs_is_called_once_an_input(tmp_path):
    net = network()
    onnx_file(tmp_path / "one.onnx", net, batch=1)
    model = load_model_file(tmp_path / "one.onnx", "model")
    np.testing.assert_allclose(model(X.numpy()), net(X).detach().numpy(), rtol=1e-4, atol=1e-5)


class Dangerous:
    def __reduce__(self):
        return (print, ("executed",))


WEIGHTS = "holds weights without the network that they belong to; write a function that makes the module"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("weights.pt", WEIGHTS),
        ("last.ckpt", WEIGHTS),
        ("pickled.pt", "cannot be read as TorchScript"),
        ("truncated.pt2", "cannot be read as an exported program"),
        ("foreign.onnx", "cannot be read as an ONNX graph"),
        ("missing.pt", "there is no file"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_any_other_file_is_one_clear_error_and_nothing_is_executed(name, words, tmp_path, capsys):
    file = tmp_path / name
    if name in {"weights.pt", "last.ckpt"}:
        torch.save(network().state_dict(), file)
    elif name == "pickled.pt":
        file.write_bytes(pickle.dumps(Dangerous()))
    elif name == "foreign.onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime reads the file of this test")
        file.write_text("no graph")
    elif name == "truncated.pt2":
        file.write_bytes(b"PK\x03\x04 nothing more")
    assert is_model_file(name)
    with pytest.raises(ConfigError, match=words):
        load_model_file(file, f"model = {name!r}")
    assert "executed" not in capsys.readouterr().out
