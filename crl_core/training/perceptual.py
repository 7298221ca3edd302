"""Features of a network trained on photographs, to compare images by.

The layers of VGG-16 and VGG-19 (Simonyan and Zisserman, ICLR 2015) that pGAN and PTNet compare.
No weights come with this program: they are read from a file the user names, in the layout of
torchvision's state dictionary (``features.0.weight`` and so on).
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.errors import InputError

PerceptualName = Literal["vgg16", "vgg19"]

_WIDTHS: dict[PerceptualName, tuple[int, ...]] = {
    # Channels of each convolution, 0 for a halving; no further than the last layer compared.
    "vgg16": (64, 64, 0, 128, 128),
    "vgg19": (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512),
}
_TAPS: dict[PerceptualName, dict[int, float]] = {
    # Layer, as torchvision counts them, and its weight: relu2_2 alone for pGAN.
    "vgg16": {8: 1.0},
    "vgg19": {3: 1 / 32, 7: 1 / 16, 8: 1 / 8, 15: 1 / 4, 22: 1.0},
}
_SIDE: dict[PerceptualName, int | None] = {"vgg16": None, "vgg19": 224}
"""To what size images are brought first."""


class PerceptualLoss(nn.Module):
    """Weighted mean absolute difference of features of two images.

    Parameters
    ----------
    name
        ``"vgg16"``: relu2_2, as pGAN. ``"vgg19"``: five layers of images brought to 224 x 224,
        as PTNet.

    Notes
    -----
    Grey is copied to three channels and not standardised as photographs are, as published.
    """

    def __init__(self, name: PerceptualName) -> None:
        super().__init__()
        self.taps, self.side = _TAPS[name], _SIDE[name]
        layers: list[nn.Module] = []
        here = 3
        for width in _WIDTHS[name]:
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(here, width, 3, padding=1), nn.ReLU()]
            here = width
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Return the loss of (B, 1, H, W), both in [-1, 1]."""
        pairs = zip(self._features(image), self._features(target), strict=True)
        terms = [w * F.l1_loss(a, b) for w, (a, b) in zip(self.taps.values(), pairs, strict=True)]
        return torch.stack(terms).sum()

    def _features(self, image: Tensor) -> list[Tensor]:
        if self.side is not None:
            image = F.interpolate(image, size=(self.side, self.side), mode="bilinear")
        x = image.expand(-1, 3, -1, -1)
        found = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.taps:
                found.append(x)
        return found

    @classmethod
    def load(cls, name: PerceptualName, path: Path) -> PerceptualLoss:
        """Build the network with the weights of a file.

        Parameters
        ----------
        name
            Which network.
        path
            A ``.safetensors`` file, or a state dictionary saved by torch. Nothing in it is
            executed; weights of later layers are passed over.

        Raises
        ------
        InputError
            When the file is missing, unreadable or of another network.
        """
        made = cls(name)
        given = _read(path)
        own = made.state_dict()
        for key, value in own.items():
            found = given.get(key)
            if found is None or found.shape != value.shape:
                raise InputError(
                    f"holds no weights of {name}: {key} is missing or of another size",
                    path=path,
                    remedy=f"Give torchvision's state dictionary of {name}",
                )
        made.load_state_dict({key: given[key].float() for key in own})
        return made


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError("there is no such file of weights", path=path)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, OSError,
            EOFError, ValueError) as error:  # fmt: skip
        raise InputError(
            f"the weights cannot be read ({type(error).__name__})", path=path
        ) from None
    if not isinstance(found, dict):
        raise InputError("holds no state dictionary", path=path)
    return {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
