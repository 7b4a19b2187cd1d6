"""The section "At a glance": pictures of a run's analyses, where `examples/analysis/run_summary.py` has made them."""

import shutil

from ..runs.folder import RunFolder
from .section import PICTURES, Section, picture_link

ANALYSIS = "analysis"  # folder of a run that holds its analyses
# File of an analysis -> what its picture shows. Of each dictionary the first existing picture is taken.
TOLD = (
    {
        "label_agreement": "Do pseudo labels follow their modality? The curves show their agreement with annotated "
        "unimodal labels by epoch, the dotted lines the agreement of the ground truth.",
        "label_curves": "How far pseudo labels spread from the ground truth, by sub-task and epoch.",
    },
    {"semantic_balance": "How much of the multimodal representation each modality holds: the area under its curve."},
    {"contribution": "What text, audio and vision add to some predictions, from lowest to highest (Shapley values)."},
    {
        "embedding_space": "Are representations separated by meaning? Specific representations are coloured by pseudo "
        "label, shared and multimodal ones by ground truth."
    },
)  # fmt: skip
PAGE = "cases.html"  # of the case study


def glance_section(run: RunFolder) -> Section | None:
    """Copy the pictures of the analyses into the folder of the report and return their section.

    Returns:
        The section; None where no picture was made.
    """
    folder = run.path / ANALYSIS
    found = [next(((n, words) for n, words in row.items() if (folder / f"{n}.png").is_file()), None) for row in TOLD]
    found = dict(pair for pair in found if pair is not None)
    if not found:
        return None
    (run.path / PICTURES).mkdir(exist_ok=True)
    for name in found:
        shutil.copyfile(folder / f"{name}.png", run.path / PICTURES / f"{name}.png")
    text = "\n".join(f"{words}\n\n{picture_link(name, words)}" for name, words in found.items())
    if (folder / PAGE).is_file():
        text += f"\nClips whose modalities disagree most, with their media: [{ANALYSIS}/{PAGE}]({ANALYSIS}/{PAGE}).\n"
    return Section("at_a_glance", "At a glance", text, {"pictures": list(found)})


__all__ = ["ANALYSIS", "glance_section"]
