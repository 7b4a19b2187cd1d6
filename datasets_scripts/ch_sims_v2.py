"""CH-SIMS v2, the supervised part (thuiar/ch-sims-v2): CH-SIMS with twice as many clips."""

from collections.abc import Iterator
from functools import cached_property

from .ch_sims import RANGE, SENTIMENT
from .corpus import CorpusBuilder
from .corpus_files import CorpusFiles, find_one
from .mmsa_layout import LabelRow, mmsa_clips, raw_media, read_label_csv

PLACES = ("", "CH-SIMS v2(s)/", "ch-simsv2s/", "CH-SIMSv2(s)/")
NAMES = ("meta.csv", "meta(s).csv")


class ChSimsV2(CorpusBuilder):
    """CH-SIMS v2(s): 4,403 clips in 2,722 / 647 / 1,034; scores from -1 to 1 for the whole clip and for text, audio and
    vision alone.

    `data_dir` (or `CH-SIMS v2(s)/`, `ch-simsv2s/` in it) holds `meta.csv` (or `meta(s).csv`) and the clips
    `Raw/<video_id>/<clip_id>.mp4`. Without clips the text can be used alone. The unsupervised part, `CH-SIMS v2(u)`,
    has no labels and is refused. A clip's id is `<video_id>_<clip_id>`.

    All 2,281 clips of CH-SIMS are in it, with the same labels in the same splits, so the two are not independent
    corpora. 128 videos have clips in train and in test.
    """

    BUILDER_CONFIGS = SENTIMENT
    TABLE_II = {"sentiment": {"train": 2722, "validation": 647, "test": 1034}}
    TITLE = "CH-SIMS v2"
    LANGUAGE = "zh"
    PEOPLE = "Characters of Chinese films, series and shows, who speak Mandarin; mostly actors."
    TERMS = "no licence is published with the data"
    CITATION = """@inproceedings{liu2022chsimsv2,
  title = {Make Acoustic and Visual Cues Matter: {CH-SIMS} v2.0 Dataset and {AV-Mixup} Consistent Module},
  author = {Liu, Yihe and Yuan, Ziqi and Mao, Huisheng and Liang, Zhiyun and Yang, Wanqiuyue and
            Qiu, Yuanzhe and Cheng, Tie and
            Li, Xiaoteng and
    Xu, Hua and Gao, Kai},
  booktitle = {Proceedings of the 2022 International Conference on Multimodal Interaction},
  pages = {247--258},
  year = {2022}
}"""

    @classmethod
    def find_files(cls, folder, config):
        path = find_one(folder, [f"{place}{name}" for place in PLACES for name in NAMES], "labels of CH-SIMS v2(s)")
        return CorpusFiles({"labels": path}, raw_media(path.parent / "Raw", read_label_csv(path, RANGE, _pad)))

    @cached_property
    def _rows(self) -> list[LabelRow]:
        return read_label_csv(self.files.annotations["labels"], RANGE, _pad)

    def clips(self, split) -> Iterator[dict]:
        yield from mmsa_clips(self._rows, split, self.files.media)


def _pad(video: str, clip: str) -> str:
    """Pad a clip id to four digits in the videos of CH-SIMS (video_0001) and to five elsewhere; eight ids with an
    underscore stay as they are.
    """
    digits = 4 if video.removeprefix("video_").isdecimal() else 5
    return clip.zfill(digits) if clip.isdecimal() else clip
