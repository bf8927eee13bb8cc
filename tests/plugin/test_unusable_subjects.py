"""A subject that cannot be used is one error of the whole run, in words of the setting that gave it."""

from __future__ import annotations

import pytest
from projects import SUFFICES, printed

UNUSABLE = {
    "no-module": (
        {"model": "wrld:off"},
        ["model = 'wrld:off' (--dmm-model): there is no module 'wrld'", "did you mean 'world'?"],
    ),
    "no-file": (
        {"model": "wrld.py:off"},
        ["there is no file", "did you mean 'world.py'?", "give a path relative to"],
    ),
    "no-attribute": ({"model": "world:of"}, ["the module 'world' has no attribute 'of'; did you mean 'off'?"]),
    "no-reference": ({"model": "world"}, ["model = 'world'", "not of the form pkg.mod:attr or path.py:attr"]),
    "none": ({"model": "other:nothing"}, ["is None; return or assign the object"]),
    "arguments": (
        {"data": "other:deep"},
        ["data = 'other:deep' (--dmm-data) takes arguments (x) and is called without them"],
    ),
    "unlabelled": ({"data": "world:x"}, ["data has no labels", "give (x, y)"]),
    "four": ({"data": "other:four"}, ["data is a tuple of 4 elements, expected 2"]),
    "groups": (
        {"data": "world:data", "groups": "world:side"},
        ["groups has 2 different values, at least 8 are needed"],
    ),
    "labels-length": ({"data": "other:short"}, ["y (the labels of the key data) has shape (39,), expected (40,)"]),
    "labels-dtype": (
        {"data": "other:real"},
        ["y (the labels of the key data) has dtype float32 and holds fractions, expected integers"],
    ),
    "labels-range": (
        {"data": "other:high"},
        ["y (the labels of the key data) holds labels from 0 to 2, the model has 2 classes"],
    ),
    "nan": ({"data": "other:nan"}, ["x (the inputs of the key data) holds 1 NaN or infinite values"]),
    "integers": ({"data": "other:bytes"}, ["x (the inputs of the key data) has dtype torch.uint8", "/ 255.0"]),
    "few": ({"data": "other:few"}, ["x (the inputs of the key data) holds 7 inputs, at least 8"]),
    "wrong-labels": ({"data": "other:swapped"}, ["classifies 0 of 40 ", "at least 8"]),
    "model-shape": ({"model": "other:deep"}, ["the model returned shape (2, 1, 2)"]),
    "model-nan": ({"model": "other:blind"}, ["the logits of the model are NaN or infinite on 40 of 40 inputs"]),
    "model-exits": ({"model": "other:exits"}, ["the model raised SystemExit in forward on an input of shape"]),
    "model-later": (
        {"model": "other:later"},
        ["the model raised ValueError in forward on a batch of shape", "let it take batches of any size"],
    ),
    "items": ({"data": "other:Broken"}, ["data raised OSError when item number 3 was read: lost"]),
    "model-half": ({"model": "other:half"}, ["computes in torch.float16", "convert it with .float()"]),
    "model-meta": ({"model": "other:meta"}, ["meta device"]),
    "basis": ({"manifold": "other:Skewed"}, ["tangent_basis is off orthonormal by", "torch.linalg.qr"]),
    "full": ({"manifold": "other:Full"}, ["dimension k = 8, inputs have D = 8"]),
    "other-d": ({"manifold": "other:Other"}, ["tangent_basis returned shape (9, 2)"]),
    "rank": (
        {"manifold": "pca", "manifold-data": "other:flat", "manifold-options": "{dim = 3}"},
        ["dim is 3, the 40 points have rank 2"],
    ),
    "no-points": ({"manifold": "pca"}, ["'pca' is fitted on training inputs", "manifold-data"]),
    "no-option": ({"manifold": "pca", "manifold-options": "{k = 3}"}, ["has no option 'k'"]),
    "own-options": (
        {"manifold-options": "{dim = 3}"},
        ["manifold-options are set (dim), but the manifold is an object of your own, Plane"],
    ),
    "bounds": ({"bounds": "[0.0, 1.0]"}, ["values outside the bounds [0.0, 1.0]"]),
    "device": ({"device": "cuda:99"}, ["device 'cuda:99' cannot be used here"]),
    "attack": ({"attacks": '["no-such"]'}, ["no-such"]),
    "checkpoints": ({"checkpoints": "weights/*.pt"}, ["files of weights", "set factory too"]),
    "classes-of-the-pair": (
        {"reference": "other:three_classes"},
        ["the reference model has 3 classes, the model under test has 2"],
    ),
    "checkpoint-shape": (
        {"checkpoints": "other:history"},
        ["the checkpoint of step 5 raised RuntimeError in forward", "it must take the inputs of the model under test"],
    ),
    "training-labels": (
        {"manifold-data": "other:short"},
        ["the training data (x_train and y_train, in settings manifold-data): y_train has shape (39,), expected (40,)"],
    ),
}
OTHER = """
    import torch
    from world import Plane, data, off, x

    nothing = None
    y = data[1]
    four = x, y, y, y
    short = x, y[1:]
    real = x, y + 0.5
    high = x, torch.where(torch.arange(40) == 3, 2, y)
    nan = x.clone(), y
    nan[0][3, 3] = torch.nan
    bytes = (x > 0).byte(), y
    few = x[:7], y[:7]
    swapped = x, 1 - y
    flat = x[:, :2] @ torch.eye(8)[:2], y
    half = torch.nn.Linear(8, 2).half()
    meta = torch.nn.Linear(8, 2, device="meta")

    history = [(0, torch.nn.Linear(8, 2)), (5, torch.nn.Linear(7, 2))]

    def three_classes(x):
        return torch.cat([off(x), off(x)[:, :1]], 1)

    def factory(seed):
        return torch.nn.Linear(8, 3)

    def deep(x):
        return off(x)[:, None]

    def exits(x):
        raise SystemExit(3)

    def later(x):
        if len(x) > 2:
            raise ValueError("too many")
        return off(x)

    class Broken:
        def __len__(self):
            return 40

        def __getitem__(self, index):
            if index == 3:
                raise OSError("lost")
            return x[index], int(y[index])

    def blind(x):
        return off(x) * torch.nan

    class Skewed(Plane):
        def tangent_basis(self, x):
            return 2 * super().tangent_basis(x)

    class Full(Plane):
        dim = 8

    class Other(Plane):
        def tangent_basis(self, x):
            return torch.eye(9)[:, :2]
"""


@pytest.mark.parametrize(("changes", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_one_error(project, changes, words):
    project.makepyfile(other=OTHER)
    result = project.runpytest_inprocess("--dmm-only", "-x", *as_options(changes))
    text = printed(result)
    for word in words:
        assert word in text
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for sign in ("INTERNALERROR", "pytest_plugin", "Traceback (most recent call last)"):
        assert sign not in text


def as_options(changes: dict[str, str]) -> list[str]:
    """Settings as options; messages name the file, so what is in the file's own words is put there."""
    return [
        word
        for name, text in changes.items()
        for word in (f"--dmm-{name}", text.strip("{}[]\"'") if text[0] in "{[" else text)
    ]


def test_an_untrained_model_that_does_not_fit_fails_the_tests_that_need_it_and_no_others(project):
    project.makepyfile(other=OTHER)
    chosen = ("--dmm-only", "--dmm-checks", f"normal-gradient-growth,{SUFFICES}", "--dmm-factory", "other:factory")
    result = project.runpytest_inprocess(*chosen)
    assert result.ret == 1
    result.assert_outcomes(failed=2, passed=1)
    words = "the model of factory(0) has 3 classes, the model under test has 2; give a model of the same task"
    assert words in printed(result)
