"""SemanticMAC: end-to-end semantic-centric video-based multimodal affective computing, for the Hugging Face ecosystem.

Importing the package registers its classes with the Auto classes of transformers. The names for training
(`SemanticMACTrainer`, `SemanticMACTrainingArguments`, `SemanticMACCollator`, `EmbeddingStore`, `load_corpus`) are
imported on first use.
"""

import importlib

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
from .baselines import FusionConfig, FusionForAffect
from .configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from .configuration_semanticmac import SemanticMACConfig, TaskSpecification
from .feature_extraction_imagebind import ImageBindFeatureExtractor
from .image_processing_imagebind import ImageBindImageProcessor
from .modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel
from .modeling_semanticmac import SemanticMACModel, SemanticMACOutput, SemanticMACPreTrainedModel
from .pipeline_semanticmac import TASK, SemanticMACPipeline
from .processing_semanticmac import SemanticMACProcessor

__version__ = "0.1.0"  # the one place: setup.cfg and `semanticmac --version` read it

AutoConfig.register("imagebind_vision", ImageBindVisionConfig)
AutoConfig.register("imagebind_audio", ImageBindAudioConfig)
AutoConfig.register("semanticmac", SemanticMACConfig)
AutoConfig.register("affect_fusion", FusionConfig)
AutoModel.register(ImageBindVisionConfig, ImageBindVisionModel)
AutoModel.register(ImageBindAudioConfig, ImageBindAudioModel)
AutoModel.register(SemanticMACConfig, SemanticMACModel)
AutoModelForVideoClassification.register(SemanticMACConfig, SemanticMACForAffect)
AutoModelForVideoClassification.register(FusionConfig, FusionForAffect)
AutoImageProcessor.register(
    ImageBindVisionConfig,
    image_processor_classes={"pil": ImageBindImageProcessor, "torchvision": ImageBindImageProcessor},
)
AutoFeatureExtractor.register(ImageBindAudioConfig, ImageBindFeatureExtractor)
AutoProcessor.register(SemanticMACConfig, SemanticMACProcessor)
AutoProcessor.register(FusionConfig, SemanticMACProcessor)
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

# Imported when they are first used: name -> its module.
_ON_FIRST_USE = {
    "EmbeddingStore": "modeling_semanticmac.embedding_store",
    "SemanticMACCollator": "modeling_semanticmac.training.collator",
    "SemanticMACTrainer": "modeling_semanticmac.training.trainer",
    "SemanticMACTrainingArguments": "modeling_semanticmac.training.training_args",
    "load_corpus": "datasets_scripts",
}


def __getattr__(name: str):
    """Return a name of `_ON_FIRST_USE` from its module."""
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_ON_FIRST_USE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the names of the module, those that are imported on first use among them."""
    return sorted({*globals(), *_ON_FIRST_USE})


__all__ = [
    "EmbeddingStore",
    "FusionConfig",
    "FusionForAffect",
    "ImageBindAudioConfig",
    "ImageBindAudioModel",
    "ImageBindFeatureExtractor",
    "ImageBindImageProcessor",
    "ImageBindVisionConfig",
    "ImageBindVisionModel",
    "SemanticMACCollator",
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
    "SemanticMACTrainer",
    "SemanticMACTrainingArguments",
    "TaskSpecification",
    "load_corpus",
]
