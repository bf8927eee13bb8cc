"""Parts become a subject, or replace those of one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dmmcheck import Subject
from dmmcheck.config.settings import Given
from dmmcheck.errors import ConfigError, DmmError
from dmmcheck.loading.build import build_subject, load_part

X, Y = torch.linspace(0, 1, 96).reshape(16, 6), torch.arange(16) % 2


def untrained():
    return nn.Linear(6, 2)


def fails():
    raise OSError("no disk")


class Plane:
    """A manifold: the plane that the first two coordinates span."""

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
    made = build_subject({**PARTS, **more}, root=weights)
    assert made.bounds == (0.0, 1.0)
    torch.testing.assert_close(made.x_train, X)
    assert [step for step, _ in made.checkpoints] == [0, 2, 10]


def test_other_trainings_are_parts_as_well(tmp_path):
    def pairs(seed):
        return untrained(), untrained()

    made = build_subject({**PARTS, "pairs": pairs, "alternative": pairs, "robustly-trained": True}, root=tmp_path)
    assert (made.pairs, made.alternative, made.robustly_trained) == (pairs, pairs, True)
    assert {"pairs", "alternative"} <= made.provides


def test_a_part_replaces_that_of_a_subject(tmp_path):
    whole = Subject(model=model, x=X, y=Y, manifold=Plane(), x_train=X, y_train=Y)
    other = untrained()
    changed = build_subject(
        {"model": other, "manifold": "pca", "manifold-options": {"dim": 1}}, root=tmp_path, subject=whole
    )
    assert changed.model is other
    assert changed.manifold.dim == 1
    torch.testing.assert_close(changed.y, whole.y)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"checkpoints": "*.pt"}, "files of weights, which need an untrained model to be loaded into; set factory too"),
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
        build_subject({**PARTS, **parts}, root=weights)


def test_options_of_a_manifold_may_refer_to_code(tmp_path):
    (tmp_path / "code.py").write_text("")
    (tmp_path / "auto_code.py").write_text(
        "import torch\nbasis = torch.eye(6)[:, :2]\n\n"
        "def encode(x):\n    return x.reshape(len(x), -1) @ basis\n\ndef decode(z):\n    return z @ basis.T\n"
    )
    options = {"encode": "auto_code:encode", "decode": "auto_code:decode"}
    made = build_subject({**PARTS, "manifold": "decoder", "manifold-options": options}, root=tmp_path)
    assert made.manifold.dim == 2


@pytest.mark.parametrize(
    ("name", "value", "loaded"),
    [("manifold", "local-pca", "local-pca"), ("checkpoints", "runs/*.pt", "runs/*.pt"), ("bounds", (0, 1), (0, 1))],
)
def test_what_is_no_reference_is_passed_on(tmp_path, name, value, loaded):
    assert load_part(name, Given(value, "here"), root=tmp_path) == loaded


@pytest.mark.parametrize("name", ["factory", "trainer"])
def test_a_factory_and_a_trainer_are_never_called(tmp_path, name):
    (tmp_path / "never_called.py").write_text("def make(seed=0):\n    raise AssertionError\n")
    assert load_part(name, Given("never_called:make", "here"), root=tmp_path).__name__ == "make"


def test_other_parts_are_called_where_they_can_be(tmp_path):
    (tmp_path / "made_too.py").write_text("def make():\n    return 3\n\n\ndef predict(x):\n    return x\n")
    assert load_part("model", Given("made_too:make", "here"), root=tmp_path) == 3
    assert load_part("model", Given("made_too:predict", "here"), root=tmp_path)(5) == 5
    with pytest.raises(ConfigError, match=r"data = 'made_too:predict' \(here\) takes arguments \(x\)"):
        load_part("data", Given("made_too:predict", "here"), root=tmp_path)


def test_options_without_a_manifold_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="manifold-options are set, but no manifold; set a built-in one"):
        build_subject({"model": model, "data": (X, Y), "manifold-options": {"dim": 3}}, root=tmp_path)


@pytest.mark.parametrize("more", [{"data": (X, Y, range(16))}, {"groups": list(range(16))}])
def test_groups_come_with_the_data_or_alone(tmp_path, more):
    made = build_subject({**PARTS, **more}, root=tmp_path)
    assert made.groups.tolist() == list(range(16))
    assert build_subject({"data": (X, Y)}, root=tmp_path, subject=made).groups is None
    assert build_subject({"model": untrained()}, root=tmp_path, subject=made).groups.tolist() == list(range(16))


def test_groups_that_are_given_twice_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"groups are given twice, as the key groups and as data = \(x, y, groups\)"):
        build_subject({**PARTS, "data": (X, Y, range(16)), "groups": range(16)}, root=tmp_path)


def test_what_was_converted_is_said_of_the_subject(tmp_path):
    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return 3000

        def __getitem__(self, index):
            return X[index % 16] + index // 16, int(Y[index % 16])

    made = build_subject({**PARTS, "data": Pairs(), "manifold-data": Pairs()}, root=tmp_path)
    assert len(made.x) == len(made.x_train) == 2048
    assert made.conversions == (
        "data: 2048 of 3000 items were drawn and read",
        "manifold-data: 2048 of 3000 items were drawn and read",
    )
    assert build_subject({"data": (X, Y)}, root=tmp_path, subject=made).conversions == ()


def test_local_pca_is_the_manifold_where_only_its_data_are_given(tmp_path):
    made = build_subject({"model": model, "data": (X, Y), "manifold-data": torch.rand(40, 6)}, root=tmp_path)
    assert (made.manifold.name, made.manifold.dim) == ("local-pca", 3)


def test_the_planes_of_classes_are_fitted_with_the_labels_of_the_data(tmp_path):
    labels = [0, 1] * 20
    made = build_subject(
        {"model": model, "data": (X, Y), "manifold": "class-pca", "manifold-data": (torch.rand(40, 6), labels)},
        root=tmp_path,
    )
    assert made.manifold.bases.shape == (2, 6, 3)
    again = build_subject({"manifold": "class-pca", "manifold-options": {"dim": 2}}, root=tmp_path, subject=made)
    assert again.manifold.bases.shape == (2, 6, 2)


def test_points_as_a_manifold_take_the_options_of_local_pca(tmp_path):
    points = torch.rand(40, 6).numpy()
    made = build_subject({**PARTS, "manifold": points, "manifold-options": {"dim": 2}}, root=tmp_path)
    assert (made.manifold.name, made.manifold.dim) == ("local-pca", 2)


@pytest.mark.parametrize("file", ["net.pkl", "net.PICKLE", "runs/net.joblib"])
@pytest.mark.parametrize("name", ["model", "data"])
def test_a_pickle_is_refused_and_not_opened(tmp_path, name, file):
    with pytest.raises(
        ConfigError, match="is a pickle, which can run any code while it is loaded; load it in a function"
    ):
        load_part(name, Given(file, "here"), root=tmp_path)
