"""Networks without memory for their weights, to compare a file with before reading it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from crl_core.errors import CheckpointError
from crl_core.models import CRL, build_from_config

MAX_VALUES = 200_000_000
"""Largest network that is built, in values; the paper's has 39 million."""

_FILLING = {Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.kaiming_uniform_}


class _WithoutFilling(TorchFunctionMode):
    """Leaves out random starting values.

    There is nothing to fill, and drawing normal values without memory makes torch import its
    compiler, which takes seconds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in _FILLING:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def skeleton(architecture: dict[str, Any]) -> CRL:
    """Build the network of an architecture on torch's ``meta`` device.

    Weights are to be assigned with ``load_state_dict(..., assign=True)``. The random state of
    torch is left alone.

    Raises
    ------
    CheckpointError
        When the architecture is unknown, impossible or absurdly large.
    """
    try:
        with torch.device("meta"), _WithoutFilling():
            model = build_from_config(architecture)
    except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"its architecture cannot be built ({error})") from error
    if model.n_parameters > MAX_VALUES:
        raise CheckpointError(
            f"its architecture has {model.n_parameters:,} values, more than the {MAX_VALUES:,} "
            "that are accepted"
        )
    return model
