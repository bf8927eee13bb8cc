"""Fixtures that make the digits example the subject of `pytest --dmm` in this repository.

pytest calls a fixture only when it is needed, so that without ``--dmm`` no network is loaded or trained. The name of a
fixture is a key of ``[tool.dmmcheck]`` after ``dmm_``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def digits() -> ModuleType:
    """The module of the digits example; loads torch."""
    return import_module("examples.digits.subject")


@pytest.fixture(scope="session")
def dmm_model(digits: ModuleType, request: pytest.FixtureRequest) -> Any:
    """The network under test, trained normally."""
    with _uncaptured(request.config):
        return digits.model()


@pytest.fixture(scope="session")
def dmm_robust(digits: ModuleType, request: pytest.FixtureRequest) -> Any:
    """The adversarially trained network of the pair."""
    with _uncaptured(request.config):
        return digits.robust()


@pytest.fixture(scope="session")
def dmm_checkpoints(digits: ModuleType, request: pytest.FixtureRequest) -> Any:
    """Copies of the network during training, the first one untrained."""
    with _uncaptured(request.config):
        return digits.checkpoints()


@pytest.fixture(scope="session")
def dmm_data(digits: ModuleType) -> Any:
    """Digits that the network was not trained on."""
    return digits.split().test


@pytest.fixture(scope="session")
def dmm_manifold(digits: ModuleType) -> Any:
    """Local PCA, fitted on the training digits."""
    return digits.manifold()


@pytest.fixture(scope="session")
def dmm_manifold_data(digits: ModuleType) -> Any:
    """The digits that the manifold was fitted on."""
    return digits.split().train


@pytest.fixture(scope="session")
def dmm_bounds(digits: ModuleType) -> Any:
    """The range of pixel values."""
    return digits.BOUNDS


@pytest.fixture(scope="session")
def dmm_factory(digits: ModuleType) -> Any:
    """A function from a seed to an untrained network."""
    return digits.factory


@contextmanager
def _uncaptured(config: pytest.Config) -> Iterator[None]:
    """Switch pytest's capturing off, so that the progress of training is visible."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        yield
