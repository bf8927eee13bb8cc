"""Files of weights become models, in the order of their steps."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dmmcheck.errors import ConfigError
from dmmcheck.loading.checkpoints import checkpoints_from


def untrained():
    return nn.Linear(6, 2)


def filled(value: float) -> nn.Module:
    model = untrained()
    nn.init.constant_(model.weight, value)
    return model


@pytest.mark.parametrize("absolute", [False, True])
def test_files_of_weights_become_models_in_the_order_of_their_steps(weights, absolute):
    pattern = str(weights / "*.pt") if absolute else "*.pt"
    found = checkpoints_from(pattern, untrained, "checkpoints", root=weights)
    assert [step for step, _ in found] == [0, 2, 10]
    assert [model.weight[0, 0].item() for _, model in found] == [0, 2, 10]
    assert not any(model.training for _, model in found)


def test_weights_may_lie_in_a_larger_checkpoint(tmp_path):
    torch.save({"epoch": 3, "state_dict": filled(7).state_dict()}, tmp_path / "epoch-3.pt")
    ((_, model),) = checkpoints_from("*.pt", untrained, "checkpoints", root=tmp_path)
    assert model.weight[0, 0].item() == 7


def test_safetensors_are_read(tmp_path):
    save_file(filled(5).state_dict(), tmp_path / "step-1.safetensors")
    ((step, model),) = checkpoints_from("*.safetensors", untrained, "checkpoints", root=tmp_path)
    assert (step, model.weight[0, 0].item()) == (1, 5)


def test_a_missing_package_for_weights_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "step-1.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"reading step-1.safetensors needs safetensors.*pip install safetensors"):
        checkpoints_from("*.safetensors", untrained, "checkpoints", root=tmp_path)


def test_files_that_hold_code_are_refused(tmp_path):
    torch.save(filled(1), tmp_path / "step-1.pt")
    with pytest.raises(ConfigError, match=r"step-1\.pt cannot be read as a file of weights .*save model\.state_dict"):
        checkpoints_from("*.pt", untrained, "checkpoints", root=tmp_path)


@pytest.mark.parametrize(
    ("pattern", "make_model", "words"),
    [
        ("*.ckpt", untrained, "no file matches; give a pattern relative to"),
        (
            "*.pt",
            lambda: nn.Linear(3, 2),
            "v1-step0.pt do not fit the factory's model .*size mismatch.*; return a model of the same arch",
        ),
        ("*.pt", lambda: print, "the factory returned a builtin_function_or_method; return a torch.nn.Module"),
        ("*", untrained, "best.bin has no step in its name"),
        ("*[0a].p*", untrained, "v1-step0.pt and v2-step0.pth are both step 0"),
    ],
    ids=["none", "misfit", "no-module", "no-step", "twice"],
)
def test_checkpoints_that_cannot_be_used_are_refused(weights, pattern, make_model, words):
    if "best" in words:
        (weights / "best.bin").write_bytes(b"")
    (weights / "v2-step0.pth").write_bytes(b"")
    with pytest.raises(ConfigError, match=words):
        checkpoints_from(pattern, make_model, "checkpoints", root=weights)
