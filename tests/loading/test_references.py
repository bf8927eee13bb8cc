"""References to code: what they name, what is called, and the messages where there is nothing."""

from __future__ import annotations

import functools
import sys

import pytest
import torch
from torch import nn

from dmmcheck.errors import ConfigError
from dmmcheck.loading.references import UserCodeError, is_reference, load, resolve

X = torch.linspace(0, 1, 96).reshape(16, 6)


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
        (
            "shop_modle:Box",
            "there is no module 'shop_modle'; did you mean 'shop_model'.* correct the name, or install its package",
        ),
        ("shop_model.more:Box", "there is no module 'shop_model.more'"),
        (
            "shop_modle.py:Box",
            "there is no file .*shop_modle.py; did you mean 'shop_model.py'.*give a path relative to",
        ),
        (
            "shop_model:Bix",
            "the module 'shop_model' has no attribute 'Bix'; did you mean 'Box'.; name an attribute that it has",
        ),
        (
            "shop_model.py:Bix",
            "'shop_model.py:Bix': the file 'shop_model.py' has no attribute 'Bix'; did you mean 'Box'",
        ),
        ("shop_model:Box.valu", "'Box' in the module 'shop_model' has no attribute 'valu'; did you mean 'value'"),
        (
            "shop_model",
            "not of the form pkg.mod:attr or path.py:attr; write the module or file, a colon, and the name of",
        ),
        ("shop.model.load", "form pkg.mod:attr or path.py:attr; did you mean 'shop.model:load'"),
        ("shop_model.py", "form pkg.mod:attr or path.py:attr; write the module or file, a colon"),
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
    ("value", "resolved"),
    [(make, 3), (BOUND, 5), (lambda: predict, predict), (NET, NET), (predict, predict), ("text", "text"), (X, X)],
    ids=["function", "partial", "function-of-function", "module", "model-function", "text", "tensor"],
)
def test_functions_without_arguments_are_called_and_all_else_is_a_value(value, resolved):
    assert resolve(value, "model", may_be_function=True) is resolved


def test_a_class_is_called():
    assert isinstance(resolve(Made, "manifold", may_be_function=False), Made)


@pytest.mark.parametrize(
    ("value", "may_be_function", "words"),
    [
        (predict, False, r"takes arguments \(x\) and is called without them; name"),
        (nn.Linear, True, r"takes arguments \(in_features, out_features\)"),
        (fails, True, "raised OSError when called: no disk"),
        (nothing, True, "is None; return or assign"),
        (None, True, "is None"),
    ],
)
def test_what_cannot_be_resolved_is_refused(value, may_be_function, words):
    with pytest.raises(ConfigError, match=words):
        resolve(value, "data = 'a:b'", may_be_function=may_be_function)
