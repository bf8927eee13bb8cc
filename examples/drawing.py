"""What the figures of the documentation share: colours that colour-blind readers can tell apart, and reproducible SVG.

matplotlib is loaded when the first figure is drawn, so that the examples can be imported without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
"""The palette of Okabe and Ito."""
PALE_BLUE, PALE_ORANGE, PALE_GREY = "#CFE4F3", "#FBE6B8", "#EEEEEE"
INK, GREY = "#1A1A1A", "#666666"

INSTALL = "Drawing the figures needs matplotlib. Install it with: pip install 'dmmcheck[docs]'"
STYLE: dict[str, Any] = {
    "font.size": 13,
    "font.family": "DejaVu Sans",  # matplotlib brings it along, so that every machine draws the same letters
    "axes.titlesize": 13,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",  # the figures are also read on dark pages
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "dmmcheck",  # fixed ids, so that two runs write the same bytes
    "svg.fonttype": "path",
}


@contextmanager
def style() -> Iterator[None]:
    """Apply the figures' style inside the block.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message says how to install it.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(INSTALL, name=error.name) from error
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        yield


def blank(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (7.0, 3.5)) -> tuple[Figure, list[Axes]]:
    """A new figure of `size` inches and its panels, row by row."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=size)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def placed(
    places: Sequence[tuple[float, float, float, float]], *, size: tuple[float, float]
) -> tuple[Figure, list[Axes]]:
    """A new figure whose panels lie at (left, bottom, width, height), as shares of the figure."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=size)
    figure.set_layout_engine("none")
    return figure, [figure.add_axes(place) for place in places]


def save(figure: Figure, path: Path) -> Path:
    """Write `figure` to `path` (.svg, .png or .pdf) without a date, so that the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    figure.savefig(path, metadata=dates.get(path.suffix), dpi=150)
    return path


def plain(axes: Axes, *, keep: Sequence[str] = ()) -> None:
    """Hide the ticks and the frame of `axes`, but for the sides in `keep`."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side, spine in axes.spines.items():
        spine.set_visible(side in keep)
