"""The science of CRL Explorer: files, physics, networks, synthesis, training and evaluation.

Nothing in this package imports Qt, and importing it does not import torch.
"""

__version__ = "0.1.0"
