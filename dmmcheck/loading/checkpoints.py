"""Checkpoints from files of weights, which are loaded into copies of an untrained model."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dmmcheck.errors import ConfigError

SAFETENSORS = ".safetensors"
WRAPPERS = ("state_dict", "model_state_dict", "model")


def checkpoints_from(
    pattern: str, untrained: Callable[[], Any], what: str, *, root: Path
) -> list[tuple[int, nn.Module]]:
    """Return the pair (step, model) of each file, in the order of the steps.

    Args:
        pattern: A glob pattern, relative to `root` or absolute. The step is the last whole number in a file's name.
        untrained: Returns a model with the structure of the weights.
        what: The name of the checkpoints in messages.
        root: The folder that a pattern is relative to.

    Raises:
        ConfigError: No file matches, a file's name contains no number, two files have the same step, or weights cannot
            be read or do not fit the model.
    """
    anchor = Path(pattern).anchor
    base, relative = (Path(anchor), str(Path(pattern).relative_to(anchor))) if anchor else (root, pattern)
    files: dict[int, Path] = {}
    for file in sorted(base.glob(relative)):
        step = _step(file, what)
        if step in files:
            raise ConfigError(f"{what}: {files[step].name} and {file.name} are both step {step}; narrow the pattern")
        files[step] = file
    if not files:
        raise ConfigError(f"{what}: no file matches; give a pattern relative to {root}, or pkg.mod:attr")
    model = untrained()
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"{what}: the factory returned a {type(model).__name__}; return a torch.nn.Module to load the weights into"
        )
    return [(step, _filled(model, files[step], what)) for step in sorted(files)]


def _step(file: Path, what: str) -> int:
    """Return the step that a file's name gives."""
    numbers = re.findall(r"\d+", file.stem)
    if not numbers:
        raise ConfigError(f"{what}: {file.name} has no step in its name; name files like step-00100{file.suffix}")
    return int(numbers[-1])


def _filled(model: nn.Module, file: Path, what: str) -> nn.Module:
    """Return a copy of the model with the weights of a file, in evaluation mode."""
    weights = _read(file, what)
    filled = copy.deepcopy(model)
    try:
        filled.load_state_dict(weights)
    except RuntimeError as error:
        first = " ".join(str(error).split())
        raise ConfigError(
            f"{what}: the weights in {file.name} do not fit the factory's model ({first}); "
            "return a model of the same architecture from factory"
        ) from error
    return filled.eval()


def _read(file: Path, what: str) -> Mapping[str, Any]:
    """Return the weights in a file, by the names of the parameters."""
    try:
        content = _safetensors(file) if file.suffix == SAFETENSORS else torch.load(file, "cpu", weights_only=True)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{what}: reading {file.name} needs {error.name}; pip install {error.name}") from error
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"{what}: {file.name} cannot be read as a file of weights ({type(error).__name__}: {first}); "
            "save model.state_dict()"
        ) from error
    inner = next((content[name] for name in WRAPPERS if isinstance(content, Mapping) and name in content), content)
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{what}: {file.name} holds a {type(inner).__name__}; save model.state_dict()")
    return inner


def _safetensors(file: Path) -> Any:
    from safetensors.torch import load_file  # noqa: PLC0415  # optional

    return load_file(file)
