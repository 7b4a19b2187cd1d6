"""SemanticMAC: end-to-end semantic-centric video-based multimodal affective computing, for the Hugging Face ecosystem.

Importing the package registers its classes with the Auto classes of transformers.
"""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoModelForVideoClassification,
    AutoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .affect_heads import (
    SemanticMACForAffect,
    SemanticMACForAffectOutput,
    SemanticMACForEmotionRecognition,
    SemanticMACForHumorDetection,
    SemanticMACForSarcasmDetection,
    SemanticMACForSentimentAnalysis,
)
from .configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from .configuration_semanticmac import SemanticMACConfig, TaskSpecification
from .feature_extraction_imagebind import ImageBindFeatureExtractor
from .image_processing_imagebind import ImageBindImageProcessor
from .modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel
from .modeling_semanticmac import SemanticMACModel, SemanticMACOutput, SemanticMACPreTrainedModel
from .pipeline_semanticmac import TASK, SemanticMACPipeline
from .processing_semanticmac import SemanticMACProcessor

AutoConfig.register("imagebind_vision", ImageBindVisionConfig)
AutoConfig.register("imagebind_audio", ImageBindAudioConfig)
AutoConfig.register("semanticmac", SemanticMACConfig)
AutoModel.register(ImageBindVisionConfig, ImageBindVisionModel)
AutoModel.register(ImageBindAudioConfig, ImageBindAudioModel)
AutoModel.register(SemanticMACConfig, SemanticMACModel)
AutoModelForVideoClassification.register(SemanticMACConfig, SemanticMACForAffect)
AutoImageProcessor.register(
    ImageBindVisionConfig,
    image_processor_classes={"pil": ImageBindImageProcessor, "torchvision": ImageBindImageProcessor},
)
AutoFeatureExtractor.register(ImageBindAudioConfig, ImageBindFeatureExtractor)
AutoProcessor.register(SemanticMACConfig, SemanticMACProcessor)
PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=SemanticMACPipeline, pt_model=AutoModelForVideoClassification, type="multimodal"
)


def _model_card(*arguments) -> str:
    """Write a card with `hub.model_card_text.config_card`, imported on first use."""
    from .hub.model_card_text import config_card

    return config_card(*arguments)


SemanticMACPreTrainedModel.register_model_card(_model_card)

# What is saved carries the code that loads it: `trust_remote_code=True` then works where this package is not installed.
SemanticMACConfig.register_for_auto_class()
SemanticMACModel.register_for_auto_class("AutoModel")
SemanticMACForAffect.register_for_auto_class("AutoModelForVideoClassification")
SemanticMACProcessor.register_for_auto_class("AutoProcessor")
ImageBindImageProcessor.register_for_auto_class("AutoImageProcessor")
ImageBindFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

__all__ = [
    "ImageBindAudioConfig",
    "ImageBindAudioModel",
    "ImageBindFeatureExtractor",
    "ImageBindImageProcessor",
    "ImageBindVisionConfig",
    "ImageBindVisionModel",
    "SemanticMACConfig",
    "SemanticMACForAffect",
    "SemanticMACForAffectOutput",
    "SemanticMACForEmotionRecognition",
    "SemanticMACForHumorDetection",
    "SemanticMACForSarcasmDetection",
    "SemanticMACForSentimentAnalysis",
    "SemanticMACModel",
    "SemanticMACOutput",
    "SemanticMACPipeline",
    "SemanticMACProcessor",
    "TaskSpecification",
]
