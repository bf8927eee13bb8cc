"""From references, datasets and files of weights to objects, and what is said where there are none."""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from dmmcheck import Subject
from dmmcheck.config.settings import Given
from dmmcheck.errors import ConfigError, DmmError, SubjectError
from dmmcheck.loading.build import assemble, part
from dmmcheck.loading.checkpoints import checkpoints_from
from dmmcheck.loading.datasets import inputs_and_labels, labelled
from dmmcheck.loading.references import UserCodeError, is_reference, load, settle

X, Y = torch.linspace(0, 1, 96).reshape(16, 6), torch.arange(16) % 2


@pytest.fixture(autouse=True)
def fresh_imports(monkeypatch, tmp_path):
    """What a test imports from its folder ends with it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "shop_model.py").write_text("runs = []\nruns.append(1)\n\nclass Box:\n    value = 3\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.py").write_text("import shop_model\nvalue = shop_model.Box\n")
    (tmp_path / "statistics.py").write_text("value = 'the local one'\n")
    (tmp_path / "raises.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit('usage: leaves FILE')\n")
    (tmp_path / "needs.py").write_text("import no_such_package\n")
    return tmp_path


@pytest.mark.parametrize("reference", ["a:b", "a.b:c.d", "a.py:b", "../a/b.py:c", "C:\\a\\b.py:c"])
def test_references_are_told_from_names_and_patterns(reference):
    assert is_reference(reference)


@pytest.mark.parametrize("text", ["local-pca", "runs/*.pt", "a:", ":b", "a:b-c", "a: b", "C:\\runs\\*.pt", ""])
def test_names_and_patterns_are_no_references(text):
    assert not is_reference(text)


@pytest.mark.parametrize("where", ["shop_model", "shop_model.py"])
def test_a_module_is_found_by_name_and_by_path(root, where):
    assert load(f"{where}:Box.value", "model", root=root) == 3


def test_a_module_runs_once_whichever_way_it_is_named(root):
    by_name, by_path = (load(f"{where}:runs", "model", root=root) for where in ("shop_model", "shop_model.py"))
    assert by_name is by_path


def test_a_file_below_imports_what_the_root_has_and_runs_once(root):
    assert load("sub/deep.py:value", "model", root=root) is load("shop_model:Box", "model", root=root)
    assert load("sub/deep.py:shop_model", "m", root=root) is load("sub/deep.py:shop_model", "m", root=root)


def test_a_file_with_the_name_of_a_standard_module_is_still_that_file(root):
    import statistics

    assert load("statistics.py:value", "model", root=root) == "the local one"
    assert sys.modules["statistics"] is statistics


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("shop_modle:Box", "there is no module 'shop_modle' here; did you mean 'shop_model'"),
        ("shop_model.more:Box", "there is no module 'shop_model.more'"),
        ("shop_modle.py:Box", "there is no file .*shop_modle.py; did you mean 'shop_model.py'.*paths start from"),
        ("shop_model:Bix", "shop_model has no 'Bix'; did you mean 'Box'"),
        ("shop_model:Box.valu", "shop_model has no 'valu'"),
        ("shop_model", "not of the form pkg.mod:attr or path.py:attr"),
    ],
)
def test_what_is_not_there_is_said_with_what_is_near(root, reference, words):
    with pytest.raises(ConfigError, match=words) as error:
        load(reference, f"model = {reference!r}", root=root)
    assert not isinstance(error.value, UserCodeError)


@pytest.mark.parametrize(
    ("module", "kind"), [("raises", ZeroDivisionError), ("leaves", SystemExit), ("needs", ModuleNotFoundError)]
)
@pytest.mark.parametrize("suffix", ["", ".py"])
def test_a_module_that_raises_is_the_users_error_with_its_cause(root, module, kind, suffix):
    with pytest.raises(UserCodeError, match=f"raised {kind.__name__} while it was imported") as error:
        load(f"{module}{suffix}:f", "model", root=root)
    assert isinstance(error.value.__cause__, kind)


class Made:
    """A class that can be called without arguments."""


def make(value=3):
    return value


def predict(x):
    return x


def fails():
    raise OSError("no disk")


def nothing():
    return None


NET = nn.Linear(2, 2)
BOUND = functools.partial(make, 5)


@pytest.mark.parametrize(
    ("value", "settled"),
    [(make, 3), (BOUND, 5), (lambda: predict, predict), (NET, NET), (predict, predict), ("text", "text"), (X, X)],
    ids=["function", "partial", "function-of-function", "module", "model-function", "text", "tensor"],
)
def test_functions_without_arguments_are_called_and_all_else_is_a_value(value, settled):
    assert settle(value, "model", may_be_function=True) is settled


def test_a_class_is_called():
    assert isinstance(settle(Made, "manifold", may_be_function=False), Made)


@pytest.mark.parametrize(
    ("value", "may_be_function", "words"),
    [
        (predict, False, r"takes arguments \(x\) and is called without"),
        (nn.Linear, True, r"takes arguments \(in_features, out_features\)"),
        (fails, True, "raised OSError when called: no disk"),
        (nothing, True, "is None; return or assign"),
        (None, True, "is None"),
    ],
)
def test_what_cannot_be_settled_is_refused(value, may_be_function, words):
    with pytest.raises(ConfigError, match=words):
        settle(value, "data = 'a:b'", may_be_function=may_be_function)


class Pairs(Dataset):
    """A dataset of whatever pairs it is given."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


