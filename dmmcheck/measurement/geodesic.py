"""Distances along the manifold: shortest paths in the neighbour graph of the examples, as in Isomap."""

from __future__ import annotations

import numpy as np

from dmmcheck.inference.evidence import Floats
from dmmcheck.measurement.measure import MAX_EXAMPLES
from dmmcheck.measurement.view import View

NEIGHBOURS = 10


def geodesic_distance(view: View) -> Floats:
    """Return the length (n,) of the shortest path from each input to an example of another class, in units of x.

    Paths run along the 10-nearest-neighbour graph of the inputs and at most 4096 examples, evenly spaced in the given
    order. Where the graph connects an input to no such example, its distance is the straight one. Paths make detours
    through the points that there are: also on a flat manifold they are longer than the straight way, the more so the
    fewer points and the more dimensions there are.

    Source: Tenenbaum, de Silva, Langford, Science 290 (2000).
    """
    return view.cached(("geodesic", view.n), lambda: (_shortest_paths(view), 0))


def _shortest_paths(view: View) -> Floats:
    from scipy.sparse import csgraph  # noqa: PLC0415
    from sklearn.neighbors import kneighbors_graph  # noqa: PLC0415  # takes a second to load

    examples = view.examples
    chosen = np.linspace(0, len(examples.x) - 1, min(MAX_EXAMPLES, len(examples.x))).round().astype(int)
    x = view.x.cpu().numpy().astype(np.float64)
    points = np.concatenate([x, examples.x.cpu().numpy()[chosen].astype(np.float64)])
    graph = kneighbors_graph(points, min(NEIGHBOURS, len(points) - 1), mode="distance")
    paths = csgraph.dijkstra(graph, directed=False, indices=np.arange(view.n))[:, view.n :]
    same = view.y.cpu().numpy()[:, None] == examples.y.cpu().numpy()[chosen][None, :]
    along = np.where(same, np.inf, paths).min(1)
    straight, _ = view.nearest_other_class()
    return np.where(np.isinf(along), straight, along)
