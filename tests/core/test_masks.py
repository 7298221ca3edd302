"""One rule for where images are judged."""

from __future__ import annotations

import numpy as np

from crl_core.evaluation.masks import judged_mask


def test_the_intersection_counts_and_an_empty_mask_does_not_restrict() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:3], b[1:] = True, True
    np.testing.assert_array_equal(judged_mask(a, b), a & b)
    empty = np.zeros((4, 4), bool)
    np.testing.assert_array_equal(judged_mask(a, empty), a)
    np.testing.assert_array_equal(judged_mask(empty, b), b)
    apart = ~a
    np.testing.assert_array_equal(judged_mask(a, apart), a)
