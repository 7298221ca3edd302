"""What every method of the benchmark can do, and the methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, Protocol

from crl_core.errors import InputError
from crl_core.evaluation.benchmark import answers, learnt, several
from crl_core.evaluation.benchmark.people import Case, Training
from crl_core.scan import FloatArray

Kind = Literal["reference", "baseline", "network"]
"""A reference is fitted on the very answer or on the truth; a baseline and a network are not."""


class Method(Protocol):
    """One row of the table.

    Attributes
    ----------
    name
        As in ``--methods``.
    title
        What it is, a few words for a reader.
    kind
        See `Kind`.
    """

    name: str
    title: str
    kind: Kind

    def fit(self, training: Training) -> None:
        """Learn from the training people of a fold; nothing of the test people is to be had."""
        ...

    def predict(self, case: Case) -> FloatArray | None:
        """Return the target's volume in units of the first source, its p99.5 in the head being 1.

        None stands for a dash in the table: the method has no answer to this task.
        """
        ...


ANALYTIC: Mapping[str, Callable[[], Method]] = MappingProxyType(
    {
        "identity": answers.Identity,
        "affine": answers.Affine,
        "table": answers.Table,
        "oracle": answers.Oracle,
        "learnt-table": learnt.LearntTable,
        "te-linear": learnt.LinearTables,
        "te-log": learnt.LogTables,
        "pseudo-physics": learnt.PseudoPhysics,
        "patch-ridge": learnt.PatchRidge,
        "two-source-te": several.TwoSourceTE,
        "joint-table": several.JointTable,
        "least-squares": several.LeastSquares,
    }
)
"""The methods without a network, in the order of the table."""


def analytic(name: str) -> Method:
    """Make one of the methods without a network.

    Raises
    ------
    InputError
        When there is none of that name.
    """
    if name not in ANALYTIC:
        raise InputError(
            f"there is no baseline '{name}'", remedy=f"Choose from {', '.join(ANALYTIC)}"
        )
    return ANALYTIC[name]()
