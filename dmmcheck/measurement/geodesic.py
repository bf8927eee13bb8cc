"""Distances along the manifold: shortest paths in the neighbour graph of the examples, as in Isomap."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dmmcheck.data.arrays import PIECE_VALUES
from dmmcheck.inference.evidence import Floats
from dmmcheck.measurement.measure import MAX_EXAMPLES
from dmmcheck.measurement.view import View

NEIGHBOURS = 10
ROWS, FEWEST_ROWS = (
    256,
    16,
)  # rows that scikit-learn converts to float64 at a time: its own number, and fewer for large D


def geodesic_distance(view: View) -> Floats:
    """Return the length (n,) of the shortest path from each input to an example of another class, in units of x.

    Paths run along the 10-nearest-neighbour graph of the inputs and at most 4096 examples, evenly spaced in the given
    order. The graph holds the first 4096 inputs of the measurement, or all inputs in view where these are more. So
    looks at up to 4096 inputs find the same paths. A point that is given twice is in the graph once. Where the graph
    connects an input to no such example, its distance is the straight one. Paths make detours through the points that
    there are: also on a flat manifold they are longer than the straight way, the more so the fewer points and the more
    dimensions there are.

    Source: Tenenbaum, de Silva, Langford, Science 290 (2000).
    """
    return view.cached(("geodesic", view.n), lambda: (_shortest_paths(view), 0))


def _shortest_paths(view: View) -> Floats:
    from scipy.sparse import csgraph  # noqa: PLC0415  # takes a second to load

    count = max(view.n, min(MAX_EXAMPLES, len(view.measurement.sample.x)))
    graph, nodes, labels = view.measurement.prepared(("neighbour graph", count), lambda: _neighbour_graph(view, count))
    paths = csgraph.dijkstra(graph, directed=False, indices=nodes[: view.n])[:, nodes[count:]]
    along = np.where(view.y.cpu().numpy()[:, None] == labels[None, :], np.inf, paths).min(1)
    straight, _ = view.nearest_other_class()
    return np.where(np.isinf(along), straight, along)


def _neighbour_graph(view: View, count: int) -> tuple[Any, Any, Any]:
    """Return the sparse matrix of the distances of neighbours, the rows of inputs and examples in it, and labels.

    The rows of the inputs come first. The labels are those of the examples.
    """
    from sklearn import config_context  # noqa: PLC0415
    from sklearn.neighbors import kneighbors_graph  # noqa: PLC0415

    examples, inputs = view.examples, view.measurement.sample.x[:count]
    chosen = np.linspace(0, len(examples.x) - 1, min(MAX_EXAMPLES, len(examples.x))).round().astype(int)
    of_examples = examples.x.cpu().numpy()
    first, nodes = _distinct([*inputs.cpu().numpy(), *(of_examples[row] for row in chosen)])
    points = np.stack(first)
    with config_context(pairwise_dist_chunk_size=max(FEWEST_ROWS, min(ROWS, PIECE_VALUES // points.shape[1]))):
        graph = kneighbors_graph(points, min(NEIGHBOURS, len(points) - 1), mode="distance")
    return graph, nodes, examples.y.cpu().numpy()[chosen]


def _distinct(points: Sequence[Floats]) -> tuple[list[Floats], np.ndarray[Any, Any]]:
    """Return the points (D,) that equal no earlier point, and for each point (m,) which of them it equals."""
    known: dict[bytes, int] = {}
    first: list[Floats] = []
    nodes = []
    for point in points:
        number = known.setdefault(hashlib.blake2b((point + 0.0).tobytes()).digest(), len(known))  # -0.0 becomes 0.0
        nodes.append(number)
        if number == len(first):
            first.append(point)
    return first, np.array(nodes)
