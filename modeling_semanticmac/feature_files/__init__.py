"""Files of precomputed features, as researchers have them, read clip by clip and imported into an embedding store."""

from .reading import FORMS, read_feature_file
from .streams import FeatureClip, FeatureFile

__all__ = ["FORMS", "FeatureClip", "FeatureFile", "read_feature_file"]
