"""SemanticMAC: end-to-end semantic-centric video-based multimodal affective computing, for the Hugging Face ecosystem.

Importing the package registers its classes with the Auto classes of transformers.
"""

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification

from .affect_heads import (
    SemanticMACForAffect,
    SemanticMACForAffectOutput,
    SemanticMACForEmotionRecognition,
    SemanticMACForHumorDetection,
    SemanticMACForSarcasmDetection,
    SemanticMACForSentimentAnalysis,
)
from .configuration_semanticmac import SemanticMACConfig, TaskSpecification
from .modeling_semanticmac import SemanticMACModel, SemanticMACOutput

AutoConfig.register("semanticmac", SemanticMACConfig)
AutoModel.register(SemanticMACConfig, SemanticMACModel)
AutoModelForVideoClassification.register(SemanticMACConfig, SemanticMACForAffect)

__all__ = [
    "SemanticMACConfig",
    "SemanticMACForAffect",
    "SemanticMACForAffectOutput",
    "SemanticMACForEmotionRecognition",
    "SemanticMACForHumorDetection",
    "SemanticMACForSarcasmDetection",
    "SemanticMACForSentimentAnalysis",
    "SemanticMACModel",
    "SemanticMACOutput",
    "TaskSpecification",
]
