"""Where the checks stand in the tree of tests: below the file that configures them, so that no test file is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmmcheck.config.schema import OWN_FILE, PYPROJECT
from dmmcheck.errors import ConfigError

CONFTEST = "conftest.py"
ANCHOR = pytest.StashKey[Path]()
"""In the stash of the configuration where the checks were asked for."""


def find_anchor(config: pytest.Config) -> Path:
    """The file that node ids start with.

    That is the file with the settings; else ``pyproject.toml``, pytest's own configuration file, or ``conftest.py``,
    the first of them that the root directory has.

    Raises:
        ConfigError: There is none, or the settings cannot be read.
    """
    from dmmcheck.config.settings import find_settings  # noqa: PLC0415  # not before there is something to run

    root = config.rootpath
    settings, _ = find_settings(root)
    found = settings or next((path for path in _candidates(config) if path.is_file()), None)
    if found is None:
        raise ConfigError(
            f"there is no {PYPROJECT}, {OWN_FILE} or {CONFTEST} in {root}, and checks stand below one of them; "
            f"say what is under test in a {PYPROJECT}, or create an empty one to say it with options alone"
        )
    return found


def refuse_settings_passed_over(config: pytest.Config) -> None:
    """See to it that settings beside the user are the ones that are read, where no root directory was asked for.

    Raises:
        ConfigError: Between the current directory and the root directory lie others.
    """
    from dmmcheck.config.settings import find_settings  # noqa: PLC0415  # not before there is something to run

    here, root = config.invocation_params.dir.resolve(), config.rootpath.resolve()
    if config.getoption("rootdir") or config.getoption("inifilename") or not here.is_relative_to(root):
        return
    for folder in [here, *here.parents][: len(here.parts) - len(root.parts)]:
        found, _ = find_settings(folder)
        if found is not None:
            raise ConfigError(
                f"{found} is not read: pytest's root directory is {root}, and settings are read there; "
                f"{_remedy(config, folder)}"
            )


def _remedy(config: pytest.Config, folder: Path) -> str:
    """What brings the root directory to a folder; pytest takes the values of our options for places of tests."""
    given = config.invocation_params
    values = [arg for arg in given.args if arg not in config.args and not arg.startswith("-")]
    outside = next((arg for arg in values if (given.dir / arg).exists()), None)
    if outside is not None:
        return f"pytest looks for it from {outside}, too: join that to its option with =, or add --rootdir {folder}"
    return f"add [tool.pytest.ini_options] to it, or --rootdir {folder} to the command"


def is_pasted(config: pytest.Config) -> bool:
    """Whether a node id of a check is among the arguments, e.g. ``pyproject.toml::boundary-clings-stated-builtin``."""
    named = [_path(config, arg) for arg in config.args if "::" in arg]
    return any(path.resolve() in named for path in _candidates(config) if path.suffix != ".py")


def extend_args(config: pytest.Config, anchor: Path, *, only: bool) -> None:
    """Add the anchor to what is collected, at the end, unless the arguments lead there already."""
    config.stash[ANCHOR] = anchor
    if only and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args[:] = []
    paths = [_path(config, arg) for arg in config.args]
    if not {anchor.resolve(), anchor.parent.resolve()} & set(paths):
        config.args.append(str(anchor))


def _candidates(config: pytest.Config) -> list[Path]:
    root = config.rootpath
    own = [config.inipath] if config.inipath and config.inipath.parent == root else []
    return [root / PYPROJECT, root / OWN_FILE, *own, root / CONFTEST]


def _path(config: pytest.Config, arg: str) -> Path:
    """The file of an argument."""
    return (config.invocation_params.dir / arg.partition("::")[0]).resolve()