@pytest.mark.parametrize(
    "value",
    [
        (X, Y),
        [X.numpy(), Y.numpy()],
        TensorDataset(X, Y),
        Subset(TensorDataset(X, Y), range(16)),
        Pairs(*((x.numpy(), int(y)) for x, y in zip(X, Y, strict=True))),
    ],
    ids=["tensors", "arrays", "tensor-dataset", "subset", "dataset"],
)
def test_arrays_and_datasets_give_the_same_inputs_and_labels(value):
    x, y = labelled(value, "data")
    torch.testing.assert_close(torch.as_tensor(x), X)
    torch.testing.assert_close(torch.as_tensor(y), Y)


def test_inputs_alone_have_no_labels():
    assert inputs_and_labels(X, "manifold-data") == (X, None)
    with pytest.raises(SubjectError, match="data has no labels; give"):
        labelled(np.zeros((3, 2)), "data")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((X, Y, Y), "data is a tuple of 3, not of two"),
        (3, "data is a int; give"),
        ("path", "data is a str"),
        ({"x": X}, "data is a dict"),
        (DataLoader(TensorDataset(X, Y)), "data is a DataLoader; give its .dataset"),
        (Pairs(), "data is an empty Pairs"),
        (Pairs((X[0],)), "item 0 is a tuple, not a pair"),
        (
            Pairs((X[0], 1), ("image.png", 1)),
            "the input of item 1 is a str, not a tensor; give the dataset a transform",
        ),
        (Pairs((X[0], 1), (X[0, :3], 1)), r"inputs of 2 shapes \(\(3,\), \(6,\)\)"),
    ],
    ids=["three", "number", "text", "dict", "loader", "empty", "unlabelled", "no-tensor", "shapes"],
)
def test_data_of_another_kind_are_refused(value, words):
    with pytest.raises(SubjectError, match=words):
        labelled(value, "data")


def untrained():
    return nn.Linear(6, 2)


def filled(value: float) -> nn.Module:
    model = untrained()
    nn.init.constant_(model.weight, value)
    return model


@pytest.fixture
def weights(tmp_path):
    for step in (0, 2, 10):
        torch.save(filled(step).state_dict(), tmp_path / f"v1-step{step}.pt")
    return tmp_path


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
    with pytest.raises(ConfigError, match=r"step-1\.pt cannot be read as weights alone .*save model\.state_dict"):
        checkpoints_from("*.pt", untrained, "checkpoints", root=tmp_path)


@pytest.mark.parametrize(
    ("pattern", "make_model", "words"),
    [
        ("*.ckpt", untrained, "no file matches; patterns start from"),
        ("*.pt", lambda: nn.Linear(3, 2), "v1-step0.pt do not fit the factory's model"),
        ("*.pt", lambda: predict, "the factory returned a function"),
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


class Plane:
    """The first two coordinates."""

    dim = 2

    def tangent_basis(self, x):
        return torch.eye(6)[:, :2].to(x)

    def project_point(self, x):
        return torch.cat([x[:, :2], torch.zeros_like(x[:, 2:])], dim=1)


def model(x):
    return torch.stack([x.sum(1), x[:, 0]], dim=1)


PARTS = {"model": model, "data": (X, Y), "manifold": Plane()}


def test_parts_become_a_subject(weights):
    more = {"manifold-data": (X, Y), "bounds": (0.0, 1.0), "factory": lambda seed: untrained(), "checkpoints": "*.pt"}
    made = assemble({**PARTS, **more}, root=weights)
    assert made.bounds == (0.0, 1.0)
    torch.testing.assert_close(made.x_train, X)
    assert [step for step, _ in made.checkpoints] == [0, 2, 10]


def test_a_part_replaces_that_of_a_subject(tmp_path):
    whole = Subject(model=model, x=X, y=Y, manifold=Plane(), x_train=X, y_train=Y)
    other = untrained()
    changed = assemble(
        {"model": other, "manifold": "pca", "manifold-options": {"dim": 1}}, root=tmp_path, subject=whole
    )
    assert changed.model is other
    assert changed.manifold.dim == 1
    torch.testing.assert_close(changed.y, whole.y)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"checkpoints": "*.pt"}, "files of weights, which need an untrained model .*set factory"),
        ({"checkpoints": "*.pt", "factory": fails}, "factory raised TypeError when called with a seed"),
        ({"manifold": "pca"}, "'pca' is fitted on training inputs"),
        ({"manifold": "pac", "manifold-data": X}, "'pac' is not built in"),
        (
            {"manifold-options": {"dim": 3}},
            r"manifold-options are set \(dim\), but the manifold is an object of your own",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused(weights, parts, words):
    with pytest.raises(DmmError, match=words):
        assemble({**PARTS, **parts}, root=weights)


def test_options_of_a_manifold_may_refer_to_code(tmp_path):
    (tmp_path / "code.py").write_text("")
    (tmp_path / "auto_code.py").write_text(
        "import torch\nbasis = torch.eye(6)[:, :2]\n\n"
        "def encode(x):\n    return x.reshape(len(x), -1) @ basis\n\ndef decode(z):\n    return z @ basis.T\n"
    )
    options = {"encode": "auto_code:encode", "decode": "auto_code:decode"}
    made = assemble({**PARTS, "manifold": "decoder", "manifold-options": options}, root=tmp_path)
    assert made.manifold.dim == 2


@pytest.mark.parametrize(
    ("name", "value", "loaded"),
    [("manifold", "local-pca", "local-pca"), ("checkpoints", "runs/*.pt", "runs/*.pt"), ("bounds", (0, 1), (0, 1))],
)
def test_what_is_no_reference_is_passed_on(tmp_path, name, value, loaded):
    assert part(name, Given(value, "here"), root=tmp_path) == loaded


def test_a_factory_and_a_trainer_are_never_called(root):
    (root / "made.py").write_text("def make(seed=0):\n    raise AssertionError\n")
    for name in ("factory", "trainer"):
        assert part(name, Given("made:make", "here"), root=root).__name__ == "make"
