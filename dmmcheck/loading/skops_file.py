"""Estimators from files of skops, of which no code is run but that of known types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dmmcheck.errors import ConfigError

SUFFIX = ".skops"


def load_estimator(path: Path, what: str) -> Any:
    """Return the estimator in a file of skops.

    Args:
        path: The file.
        what: Its name in messages.

    Raises:
        ConfigError: There is no such file, skops is missing, or the file is of another kind or holds types that skops
            does not trust.
    """
    if not path.is_file():
        raise ConfigError(f"{what}: there is no file {path}; give a path relative to the root directory")
    try:
        from skops import io  # noqa: PLC0415  # optional
    except ModuleNotFoundError as error:
        raise ConfigError(f"{what}: reading {path.name} needs skops; pip install skops") from error
    try:
        unknown = io.get_untrusted_types(file=path)
        if not unknown:
            return io.load(path, trusted=[])
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"{what}: {path.name} cannot be read as a file of skops ({type(error).__name__}: {first}); save the "
            "estimator with skops.io.dump"
        ) from error
    raise ConfigError(
        f"{what}: {path.name} holds types that skops does not trust ({', '.join(sorted(unknown)[:3])}); load it in a "
        "function of your own, with skops.io.load(file, trusted=[...]), and give that as pkg.mod:attr"
    )
