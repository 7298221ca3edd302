r"""Closed-form signal of a fast spin echo sequence, with and without inversion.

One repetition is: inversion, TI, excitation, a train of refocused echoes ending at the last
echo, rest. The train leaves no longitudinal magnetisation, so the rest recovers
:math:`M_1 = 1 - e^{-(TR - TI - TE_{last})/T_1}`, which the next pulse inverts. After TI

.. math::

    M_z = 1 - 2 e^{-TI/T_1} + e^{-(TR - TE_{last})/T_1}, \qquad
    S = PD \, |M_z| \, e^{-TE/T_2}.

Without inversion :math:`M_z = 1 - e^{-(TR - TE_{last})/T_1}`. At TI = 0 the first formula gives
the negative of the second, so the magnitude is continuous and TI = 0 stands for "no inversion".
Equation 6 of Xiong et al. (MICCAI 2024) is the null of the first formula, with T1 where the
printed exponent says TI.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from crl_core.sequence import SequenceParameters

Array: TypeAlias = NDArray[np.floating]
Values: TypeAlias = Array | float


def longitudinal(t1: Values, parameters: SequenceParameters) -> Array:
    """Return the signed longitudinal magnetisation at excitation, in units of equilibrium.

    Parameters
    ----------
    t1
        Longitudinal relaxation time, ms, positive, any shape.
    parameters
        The sequence. The last echo follows from its echo train, or is taken as TE.

    Returns
    -------
    mz
        The shape of `t1`, between -1 and 1.

    Raises
    ------
    ParameterError
        When TR cannot hold TI and TE.
    """
    parameters.check_order()
    t1 = np.asarray(t1)
    rest = max(parameters.tr - parameters.last_echo_time, parameters.ti)
    recovered = np.exp(-rest / t1)
    if not parameters.inverted:
        return np.asarray(1.0 - recovered)
    return np.asarray(1.0 - 2.0 * np.exp(-parameters.ti / t1) + recovered)


def fse_signal(
    pd: Values, t1: Values, t2: Values, parameters: SequenceParameters, *, signed: bool = False
) -> Array:
    """Return the signal of a fast spin echo sequence with ideal refocusing.

    Parameters
    ----------
    pd
        Proton density in any unit; the signal has the same.
    t1, t2
        Relaxation times, ms, positive; the three arrays broadcast.
    parameters
        The sequence.
    signed
        Keep the sign of the longitudinal magnetisation. Components of a voxel must be summed
        signed before taking the magnitude.

    Returns
    -------
    signal
        The broadcast shape; never negative unless `signed`.
    """
    mz = longitudinal(t1, parameters)
    if not signed:
        mz = np.abs(mz)
    return np.asarray(pd * mz * np.exp(-parameters.te / np.asarray(t2)))


def null_ti(t1: Values, tr: float, last_echo_time: float = 0.0) -> Array:
    """Return the inversion time at which a tissue gives no signal, ms.

    ``T1 (ln 2 - ln(1 + exp(-(TR - TE_last)/T1)))``.

    Parameters
    ----------
    t1
        Longitudinal relaxation time, ms.
    tr
        Repetition time, ms, above `last_echo_time`.
    last_echo_time
        Time from excitation to the last echo, ms.
    """
    t1 = np.asarray(t1, dtype=float)
    return np.asarray(t1 * (np.log(2.0) - np.log1p(np.exp(-(tr - last_echo_time) / t1))))
