"""What users hold, each in a folder of its own with a file of settings, runs to a table or ends in one sentence."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest
from projects import FEWER_GATES

ONE = ("--dmm-only", "--dmm-checks", "off-manifold-energy", "--dmm-tier", "stated", "--dmm-samples", "32")
TABLE = """
    import numpy as np
    from sklearn.datasets import load_wine
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_wine(return_X_y=True)
    names = np.array(["barolo", "grignolino", "barbera"])
    test, train = (x[::2], names[y[::2]]), (x[1::2], names[y[1::2]])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(*train)
    forest = RandomForestClassifier(3, random_state=0).fit(*train)
    calls = np.random.default_rng(0)

    def endpoint(x):
        return (forest.predict_proba(x)).argmax(1)

    def noisy(x):
        return forest.predict_proba(x) + calls.normal(0, 0.3, (len(x), 3))

    numbered = (x[::2], np.unique(names[y[::2]], return_inverse=True)[1])
    plane = make_pipeline(StandardScaler(), PCA(5)).fit(train[0])
    points = train[0]
"""
IMAGES = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset):
        def __len__(self):
            return 50_000

        def __getitem__(self, index):
            noise = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(index))
            return (0.5 + 0.1 * noise).clamp(0, 1), index % 2

    class ByBrightness(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0].sum((1, 2)), x[:, 1].sum((1, 2))], dim=1)

    data = Pictures()
    loader = DataLoader(data, batch_size=64)
    network = ByBrightness()
"""
CASES = {
    "pipeline": (
        {"model": "held:pipeline", "data": "held:test", "manifold-data": "held:train", "units": "standard"},
        r"subject +Pipeline, D = 13 \(13\), 3 classes",
    ),
    "transformer": (
        {"model": "held:pipeline", "data": "held:test", "manifold": "held:plane", "units": "standard"},
        r"manifold +PCA, k = 5",
    ),
    "points": (
        {"model": "held:pipeline", "data": "held:test", "manifold": "held:points", "units": "standard"},
        r"manifold +local-pca, k = 6",
    ),
    "loader": (
        {"model": "held:network", "data": "held:loader", "manifold": "pca", "manifold-data": "held:data"},
        r"subject +ByBrightness, D = 32 \(2 x 4 x 4\), 2 classes",
    ),
    "forest": (
        {
            "model": "held:forest",
            "data": "held:test",
            "manifold-data": "held:train",
            "units": "standard",
            "manifold-options.dim": 2,
            "queries": 3000,
        },
        r"(?s)off-manifold-energy [^\n]*(supported|refuted)\n.*"
        r"subject +RandomForestClassifier, D = 13 \(13\), 3 classes.*soundness +all \d+ ok",
    ),
    "endpoint": (
        {"model": "held:endpoint", "data": "held:numbered", "manifold-data": "held:points", "queries": 300},
        r"(?s)subject +endpoint, D = 13 \(13\), 3 classes",
    ),
    "noise": (
        {"model": "held:noisy", "data": "held:numbered", "manifold-data": "held:points", "queries": 300},
        "unsound: logits of the same inputs differ by",
    ),
    "pickle": (
        {"model": "held.pkl", "data": "held:test", "manifold-data": "held:train"},
        r"model = 'held.pkl' \(.*\) is a pickle, which can run any code while it is loaded; load it in a function",
    ),
}


ALL_GATES = {"pipeline", "loader", "forest", "noise"}
"""The others leave out gates that search."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.heavy] * (name == "forest")) for name in CASES])
def test_what_is_held_runs_or_ends_in_one_sentence(pytester, name, monkeypatch):
    keys, words = CASES[name]
    if name not in ALL_GATES:
        exec(FEWER_GATES, {})
    pytester.makepyfile(held=dedent(IMAGES if name == "loader" else TABLE))
    text = "\n".join(f"{key} = {value!r}" for key, value in keys.items())
    more = "\nnormalize = {mean = [0.5, 0.5], std = [0.1, 0.1]}" if name == "loader" else ""
    pytester.makefile(".toml", pyproject=f"[tool.dmmcheck]\n{text}{more}\n")
    done = pytester.runpytest_inprocess(*ONE)
    printed = f"{done.stdout}\n{done.stderr}"
    assert re.search(words, printed), printed
    assert "INTERNALERROR" not in printed
    refused = name == "pickle"
    assert done.ret in ((4,) if refused else (0, 1)), printed
