"""The file that the checks appear below in the tree of tests: a file of settings, so that no test file is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmmcheck.config.schema import OWN_FILE, PYPROJECT

CONFTEST = "conftest.py"
ROOT_FILE = pytest.StashKey[Path]()
"""The root file, in the stash of the configuration; only where the checks are to run."""


def find_root_file(config: pytest.Config) -> Path:
    """Return the file that the node ids of the checks start with.

    It is the file that holds settings. Without one, it is the first of ``pyproject.toml``, ``dmmcheck.toml``, pytest's
    own configuration file and ``conftest.py`` that exists in the root directory.

    Raises:
        ConfigError: None of them exists, or the settings cannot be read.
    """
    from dmmcheck.config.settings import find_settings  # noqa: PLC0415  # only where checks are to run
    from dmmcheck.errors import ConfigError  # noqa: PLC0415

    root = config.rootpath
    settings, _ = find_settings(root)
    found = settings or next((path for path in _candidates(config) if path.is_file()), None)
    if found is None:
        raise ConfigError(
            f"there is no {PYPROJECT}, {OWN_FILE} or {CONFTEST} in {root}, and pytest shows the checks below one of "
            f"these files; create a {PYPROJECT} (it may be empty if options say what is under test)"
            + _why_elsewhere(config)
        )
    return found


def _why_elsewhere(config: pytest.Config) -> str:
    """Return why pytest may have taken a root directory that the current folder is not in; "" where it is in it.

    Before it knows the options of plugins, pytest takes the value of each for a path to test, if the path exists.
    """
    here, root = config.invocation_params.dir.resolve(), config.rootpath.resolve()
    if root in (here, *here.parents):
        return ""
    return (
        f"; if {root} is not the folder of your project, the value of an option is a path there: join it to its option "
        "with =, for example --dmm-report=PATH"
    )


def refuse_ignored_settings(config: pytest.Config) -> None:
    """Refuse to run where settings are near that are not read.

    They are in the current folder or between it and the root directory. Where the root directory has no settings, they
    can also be between the root directory and a folder that is to be tested.

    A user who gives ``--rootdir`` or ``-c`` has chosen the root directory; nothing is refused then.

    Raises:
        ConfigError: There are such settings.
    """
    from dmmcheck.config.settings import find_settings  # noqa: PLC0415  # only where checks are to run
    from dmmcheck.errors import ConfigError  # noqa: PLC0415

    here, root = config.invocation_params.dir.resolve(), config.rootpath.resolve()
    if config.getoption("rootdir") or config.getoption("inifilename"):
        return
    folders = _between(here, root)
    if find_settings(root)[0] is None:
        folders += _between(root, here.parent)[1:]  # the root directory lies below the current folder
        folders += [folder for arg in config.args for folder in _between(_path(config, arg), root)]
    for folder in dict.fromkeys(folders):
        found, _ = find_settings(folder)
        if found is not None:
            raise ConfigError(
                f"{found} is not read, because pytest's root directory is {root} and settings are read there; "
                f"{_remedy(config, folder)}"
            )


def _between(folder: Path, top: Path) -> list[Path]:
    """Return the folder and those above it, up to one below `top`; nothing where the folder is not below `top`."""
    return [folder, *folder.parents][: len(folder.parts) - len(top.parts)] if folder.is_relative_to(top) else []


def _remedy(config: pytest.Config, folder: Path) -> str:
    """Say how to make a folder the root directory, with =, since pytest takes a separate value for a test path."""
    given, root = config.invocation_params, config.rootpath
    if folder in root.parents:
        return f"it is that because of {config.inipath or root}: add --rootdir {folder} to the command"
    values = [arg for arg in given.args if arg not in config.args and not arg.startswith("-")]
    outside = next((arg for arg in values if (given.dir / arg).exists()), None)
    if outside is not None:
        return (
            f"pytest also looks for the root directory from {outside}: join that to its option with =, "
            f"or add --rootdir {folder}"
        )
    return f"add [tool.pytest.ini_options] to a pyproject.toml in {folder}, or --rootdir {folder} to the command"


def has_check_id(config: pytest.Config) -> bool:
    """Return whether an argument is the node id of a check, e.g. ``pyproject.toml::boundary-clings-stated-builtin``."""
    named = [_path(config, arg) for arg in config.args if "::" in arg]
    return bool(named) and any(path.resolve() in named for path in _candidates(config) if path.suffix != ".py")


def extend_args(config: pytest.Config, root_file: Path, *, only: bool) -> None:
    """Append the root file to the paths that pytest collects, unless they contain it already.

    Args:
        config: pytest's configuration.
        root_file: The file that the checks appear below.
        only: Collect nothing else, unless the command line names other paths.
    """
    config.stash[ROOT_FILE] = root_file
    if only and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args[:] = []
    paths = [_path(config, arg) for arg in config.args]
    if not {root_file.resolve(), root_file.parent.resolve()} & set(paths):
        config.args.append(str(root_file))


def _candidates(config: pytest.Config) -> list[Path]:
    root = config.rootpath
    own = [config.inipath] if config.inipath and config.inipath.parent == root else []
    return [root / PYPROJECT, root / OWN_FILE, *own, root / CONFTEST]


def _path(config: pytest.Config, arg: str) -> Path:
    """Return the file of an argument, which may be a node id."""
    return (config.invocation_params.dir / arg.partition("::")[0]).resolve()
