"""Built-in manifolds by name, and one clear error for each wrong setting; reading the list loads nothing heavy."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch
from torch import nn

from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import BUILTIN, PCA, Autoencoder, ClassPCA, Decoder, Generator, KernelPCA, LocalPCA, build

POINTS = torch.randn((60, 2, 5), generator=torch.Generator().manual_seed(0))
CLASSES = {
    "pca": PCA,
    "local-pca": LocalPCA,
    "class-pca": ClassPCA,
    "kernel-pca": KernelPCA,
    "autoencoder": Autoencoder,
    "decoder": Decoder,
    "generator": Generator,
}
CODE = {"encode": nn.Sequential(nn.Flatten(), nn.Linear(10, 3)), "decode": nn.Linear(3, 10)}


@pytest.mark.parametrize(
    ("name", "options", "direct"),
    [
        ("pca", {"dim": 3}, PCA(dim=3)),
        ("local-pca", {"dim": 3}, LocalPCA(dim=3)),
        ("local-pca", {"dim": 3, "neighbours": 20}, LocalPCA(dim=3, neighbours=20)),
        ("kernel-pca", {"dim": 3}, KernelPCA(dim=3)),
        ("pca", {"dim": "estimate"}, PCA(dim="estimate")),
        ("autoencoder", {"dim": 3, "steps": 2, "seed": 0}, Autoencoder(dim=3, steps=2)),
        ("decoder", CODE, Decoder(**CODE)),
        ("generator", {"decode": CODE["decode"], "seed": 1}, Generator(CODE["decode"], seed=1)),
    ],
)
def test_a_name_and_options_make_what_the_class_makes(name, options, direct):
    x = POINTS[:4].reshape(4, -1) + 0.1
    built, expected = build(name, options, POINTS), direct.fit(POINTS)
    assert (built.name, built.dim) == (name, expected.dim)
    torch.testing.assert_close(built.tangent_basis(x), expected.tangent_basis(x))
    torch.testing.assert_close(built.training_points, POINTS.reshape(60, -1))


def test_planes_of_classes_are_fitted_with_labels():
    labels = ["a", "b"] * 30
    built, direct = build("class-pca", {"dim": 3}, POINTS, labels), ClassPCA(dim=3).fit(POINTS, labels)
    torch.testing.assert_close(built.bases, direct.bases)


def test_a_decoder_needs_no_points():
    manifold = build("decoder", {**CODE, "input-shape": [2, 5], "dim": 3}, None)
    assert manifold.input_shape == (2, 5)
    assert manifold.tangent_basis(POINTS[:4].reshape(4, -1)).shape == (4, 10, 3)


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_the_options_of_the_list_are_those_of_the_class(name):
    made = inspect.signature(CLASSES[name]).parameters
    assert set(BUILTIN[name].options) == set(made) - {"training_points", "operator"}
    required = {option for option, parameter in made.items() if parameter.default is parameter.empty}
    assert required == set(BUILTIN[name].required)


@pytest.mark.parametrize(
    ("name", "options", "points", "words"),
    [
        ("umap", {}, POINTS, ["'umap' is not built in", "kernel-pca, local-pca or pca", "pkg.mod:attr"]),
        ("pca", {"dims": 3}, POINTS, ["'pca' has no option 'dims'", "its options are dim"]),
        ("local-pca", {"k": 3}, POINTS, ["its options are dim or neighbours"]),
        ("pca", {"dim": "3"}, POINTS, ["option 'dim'", "'3'", "a whole number of at least 1"]),
        ("pca", {"dim": 3.0}, POINTS, ["3.0", "a whole number"]),
        ("pca", {"dim": True}, POINTS, ["True", "a whole number"]),
        ("pca", {"dim": 0}, POINTS, ["is 0"]),
        ("kernel-pca", {"dim": "auto"}, POINTS, ["'auto'", "or 'estimate'"]),
        ("local-pca", {"neighbours": -1}, POINTS, ["'neighbours'", "-1"]),
        ("autoencoder", {"seed": -1}, POINTS, ["'seed'", "-1", "a whole number of at least 0"]),
        ("class-pca", {"dim": 3}, POINTS, ["on training inputs with labels", "(x, y)", "local-pca"]),
        ("pca", {"dim": 3}, None, ["'pca' is fitted on training inputs", "manifold-data"]),
        ("pca", {"dim": 3}, POINTS[:0], ["have shape (0, ", "hold no values; pass the training inputs"]),
        ("local-pca", {}, POINTS[:0], ["hold no values"]),
        ("kernel-pca", {"dim": 3}, POINTS[:0], ["hold no values"]),
        ("autoencoder", {"dim": 3}, POINTS[:0], ["hold no values"]),
        ("pca", {"dim": 10}, POINTS, ["dim is 10", "D = 10", "below D"]),
        ("local-pca", {"dim": 16}, POINTS, ["dim is 16", "D = 10"]),
        ("pca", {"dim": 3}, POINTS[:, :, :1].expand(-1, -1, 5), ["rank 2", "dim <= 2"]),
        ("decoder", {"encode": len}, POINTS, ["'decoder' needs decode", "manifold-options"]),
        ("decoder", {}, POINTS, ["needs encode and decode", "manifold = 'generator', which needs decode alone"]),
        ("generator", {"dim": 3}, None, ["'generator' needs decode; set them in manifold-options, each a function"]),
        ("decoder", {**CODE, "encode": "shop.model:encode"}, POINTS, ["'encode'", "a function or torch module"]),
        ("decoder", {**CODE, "input-shape": 10}, POINTS, ["'input_shape'", "10", "a list of whole numbers"]),
        ("decoder", {**CODE, "input_shape": []}, POINTS, ["[]", "a list of whole numbers"]),
    ],
)
def test_a_wrong_setting_is_one_clear_error(name, options, points, words):
    with pytest.raises(ManifoldError) as error:
        build(name, options, points)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_checking_options_loads_nothing_heavy():
    code = (
        "import sys; from dmmcheck.manifolds import builtin; builtin.check('local-pca', {'dim': 3}); "
        "print(sorted({'torch', 'numpy', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_lists_what_it_has():
    import dmmcheck.manifolds

    assert all(getattr(dmmcheck.manifolds, name) is not None for name in dmmcheck.manifolds.__all__)
    assert set(dmmcheck.manifolds.__all__) <= set(dir(dmmcheck.manifolds))
    with pytest.raises(AttributeError, match="no attribute 'UMAP'"):
        _ = dmmcheck.manifolds.UMAP
