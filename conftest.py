"""The repository's own subject, so that `pytest --dmm` here shows the main job.

Fixtures are lazy: what no selected check needs is neither imported nor trained. Their names are the keys of
``[tool.dmmcheck]`` with ``dmm_`` before them.
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
    """The example's subject; loads torch."""
    return import_module("examples.digits.subject")


@pytest.fixture(scope="session")
def dmm_model(digits: ModuleType, request: pytest.FixtureRequest) -> Any:
    """The network under test."""
    with _shown(request.config):
        return digits.model()


@pytest.fixture(scope="session")
def dmm_robust(digits: ModuleType, request: pytest.FixtureRequest) -> Any:
    """Its adversarially trained twin."""
    with _shown(request.config):
        return digits.robust()


@pytest.fixture(scope="session")
def dmm_checkpoints(digits: ModuleType, request: pytest.FixtureRequest) -> Any:
    """The network on its way, the first one untrained."""
    with _shown(request.config):
        return digits.checkpoints()


@pytest.fixture(scope="session")
def dmm_data(digits: ModuleType) -> Any:
    """Digits the network has not seen."""
    return digits.split().test


@pytest.fixture(scope="session")
def dmm_manifold(digits: ModuleType) -> Any:
    """Local PCA of the training digits."""
    return digits.manifold()


@pytest.fixture(scope="session")
def dmm_manifold_data(digits: ModuleType) -> Any:
    """The digits it was fitted on."""
    return digits.split().train


@pytest.fixture(scope="session")
def dmm_bounds(digits: ModuleType) -> Any:
    """The box that the images live in."""
    return digits.BOUNDS


@pytest.fixture(scope="session")
def dmm_factory(digits: ModuleType) -> Any:
    """From a seed to an untrained network."""
    return digits.factory


@contextmanager
def _shown(config: pytest.Config) -> Iterator[None]:
    """Let the lines that training prints through pytest's capturing."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        yield
