"""The list of comparison systems: name, where the class lies, what it needs, which publication describes it."""

import importlib
import logging
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from ..files.near_names import did_you_mean

logger = logging.getLogger(__name__)
ENTRY_POINTS = "semanticmac.systems"  # group of the entry points of other packages


@dataclass(frozen=True)
class System:
    """One comparison system.

    Args:
        place: `module:Class` of a module in this folder, or `package.module:Class` elsewhere.
        reference: the publication.
        aligned: whether it needs one step for all modalities: audio and vision are then pooled to the words.
        level: "clip", or "dialogue" for systems that read the utterances of a conversation together.
    """

    place: str
    reference: str
    aligned: bool = False
    level: str = "clip"


SYSTEMS: dict[str, System] = {
    # One vector a modality, concatenated
    "mean_pooling": System("mean_pooling:MeanPooling", "a linear layer on mean vectors; no publication"),
    "lf_dnn": System("late_fusion_dnn:LateFusionDnn", "Cambria et al. 2017"),
    "lf_lstm": System("late_fusion_sequence:LateFusionLSTM", "Dai et al. 2021"),
    "lf_transformer": System("late_fusion_sequence:LateFusionTransformer", "Dai et al. 2021"),
    # Products of one vector a modality
    "tfn": System("tensor_fusion:TensorFusion", "Zadeh et al. 2017"),
    "lmf": System("low_rank_fusion:LowRankFusion", "Liu et al. 2018"),
    # One sequence of concatenated steps
    "ef_lstm": System("early_fusion_lstm:EarlyFusionLSTM", "Williams et al. 2018", aligned=True),
    # Attention or a memory across the sequences of the modalities
    "mfn": System("mfn:MemoryFusionNetwork", "Zadeh et al. 2018", aligned=True),
    "mult": System("mult:MultimodalTransformer", "Tsai et al. 2019"),
    "graph_mfn": System("graph_mfn:GraphMemoryFusion", "Zadeh et al. 2018", aligned=True),
    "mfm": System("mfm:FactorizedModel", "Tsai et al. 2019", aligned=True),
    "bbfn": System("bbfn:BiBimodalFusion", "Han et al. 2021", aligned=True),
    "almt": System("almt:HyperModality", "Zhang et al. 2023"),
    "c_mfn": System("c_mfn:ContextualMemoryFusion", "Hasan et al. 2019", aligned=True),
    "tbje": System("tbje:JointEncoding", "Delbrouck et al. 2020"),
    "me2et": System("me2et:ME2ET", "Wu et al. 2023"),
    "mulot": System("mulot:Mulot", "Pramanick et al. 2022"),
    "i_attention": System("i_attention:SegmentAttention", "Chauhan et al. 2020"),
    # Inside the language model
    "mag": System("mag:AdaptationGateFusion", "Rahman et al. 2020", aligned=True),
    # One vector a modality, split in what it shares and what is its own
    "misa": System("misa:InvariantSpecificFusion", "Hazarika et al. 2020"),
    # One vector a modality, with targets or bounds of their own
    "self_mm": System("self_mm:SelfMM", "Yu et al. 2021"),
    "mmim": System("mmim:MMIM", "Han, Chen, Poria 2021"),
    "av_mc": System("av_mc:AVMC", "Liu et al. 2022"),
    "missmodal": System("missmodal:MissModal", "Lin, Hu 2023"),
    "mmcl": System("mmcl:MMCL", "Lin, Hu 2022"),
    "mtmd": System("mtmd:MTMD", "Lin, Hu 2023"),
    # A prediction from each modality, weighted
    "emoe": System("emoe:EmotionExperts", "Fang et al. 2025"),
    "emoembs": System("emoembs:EmotionEmbeddings", "Dai et al. 2020"),
    "fe2e": System("end_to_end:EndToEnd", "Dai et al. 2021"),
    "mesm": System("end_to_end:SparseEndToEnd", "Dai et al. 2021"),
    # The utterances of a dialogue, one after the other
    "bc_lstm": System("bc_lstm:BcLSTM", "Poria et al. 2017", level="dialogue"),
    "dialogue_rnn": System("dialogue_rnn:DialogueRNN", "Majumder et al. 2019", level="dialogue"),
    "multilogue_net": System("multilogue_net:MultilogueNet", "Shenoy, Sardana 2020", level="dialogue"),
    "cmn": System("conversation_memory:ConversationalMemory", "Hazarika et al. 2018", level="dialogue"),
    "icon": System("conversation_memory:InteractiveMemory", "Hazarika et al. 2018", level="dialogue"),
    "dialogue_crn": System("dialogue_crn:DialogueCRN", "Hu, Wei, Huai 2021", level="dialogue"),
    # The utterances of a dialogue, as a graph
    "dialogue_gcn": System("dialogue_gcn:DialogueGCN", "Ghosal et al. 2019", level="dialogue"),
    "mmgcn": System("mmgcn:MMGCN", "Hu et al. 2021", level="dialogue"),
    "cogmen": System("cogmen:Cogmen", "Joshi et al. 2022", level="dialogue"),
    "corect": System("corect:Corect", "Nguyen et al. 2023", level="dialogue"),
}


def installed_systems() -> dict[str, System]:
    """Return the systems that other installed packages offer, by their entry points in the group `semanticmac.systems`.

    The value of an entry point is `package.module:Class`, with `[dialogue]` behind it for one that reads dialogues.
    Nothing of those packages is imported. A name that there is already is left out with a warning.
    """
    found: dict[str, System] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        package = f"the package {entry.dist.name}" if entry.dist else "an installed package"
        if entry.name in SYSTEMS or entry.name in found:
            logger.warning("%s offers a system %r, but there is one of that name: left out.", package, entry.name)
            continue
        level = "dialogue" if "dialogue" in entry.extras else "clip"
        found[entry.name] = System(f"{entry.module}:{entry.attr}", package, level=level)
    return found


SYSTEMS |= installed_systems()


def find_system(name: str) -> System:
    """Return a system by its name.

    Raises:
        ValueError: there is none of that name; the message has the nearest.
    """
    if name not in SYSTEMS:
        hint = did_you_mean(name, SYSTEMS)
        raise ValueError(f"there is no architecture {name!r}.{hint} Known are {', '.join(sorted(SYSTEMS))}.")
    return SYSTEMS[name]


def load_system(name: str) -> Any:
    """Import and return the class of a system, a `Fusion`; raises as `find_system`."""
    module, class_name = find_system(name).place.split(":")
    return getattr(importlib.import_module(module if "." in module else f"{__package__}.{module}"), class_name)


__all__ = ["SYSTEMS", "System", "find_system", "installed_systems", "load_system"]
