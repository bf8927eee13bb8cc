"""A file of skops gives the estimator in it, or one clear error."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from dmmcheck.config.settings import Given
from dmmcheck.errors import ConfigError
from dmmcheck.loading.build import load_part
from dmmcheck.models.torch import adapt

X, Y = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2


def given(root, name):
    return load_part("model", Given(name, "here"), root=root)


def test_the_estimator_in_a_file_is_the_model(tmp_path):
    skops = pytest.importorskip("skops.io")
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    skops.dump(fitted, tmp_path / "pipe.skops")
    x = torch.as_tensor(X)
    torch.testing.assert_close(adapt(given(tmp_path, "pipe.skops"), x).logits(x), adapt(fitted, x).logits(x))


def strange(x):
    return x


def test_types_that_are_not_trusted_are_refused(tmp_path):
    skops = pytest.importorskip("skops.io")
    skops.dump(FunctionTransformer(strange), tmp_path / "pipe.skops")
    with pytest.raises(
        ConfigError, match=r"pipe.skops holds types that skops does not trust \(.*strange.*\); load it in"
    ):
        given(tmp_path, "pipe.skops")


def test_another_file_is_refused(tmp_path):
    pytest.importorskip("skops.io")
    (tmp_path / "pipe.skops").write_text("no archive")
    with pytest.raises(ConfigError, match=r"pipe.skops cannot be read as a file of skops .*; save the estimator with"):
        given(tmp_path, "pipe.skops")


def test_a_missing_file_and_a_missing_package_are_told_apart(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"there is no file .*pipe.skops; give a path relative to the root directory"):
        given(tmp_path, "pipe.skops")
    (tmp_path / "pipe.skops").write_text("")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("skops"):
            raise ModuleNotFoundError("No module named 'skops'", name="skops")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"reading pipe.skops needs skops; pip install skops"):
        given(tmp_path, "pipe.skops")
