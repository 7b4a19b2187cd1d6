"""What is publicly known of feature files: checksums of released files, and what their widths stand for."""

# Beginning and end of the SHA-256 of released files, as the README of thuiar/MMSA prints them.
RELEASED = {
    ("78e0f8b5", "02524"): "MMSA MOSI unaligned_50",
    ("d3994fd2", "5e5f9"): "MMSA MOSI aligned_50",
    ("ad8b23d5", "6fec1f"): "MMSA MOSEI unaligned_50",
    ("45eccfb7", "bf791"): "MMSA MOSEI aligned_50",
    ("c9e20c13", "dd442f"): "MMSA SIMS unaligned_39",
}
MOSI_COVAREP = (1, 3, 6, 25, 60)
MOSI_FACET = (0, 2, 5, 10, 11, 12, 14, 17, 20, 21, 22, 24, 25, 29, 30, 31, 32, 36, 37, 40)
_SOURCE = "as the author says in A2Zadeh/CMU-MultimodalSDK, issue 172"
# What a stream of this width usually is. Widths prove nothing: other features may have the same.
WIDTHS = {
    ("audio", 5): f"of MOSI: the COVAREP columns {', '.join(map(str, MOSI_COVAREP))} of 74, {_SOURCE}",
    ("audio", 74): "COVAREP, all columns",
    ("audio", 33): "LibROSA features of CH-SIMS: log F0, 20 MFCC and 12 CQT columns",
    ("audio", 25): "OpenSMILE eGeMAPS low-level descriptors, as in CH-SIMS v2",
    ("audio", 81): "COVAREP of UR-FUNNY and MUStARD in the files of HKT, which uses columns 0 to 59",
    ("audio", 1582): "OpenSMILE IS10 functionals, one vector an utterance",
    ("vision", 20): f"of MOSI: the FACET 4.1 columns {', '.join(map(str, MOSI_FACET))} of 47, {_SOURCE}",
    ("vision", 35): "FACET 4.2, all columns (or 17 intensities and 18 presences of OpenFace action units)",
    ("vision", 47): "FACET 4.1, all columns",
    ("vision", 709): "OpenFace 2: landmarks, head pose, gaze and action units",
    ("vision", 177): "OpenFace 2.2 as in CH-SIMS v2",
    ("vision", 91): "OpenFace in the files of HKT, which uses columns 55 to 90",
    ("vision", 371): "OpenFace of UR-FUNNY",
    ("vision", 342): "DenseNet features of faces (MMGCN), one vector an utterance",
    ("text", 300): "GloVe, one vector a word",
    ("text", 768): "hidden states of a BERT base model",
}


def known_as(sha256: str) -> str | None:
    """Return the name of a released file by its SHA-256; None for any other file."""
    return next(
        (name for (start, end), name in RELEASED.items() if sha256.startswith(start) and sha256.endswith(end)), None
    )


def width_meaning(modality: str, width: int) -> str | None:
    """Return what a stream of this width usually is; None where nothing is known."""
    return WIDTHS.get((modality, width))


__all__ = ["MOSI_COVAREP", "MOSI_FACET", "RELEASED", "known_as", "width_meaning"]
