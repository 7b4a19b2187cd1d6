"""What the Hub requires of the metadata of a model card, written from its published specification and not from any
library.
"""

import re

import yaml

FRONT_MATTER = re.compile(r"\A\s*---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def metadata_errors(text: str) -> list[str]:
    """Return what is wrong with the metadata of a card by the published specification (hub-docs, modelcard.md)."""
    match = FRONT_MATTER.match(text)
    if match is None:
        return ["there is no metadata"]
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return [f"not YAML: {error}"]
    if not isinstance(data, dict):
        return ["the metadata is no mapping"]
    errors = [f"{name} must be a list of texts" for name in ("tags",) if not _texts(data.get(name, []))]
    if not isinstance(data.get("license", ""), str):
        errors.append("license must be a text")
    if data.get("license") == "other" and not data.get("license_name"):
        errors.append("license other needs license_name")
    if not re.fullmatch(r"[a-z]{2,3}", str(data.get("language", "en"))):
        errors.append("language must be an ISO 639 code")
    for base in [data["base_model"]] if isinstance(data.get("base_model"), str) else data.get("base_model", []):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base):
            errors.append(f"base_model {base!r} is no repository")
    return errors + _model_index_errors(data.get("model-index", []))


def _texts(value) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _model_index_errors(index) -> list[str]:
    errors = []
    for model in index if isinstance(index, list) else [None]:
        if not isinstance(model, dict) or not model.get("name") or not isinstance(model.get("results"), list):
            return ["model-index must be a list of models with name and results"]
        for number, result in enumerate(model["results"]):
            for part, keys in (("task", ("type",)), ("dataset", ("type", "name"))):
                errors += [f'"model-index[0].results[{number}].{part}.{key}" is required' for key in keys
                           if not isinstance(result.get(part, {}).get(key), str)]  # fmt: skip
            for metric in result.get("metrics") or [{}]:
                if not isinstance(metric.get("type"), str) or metric.get("value") in (None, ""):
                    errors.append(f'"model-index[0].results[{number}].metrics" need type and value')
    return errors


__all__ = ["FRONT_MATTER", "metadata_errors"]
