"""Comparison systems of the field as fusion modules on SemanticMAC's batch: one model, one file a system."""

from .configuration_fusion import FusionConfig
from .fusion import Fused, Fusion, Streams
from .modeling_fusion import FusionForAffect, FusionOutput
from .registry import SYSTEMS, System, find_system, load_system

__all__ = [
    "SYSTEMS", "Fused", "Fusion", "FusionConfig", "FusionForAffect", "FusionOutput", "Streams", "System",
    "find_system", "load_system",
]  # fmt: skip
