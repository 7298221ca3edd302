"""What is loaded and chosen, as plain frozen values, and how that becomes work and words."""

from crl_viewer.state.history import History
from crl_viewer.state.model import Aligned, ModelFacts, Store, ViewerState, Window
from crl_viewer.state.requests import Axis, RenderRequest, Voxel
from crl_viewer.state.resolve import PaneWords, ViewModel, render_request, resolve

__all__ = [
    "Aligned",
    "Axis",
    "History",
    "ModelFacts",
    "PaneWords",
    "RenderRequest",
    "Store",
    "ViewModel",
    "ViewerState",
    "Voxel",
    "Window",
    "render_request",
    "resolve",
]
