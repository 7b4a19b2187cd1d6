"""A repository of the fake Hub."""

import hashlib
from dataclasses import dataclass, field

LARGE = (".safetensors", ".parquet", ".bin")  # what the Hub keeps in its large file storage


@dataclass
class Repository:
    """The commits of a repository, newest last, as (hash, path -> bytes, message), and the hash of each branch."""

    private: bool = False
    commits: list[tuple[str, dict[str, bytes], str]] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
        """Return hash and files of a branch (None: "main") or of a commit; None for an unknown revision."""
        sha = self.branches.get(revision or "main", revision)
        return next((commit[:2] for commit in self.commits if commit[0] == sha), None)

    def add(self, files: dict[str, bytes], message: str, branch: str = "main") -> str:
        """Add a commit with these files to a branch, and return its hash."""
        listing = [(path, hashlib.sha1(data).hexdigest()) for path, data in sorted(files.items())]
        sha = hashlib.sha1(f"{len(self.commits)} {listing} {message}".encode()).hexdigest()
        self.commits.append((sha, files, message))
        self.branches[branch] = sha
        return sha


def file_hash(files: dict[str, bytes], path: str) -> str | None:
    """Return the hash of a file in the Hub and in git; None for an unknown file."""
    if path not in files:
        return None
    data = files[path]
    if path.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


__all__ = ["LARGE", "Repository", "file_hash"]
