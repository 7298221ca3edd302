"""The networks the paper compares itself with, written from their publications.

pGAN (Dar et al., IEEE TMI 2019;38:2375), PTNet in its 2-D form (Zhang et al., IEEE TMI
2022;41:2925) and ResViT (Dalmaz et al., IEEE TMI 2022;41:2598). Each turns one contrast into one
other; one network is trained for every pair.
"""

from __future__ import annotations

from crl_core.models.baselines.pair import PairNetwork
from crl_core.models.baselines.pgan import PGAN
from crl_core.models.baselines.ptnet import PTNet
from crl_core.models.baselines.resvit import ResViT

__all__ = ["PGAN", "PTNet", "PairNetwork", "ResViT"]
