"""YAML files of arguments, in which each name stands once."""

from pathlib import Path

import yaml


class StrictLoader(yaml.SafeLoader):
    """A loader of plain values that refuses a name given twice; PyYAML silently keeps the last one."""

    def construct_mapping(self, node, deep=False):
        """Return the mapping of a node, each of whose names stands once."""
        seen: set = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ValueError(f"line {key_node.start_mark.line + 1} gives {key!r} a second time; keep one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path):
    """Return the content of a YAML or JSON file.

    Raises:
        ValueError: it cannot be read, or a name is given twice; the message names the file and the line.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as YAML or JSON: {error}.") from error


__all__ = ["read_yaml"]
