"""The command `semanticmac store verify`: compare every clip of an embedding store with its checksum.

semanticmac store verify STORE [--set_aside] [--add_checksums]
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm.auto import tqdm

from .index_files import FILE_NAME, clip_checksum
from .store import DamagedClipError, EmbeddingStore
from .writer import StoreWriter, lock_store, set_aside

DESCRIPTION = (
    "Compare every clip of an embedding store with its checksum; the exit code is 1 where something is damaged."
)
ARGUMENTS = {
    "--set_aside": "move damaged shards to set_aside/, so that the next extraction encodes their clips again",
    "--add_checksums": "add checksums to clips that were written without them, as they are now",
}


@dataclass
class Verification:
    """What a store holds, and what of it is damaged.

    Args:
        folder: of the store.
        verified: number of clips whose embeddings have the checksum in the index.
        unverifiable: number of clips without a checksum, in stores of older versions.
        damaged: clips whose embeddings are not those that were written: id -> a sentence.
        files: damaged index files and lost shards: name -> what is wrong. Their clips are not in the store.
        foreign: files in index/ that do not belong to the store: name -> what they are. Harmless.
        shards: names of the shards and index files to set aside.
    """

    folder: Path
    verified: int = 0
    unverifiable: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    shards: set[str] = field(default_factory=set)

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged and not self.files

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.verified} clips have the embeddings that were written"]
        lines += [f"{self.unverifiable} clips have no checksum (--add_checksums)"] if self.unverifiable else []
        lines += list(self.damaged.values())
        lines += [f"{name}: {why}" for found in (self.files, self.foreign) for name, why in found.items()]
        lines += [] if self.ok else [f"{len(self.damaged)} clips and {len(self.files)} files are damaged"]
        return "\n".join(lines)


def verify(folder: str | os.PathLike, show: bool = False) -> Verification:
    """Read every clip of the store in `folder` and compare it with its checksum.

    Args:
        folder: of the store.
        show: show a progress bar.

    Raises:
        FileNotFoundError: there is no store.
    """
    store = EmbeddingStore(folder)
    found = Verification(store.folder, foreign=store.index.foreign)
    for name, why in store.index.damaged.items():
        found.files[f"index/{name}"] = why
        found.shards.add(FILE_NAME.fullmatch(name)["name"])
    for name, clips in store.index.lost.items():
        found.files[f"shards/{name}.safetensors"] = f"missing or incomplete, with {clips} clips"
        found.shards.add(name)
    for clip in tqdm(store, unit=" clips", desc="Verifying", disable=not show):
        record = store.status(clip)
        try:
            store[clip]
        except DamagedClipError as error:
            found.damaged[clip] = str(error)
            found.shards.add(record.shard)
            continue
        found.verified += bool(record.checksum)
        found.unverifiable += not record.checksum
    return found


def add_checksums(folder: str | os.PathLike) -> int:
    """Write checksums of clips that have none, from their embeddings as they are now; return their number.

    Raises:
        OSError: the store cannot be written.
    """
    store, added = EmbeddingStore(folder), 0
    with StoreWriter(store.folder, store.fingerprint) as writer:
        if not writer.is_writable:
            raise OSError(f"the embedding store at {folder} cannot be written, so it cannot be given checksums.")
        for clip in store:
            record = store.status(clip)
            if not record.checksum:
                writer.confirm(replace(record, checksum=clip_checksum(clip, *store.streams(clip))))
                added += 1
    return added


def main(argv: Sequence[str] | None = None) -> int:
    """Run `semanticmac store verify STORE` and return the exit code: 1 where something is damaged, else 0.

    Raises:
        FileNotFoundError: there is no store.
        OSError: the store cannot be changed as requested.
    """
    parser = argparse.ArgumentParser(prog="semanticmac store", description="Check embedding stores.")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    verifying = actions.add_parser("verify", help="compare every clip with its checksum", description=DESCRIPTION)
    verifying.add_argument("store", metavar="STORE", help="folder of the embedding store")
    for name, text in ARGUMENTS.items():
        verifying.add_argument(name, action="store_true", help=text)
    verifying.set_defaults(run=_run)
    args = parser.parse_args(argv)
    return args.run(args)


def _run(args: argparse.Namespace) -> int:
    found = verify(args.store, show=sys.stderr.isatty())
    print(found)
    if args.set_aside and found.shards:
        with lock_store(found.folder):
            set_aside(found.folder, sorted(found.shards))
        print(f"{len(found.shards)} shard(s) were moved to set_aside/; extract again to encode their clips.")
    if args.add_checksums and found.ok:
        print(f"{add_checksums(args.store)} clips have a checksum now")
    return 0 if found.ok else 1


__all__ = ["Verification", "add_checksums", "main", "verify"]
