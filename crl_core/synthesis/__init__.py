"""From acquired scans and a checkpoint to any contrast."""

from crl_core.synthesis.synthesizer import Synthesizer

__all__ = ["Synthesizer"]
