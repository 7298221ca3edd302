"""How a network in training does on subjects it never sees."""

from __future__ import annotations

import numpy as np
import torch

from crl_core.models import CRL
from crl_core.scan import FloatArray
from crl_core.training.config import TrainingConfig
from crl_core.training.sampling import Sampler

N_BATCHES = 6


def validate(model: CRL, sampler: Sampler, config: TrainingConfig) -> dict[str, float]:
    """Return mean PSNR in dB by number of sources, and of the identity.

    Inside the head, after one least-squares gain per image, peak = one unit of the target (its
    99.5th percentile up to the sampler's jitter). The same batches every time.
    """
    counts = range(1, min(model.max_sources, config.contrasts - 1, 3) + 1)
    found: dict[str, list[float]] = {f"from {k}": [] for k in counts}
    found["identity"] = []
    with torch.inference_mode():
        for n in range(N_BATCHES):
            batch = sampler.batch(1_000_000 + n, 1.0)
            images = torch.from_numpy(batch.images)
            parameters = torch.from_numpy(batch.parameters)
            for k in counts:
                features = model.encode(images[:, :k], parameters[:, :k])
                for j in range(images.shape[1]):
                    image = model.render(features, parameters[:, j])[:, 0].float().numpy()
                    scores = _psnr(image, batch.images[:, j], batch.mask)
                    if j >= k:
                        found[f"from {k}"] += scores
                    elif k == 1:
                        found["identity"] += scores
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def _psnr(images: FloatArray, targets: FloatArray, masks: FloatArray) -> list[float]:
    scores = []
    for image, target, mask in zip(images, targets, masks, strict=True):
        inside = mask > 0
        x, y = image[inside].astype(np.float64), target[inside].astype(np.float64)
        if len(x) < 100:
            continue
        gain = float(x @ y) / max(float(x @ x), 1e-12)
        error = float(np.mean((gain * x - y) ** 2))
        scores.append(10.0 * float(np.log10(1.0 / max(error, 1e-12))))
    return scores
