"""Whether a scanner could play a sequence, and how long it would take.

The echo train, matrix and slices of the paper are not published, so every figure here rests on
an assumed protocol that callers can see and change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from crl_core.sequence import MIN_TI, SequenceParameters

Severity = Literal["impossible", "warning"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """The assumed rest of the acquisition.

    Parameters
    ----------
    echo_spacing
        ms between echoes.
    echo_train_length
        Echoes per excitation.
    phase_encodes
        Lines of k-space.
    slices
        Number of slices.
    overhead
        ms per slice for excitation, spoiling and gradients.
    acceleration
        Parallel imaging factor.
    averages
        Number of excitations averaged.
    """

    echo_spacing: float = 10.42
    echo_train_length: int = 18
    phase_encodes: int = 256
    slices: int = 25
    overhead: float = 12.0
    acceleration: float = 1.0
    averages: int = 1

    def slice_time(self) -> float:
        """Time that one echo train occupies, ms."""
        return self.echo_train_length * self.echo_spacing + self.overhead


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason why a sequence is impossible or unwise."""

    severity: Severity
    parameter: Literal["tr", "te", "ti"]
    text: str


def assess(parameters: SequenceParameters, protocol: Protocol | None = None) -> list[Finding]:
    """Return what stands against a sequence, the impossible first; empty when nothing does."""
    protocol = protocol or Protocol()
    findings = [*_impossible(parameters, protocol), *_unwise(parameters, protocol)]
    return sorted(findings, key=lambda f: f.severity)


def _impossible(p: SequenceParameters, protocol: Protocol) -> list[Finding]:
    found: list[Finding] = []
    spacing = p.echo_spacing or protocol.echo_spacing
    # Half an echo spacing of grace: the spacing itself is assumed unless the scan states it.
    if p.te < 0.5 * spacing:
        found.append(
            Finding("impossible", "te", f"TE {p.te:g} is shorter than one echo, {spacing:g} ms")
        )
    train = _stated_train(p)
    if train is not None and p.te > train + 0.5 * spacing:
        found.append(
            Finding("impossible", "te", f"TE {p.te:g} is beyond the last echo, at {train:g} ms")
        )
    if 0 < p.ti < MIN_TI:
        found.append(
            Finding("impossible", "ti", f"TI {p.ti:g} is too short to play: {MIN_TI:g} ms or off")
        )
    need = p.ti + p.last_echo_time + protocol.overhead
    if p.tr < need:
        what = f"TI {p.ti:g} and the last echo" if p.inverted else "the last echo"
        verb = "need" if p.inverted else "needs"
        found.append(
            Finding("impossible", "tr", f"TR {p.tr:g} is too short: {what} {verb} {need:.0f} ms")
        )
    return found


def _unwise(p: SequenceParameters, protocol: Protocol) -> list[Finding]:
    found: list[Finding] = []
    concatenations = n_concatenations(p, protocol)
    if concatenations > 3:
        found.append(
            Finding(
                "warning", "tr", f"{concatenations} concatenations for {protocol.slices} slices"
            )
        )
    minutes = scan_time(p, protocol) / 60
    if minutes > 10:
        found.append(Finding("warning", "tr", f"about {minutes:.0f} min of scanning"))
    assumed = protocol.echo_train_length * (p.echo_spacing or protocol.echo_spacing)
    if _stated_train(p) is None and p.te > assumed:
        found.append(
            Finding(
                "warning",
                "te",
                f"TE {p.te:g} needs a longer train than the {assumed:.0f} ms assumed",
            )
        )
    if p.te > 200:
        found.append(Finding("warning", "te", "beyond two T2 of brain the image nears the noise"))
    return found


def _stated_train(p: SequenceParameters) -> float | None:
    """Return the end of the echo train, ms, where the scan states it."""
    if p.echo_spacing is None or p.echo_train_length is None:
        return None
    return p.echo_spacing * p.echo_train_length


def n_concatenations(parameters: SequenceParameters, protocol: Protocol) -> int:
    """Return into how many groups the slices must be split to fit TR.

    The inversion is taken as interleaved between slices, so that TI costs time once per TR.
    """
    train = _stated_train(parameters)
    per_slice = protocol.slice_time() if train is None else train + protocol.overhead
    fit = max(1, math.floor((parameters.tr - parameters.ti) / per_slice))
    return math.ceil(protocol.slices / fit)


def scan_time(parameters: SequenceParameters, protocol: Protocol | None = None) -> float:
    """Return the duration of the acquisition in seconds, under the assumed protocol."""
    protocol = protocol or Protocol()
    lines = protocol.phase_encodes / protocol.acceleration
    shots = math.ceil(lines / (parameters.echo_train_length or protocol.echo_train_length))
    total = parameters.tr * shots * protocol.averages * n_concatenations(parameters, protocol)
    return total / 1000.0
