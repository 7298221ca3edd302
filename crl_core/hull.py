"""Distance from many queries to the convex hull of a few points in space."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Hull:
    """Distance to the convex hull of a few points, exact and for many queries at once.

    The hull is taken inside the affine space the points span (a point, a line, a plane or the
    whole space). There its facets are found by brute force. The point of the hull closest to a
    query from outside lies in the interior of exactly one face, so the distance is the smallest
    one to the faces whose own plane is met inside the face.

    Parameters
    ----------
    points
        Shape (k, 3) with 1 <= k; the work of building grows with k to the fourth, so k stays
        below a hundred.
    """

    _TOLERANCE = 1e-7

    def __init__(self, points: FloatArray) -> None:
        self._origin = points.mean(axis=0)
        _, sizes, axes = np.linalg.svd(points - self._origin, full_matrices=False)
        self._basis = axes[sizes > self._TOLERANCE * max(1.0, float(sizes[0]))]
        flat = (points - self._origin) @ self._basis.T
        facets, self._normals, self._offsets = self._find_facets(flat)
        faces = {s for f in facets for n in range(1, len(f) + 1) for s in combinations(f, n)}
        self._faces = [
            self._prepare(flat[np.array(group)])
            for n in (1, 2, 3)
            if (group := sorted(s for s in faces if len(s) == n))
        ]

    def _find_facets(
        self, flat: FloatArray
    ) -> tuple[list[tuple[int, ...]], FloatArray, FloatArray]:
        rank = flat.shape[1]
        if rank == 0:
            return [], np.zeros((0, 0)), np.zeros(0)
        subsets = np.array(list(combinations(range(len(flat)), rank)))
        corners = flat[subsets]
        edges = corners[:, 1:] - corners[:, :1]
        if rank == 1:
            normals = np.ones((len(subsets), 1))
        elif rank == 2:
            normals = np.stack([-edges[:, 0, 1], edges[:, 0, 0]], axis=1)
        else:
            normals = np.cross(edges[:, 0], edges[:, 1])
        sizes = np.linalg.norm(normals, axis=1)
        extent = np.linalg.norm(edges, axis=2).prod(axis=1) if rank > 1 else sizes
        sound = sizes > np.maximum(1e-9 * extent, 1e-14)
        subsets, corners, normals = subsets[sound], corners[sound], normals[sound]
        normals = normals / sizes[sound, None]
        heights = normals @ flat.T - (normals * corners[:, 0]).sum(axis=1)[:, None]
        below = (heights <= self._TOLERANCE).all(axis=1)
        above = (heights >= -self._TOLERANCE).all(axis=1)
        outward = np.where(above, -1.0, 1.0)[:, None] * normals
        keep = below | above
        offsets = (outward * corners[:, 0]).sum(axis=1)
        facets = [tuple(int(i) for i in row) for row in subsets[keep]]
        return facets, outward[keep], offsets[keep]

    @staticmethod
    def _prepare(corners: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        base, edges = corners[:, 0], corners[:, 1:] - corners[:, :1]
        gram = edges @ edges.transpose(0, 2, 1)
        return base, edges, np.linalg.pinv(gram, hermitian=True).astype(np.float64)

    def signed(self, where: FloatArray) -> FloatArray:
        """Return the distance of coordinates (n, 3) to the hull, negative inside it."""
        away = where - self._origin
        flat = away @ self._basis.T
        beside: FloatArray = np.linalg.norm(away - flat @ self._basis, axis=1)
        if not len(self._normals):
            return beside
        depth: FloatArray = (flat @ self._normals.T - self._offsets).max(axis=1)
        result = np.where(beside > self._TOLERANCE, beside, depth)
        outside = depth > 0
        if outside.any():
            result[outside] = np.hypot(self._to_faces(flat[outside]), beside[outside])
        return result

    def _to_faces(self, flat: FloatArray) -> FloatArray:
        best = np.full(len(flat), np.inf)
        lengths = (flat**2).sum(axis=1)[:, None]
        for base, edges, inverse in self._faces:
            count, within, rank = edges.shape
            squared = lengths - 2 * flat @ base.T + (base**2).sum(axis=1)
            if within:
                along = flat @ edges.reshape(-1, rank).T - (edges @ base[:, :, None]).ravel()
                along = along.reshape(-1, count, within)
                weights = (along[:, :, None, :] * inverse).sum(axis=3)
                met = (weights >= -1e-9).all(axis=2) & (weights.sum(axis=2) <= 1 + 1e-9)
                squared = np.where(met, squared - (weights * along).sum(axis=2), np.inf)
            best = np.minimum(best, squared.min(axis=1))
        apart: FloatArray = np.sqrt(np.maximum(best, 0.0))
        return apart
