"""At a glance: the pictures of the analyses of a run, where they were made (`examples/analysis/run_summary.py`), on its report."""

import shutil

from ..runs.folder import RunFolder
from .section import PICTURES, Section, picture_link

ANALYSIS = "analysis"  # folder of a run in which its analyses lie
# File of an analysis -> what its picture shows. Of pictures in one row of this list the first that is there is taken.
TOLD = (
    {
        "label_agreement": "Do pseudo labels follow their modality? Their agreement with annotated unimodal labels by epoch; the line across is the ground truth's.",
        "label_curves": "How pseudo labels spread from the ground truth, by sub-task and epoch.",
    },
    {"semantic_balance": "How much of the multimodal representation each modality holds: the area under its curve."},
    {"contribution": "What text, audio and vision add to some predictions, from the lowest to the highest (Shapley values)."},
    {"embedding_space": "Do representations lie apart by what they mean? Specific ones are coloured by pseudo label, shared and multimodal ones by ground truth."},
)  # fmt: skip
PAGE = "cases.html"  # of the case study


def glance_section(run: RunFolder) -> Section | None:
    """Copies the pictures that were made into the folder of the report, which then is whole without the analyses. None where there are none."""
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
        text += (
            f"\nThe clips whose modalities disagree most, with their media: [{ANALYSIS}/{PAGE}]({ANALYSIS}/{PAGE}).\n"
        )
    return Section("at_a_glance", "At a glance", text, {"pictures": list(found)})


__all__ = ["ANALYSIS", "glance_section"]
