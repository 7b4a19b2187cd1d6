"""The layout of the package, from its own imports: folders import only what stands to their left, and a checkpoint
carries the top folder.
"""

import graphlib
from pathlib import Path

from tests.helpers.imported_modules import imported_modules
from tests.helpers.project import PROJECT
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

PACKAGE = PROJECT / "modeling_semanticmac"
BLOCK = "checkpoint block"  # the files at the top of the package
# Each imports only what stands before it. The order is that of docs/architecture.md.
ORDER = (
    "files",
    BLOCK,
    "datasets_scripts",
    "metrics",
    "embedding_store",
    "feature_files",
    "embedding_extraction",
    "runs",
    "report",
    "hub",
    "baselines",
    "training",
    "search",
    "benchmark",
    "analyses",
    "timeline",
    "serving",
    "page",
    "convert_imagebind",
    "commands",
    "hub_upload",
)
FRONTS = {"__init__", "__main__"}  # they import from everywhere: the package's front door


def room(module: tuple[str, ...]) -> str | None:
    """Return the room of a module, given as the parts of its dotted name; None for modules of other packages."""
    if module[0] == "datasets_scripts":
        return "datasets_scripts"
    if module[0] != "modeling_semanticmac":
        return None
    return module[1] if len(module) > 1 and (PACKAGE / module[1]).is_dir() else BLOCK


def modules() -> dict[tuple[str, ...], Path]:
    """Return every module of the project, as the parts of its dotted name, with its file."""
    found = {}
    for folder in (PACKAGE, PROJECT / "datasets_scripts"):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(PROJECT).with_suffix("").parts
            if parts not in {("modeling_semanticmac", front) for front in FRONTS}:
                found[parts] = path
    return found


def imports(module: tuple[str, ...], path: Path) -> set[tuple[str, ...]]:
    """Return what a file imports of the project, imports inside functions included."""
    return {name for name in imported_modules(module, path) if name[0] in ("modeling_semanticmac", "datasets_scripts")}


def arrows() -> set[tuple[str, str]]:
    """Return the pairs (room, room that it imports)."""
    pairs = {(room(module), room(name)) for module, path in modules().items() for name in imports(module, path)}
    return {(importer, imported) for importer, imported in pairs if importer != imported}


def test_every_folder_has_its_place():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders == set(ORDER) - {BLOCK, "datasets_scripts"}


def test_folders_import_only_from_their_left():
    wrong = [
        f"{importer} -> {imported}"
        for importer, imported in sorted(arrows())
        if ORDER.index(imported) > ORDER.index(importer)
    ]
    assert not wrong


def test_the_checkpoint_block_imports_no_folder():
    assert {imported for importer, imported in arrows() if importer == BLOCK} == set()


def test_corpora_import_the_block_and_files_only():
    assert {imported for importer, imported in arrows() if importer == "datasets_scripts"} <= {BLOCK, "files"}


def import_graph() -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """Return for every module of the project the modules that it imports."""
    known = modules()
    ends = {
        module: {end for name in imports(module, path) for end in (name, name[:-1])} for module, path in known.items()
    }
    return {module: found & known.keys() for module, found in ends.items()}


def test_no_file_imports_itself_in_a_circle():
    graph = import_graph()
    assert sum(map(len, graph.values())) > len(graph) > 300
    graphlib.TopologicalSorter(graph).prepare()  # a CycleError names the circle


def test_a_checkpoint_carries_the_block_and_nothing_else(tmp_path):
    block = {path.name for path in PACKAGE.glob("*.py") if path.stem not in FRONTS}
    assert {path.name for path in save_tiny_checkpoint(tmp_path).glob("*.py")} == block
    assert len(block) <= 36
