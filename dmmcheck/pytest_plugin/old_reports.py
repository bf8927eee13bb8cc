"""Hides the reports of earlier runs while pytest collects, so that none is mistaken for that of a killed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmmcheck.pytest_plugin import options
from dmmcheck.pytest_plugin.selection import loaded_config, usage_errors
from dmmcheck.report import write


class OldReports:
    """The files that a run is to write, under hidden names; all but the baseline that it is compared with.

    Args:
        config: pytest's configuration.

    Raises:
        UsageError: A file cannot be renamed; the others are put back.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._hidden: dict[Path, Path] = {}
        kept = None
        if options.is_on(config):
            loaded = loaded_config(config)
            kept = None if loaded.settings.baseline is None else loaded.root / loaded.settings.baseline
        try:
            with usage_errors():
                for name in config.getoption("--dmm-report"):
                    path = config.invocation_params.dir / name
                    hidden = write.set_aside(path, kept=kept)
                    if hidden is not None:
                        self._hidden[path] = hidden
        except pytest.UsageError:
            self.put_back()
            raise

    def put_back(self) -> None:
        """Give each file its name again: nothing was run."""
        for path, hidden in self._hidden.items():
            if hidden.exists():  # another run of the same report may have removed it
                hidden.replace(path)
        self._hidden.clear()

    def remove(self) -> None:
        """Remove the files: a run has begun."""
        for hidden in self._hidden.values():
            hidden.unlink(missing_ok=True)
        self._hidden.clear()
