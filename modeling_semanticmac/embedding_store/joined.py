"""Several stores read as one: each modality from the store that holds it."""

from collections.abc import Iterator, Mapping

import torch

from ..configuration_semanticmac import MEDIA_MODALITIES
from .store import ClipRecord, EmbeddingStore


class JoinedStore:
    """Stores of different modalities, read by clip id as an `EmbeddingStore` is: the sound of a tower beside a vision
    stream of a feature file.

    A clip is in it where it is in all of the stores.

    Args:
        stores: modality -> the store that holds it; a modality that is absent has no embeddings.

    Attributes:
        folder: of the stores, as text.
        fingerprint: the part of each modality from its store, with the sampling and version of the extraction.

    Raises:
        ValueError: a store does not hold its modality.
    """

    def __init__(self, stores: Mapping[str, EmbeddingStore]):
        for modality, store in stores.items():
            if not store.fingerprint.get(modality):
                raise ValueError(f"the embedding store at {store.folder} has no {modality} embeddings.")
        self.stores = dict(stores)
        self.folder = " + ".join(dict.fromkeys(str(store.folder) for store in stores.values()))
        self.fingerprint: dict = dict.fromkeys(MEDIA_MODALITIES)
        for modality, store in self.stores.items():
            shared = {name: store.fingerprint.get(name) for name in ("sampling", "extraction")}
            self.fingerprint |= {name: value for name, value in shared.items() if value is not None}
            self.fingerprint[modality] = store.fingerprint[modality]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, clip_id: str) -> bool:
        return all(clip_id in store for store in self.stores.values())

    def __iter__(self) -> Iterator[str]:
        return (clip for clip in next(iter(self.stores.values())) if clip in self)

    def __getitem__(self, clip_id: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embeddings of a clip, (T_a, D_a) and (T_v, D_v); T = 0 for what it lacks.

        Raises:
            KeyError: it is not in one of the stores.
            DamagedClipError: its embeddings are not those that were written.
        """
        streams = [
            self.stream(clip_id, modality) if modality in self.stores else torch.zeros(0, 0)
            for modality in MEDIA_MODALITIES
        ]
        return streams[0], streams[1]

    def stream(self, clip_id: str, modality: str) -> torch.Tensor:
        """Return the embeddings (T, D) of one modality of a clip, as `EmbeddingStore.stream` does."""
        if modality not in self.stores:
            raise KeyError(f"the embedding stores at {self.folder} have no {modality} embeddings.")
        return self.stores[modality].stream(clip_id, modality)

    def status(self, clip_id: str) -> ClipRecord:
        """Return one record of a clip: "failed" where it has none of the modalities, "partial" where it lacks one.

        Raises:
            KeyError: it is not in one of the stores.
        """
        records = {modality: store.status(clip_id) for modality, store in self.stores.items()}
        counts = {modality: getattr(record, modality) for modality, record in records.items()}
        wanting = [record for record in {id(record): record for record in records.values()}.values() if record.reason]
        status = "ok" if all(counts.values()) else "partial" if any(counts.values()) else "failed"
        return ClipRecord(
            clip_id,
            content_hash=" ".join(record.content_hash for record in records.values()),
            status=status,
            reason="; ".join(dict.fromkeys(record.reason for record in wanting)),
            note="; ".join(dict.fromkeys(record.note for record in wanting if record.note)),
            checksum=" ".join(record.checksum for record in records.values()),
            duration=max((record.duration for record in records.values()), default=0.0),
            **counts,
        )


__all__ = ["JoinedStore"]
