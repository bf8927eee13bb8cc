"""A Keras model on another backend than torch is a function over arrays; Keras reads its backend once in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

CODE = """
import keras
import numpy as np
import torch
from dmmcheck import Subject, boundary_search
from dmmcheck.manifolds import Subspace

keras.utils.set_random_seed(0)
net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
x, y = np.random.default_rng(0).random((40, 8), dtype=np.float32), np.arange(40) % 2
subject = Subject(model=net, x=x, y=y, manifold=Subspace(torch.eye(8)[:, :2]))
print(keras.backend.backend(), *subject.conversions)
weights, bias = (torch.as_tensor(np.array(part)) for part in net.get_weights())
logits = subject.x @ weights + bias
found = boundary_search(net, subject.x, logits.argmax(1), generator=torch.Generator().manual_seed(0))
expected = (logits[:, 0] - logits[:, 1]).abs() / (weights[:, 0] - weights[:, 1]).norm()
torch.testing.assert_close(found.distance, expected, rtol=0.02, atol=1e-4)
"""


@pytest.mark.heavy
@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_distances_of_a_linear_model_are_those_of_its_weights(backend, tmp_path):
    missing = [package for package in ("keras", backend) if find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{backend} model: gradients are finite differences"
