"""Distances along the manifold: shortest paths in the neighbour graph of the examples, as in Isomap."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csgraph
from sklearn.neighbors import kneighbors_graph

from dmmcheck.inference.evidence import Floats
from dmmcheck.measurement.measure import View

NEIGHBOURS = 10
MOST_EXAMPLES = 4096


def intrinsic_distance(measure: View) -> Floats:
    """Shortest path (n,) from each input to an example of another class, in units of x.

    Over the 10-nearest-neighbour graph of inputs and examples (at most 4096 of them, evenly spaced in the given order);
    the straight distance where the graph does not connect the two. Source: Tenenbaum, de Silva, Langford, Science 290
    (2000).
    """
    examples = measure.measure.examples
    chosen = np.linspace(0, len(examples.x) - 1, min(MOST_EXAMPLES, len(examples.x))).round().astype(int)
    x = measure.x.cpu().numpy().astype(np.float64)
    points = np.concatenate([x, examples.x.cpu().numpy()[chosen].astype(np.float64)])
    graph = kneighbors_graph(points, min(NEIGHBOURS, len(points) - 1), mode="distance")
    paths = csgraph.dijkstra(graph, directed=False, indices=np.arange(measure.n))[:, measure.n :]
    same = measure.y.cpu().numpy()[:, None] == examples.y.cpu().numpy()[chosen][None, :]
    along = np.where(same, np.inf, paths).min(1)
    straight, _ = measure.nearest_other_class()
    return np.where(np.isinf(along), straight, along)
