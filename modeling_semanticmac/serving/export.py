"""A model and its frozen towers as graphs for other runtimes: `torch.export` (.pt2) or ONNX, checked against the model.

Legend: B clips, L tokens, T windows or frames, C outputs.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..encoder_outputs import embed_batch, embed_whole
from ..files.atomic_files import write_json
from ..pipeline_semanticmac import SemanticMACPipeline

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
DYNAMIC = {  # axes that may have any size
    "input_ids": ("batch", "tokens"), "attention_mask": ("batch", "tokens"), "token_type_ids": ("batch", "tokens"),
    "audio_embeds": ("batch", "windows"), "audio_mask": ("batch", "windows"),
    "vision_embeds": ("batch", "frames"), "vision_mask": ("batch", "frames"),
}  # fmt: skip
SHAPES = ((1, 3, 2, 2), (3, 8, 5, 4), (2, 17, 3, 9))  # of the check: clips, tokens, windows, frames
TOLERANCE = 1e-4  # of the check, relative to the largest output or 1


class ExportedHead(nn.Module):
    """A model from tokens and embeddings to logits, with its inputs in a fixed order.

    Args:
        model: with its head.
        names: of the inputs.
    """

    def __init__(self, model: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor):
        """Return logits (B, C), and for SemanticMAC those of S, T, A, V (B, 4, C)."""
        output = self.model(**dict(zip(self.names, inputs)))
        subtasks = output.get("subtask_logits")
        return (output.logits,) if subtasks is None else (output.logits, subtasks)


class ExportedTower(nn.Module):
    """A frozen tower from frames or sound windows (T, ...) to embeddings (T, D)."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs: torch.Tensor):
        """Return the embeddings (T, D), float32. Sound windows have the length of the example: a graph sees no NaN."""
        embed = embed_whole if inputs.ndim in (2, 3) else embed_batch
        return (embed(self.encoder, inputs),)


def export_model(pipe: SemanticMACPipeline, output_dir: str | Path, form: str, towers: bool = True) -> dict:
    """Write the graphs of a model, its processor and what else a runtime needs, and check them.

    Args:
        pipe: the model with its processor, on the CPU in single precision.
        output_dir: a folder that is new or empty.
        form: "onnx" or "torch".
        towers: whether the frozen towers are written too.

    Returns:
        The content of `export.json`: `format`, `versions`, and for each file its `inputs`, `outputs` and `difference`,
        the largest distance to the model's own outputs over several shapes, with and without each modality.

    Raises:
        ValueError: an unknown format, or a folder that is not empty.
        RuntimeError: the graph answers other than the model; nothing is left then.
    """
    folder = Path(output_dir)
    if form not in FORMATS:
        raise ValueError(f"format is {form!r}; expected one of {', '.join(FORMATS)}.")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder.")
    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files = {f"head{FORMATS[form]}": _export_head(pipe, folder / f"head{FORMATS[form]}", form)}
        for modality in pipe.readable if towers else ():
            name = f"{modality}_tower{FORMATS[form]}"
            files[name] = _export_tower(pipe, modality, folder / name, form)
        pipe.model.config.save_pretrained(folder)
        pipe.processor.save_pretrained(folder)
        if form == "onnx":
            shutil.copyfile(Path(__file__).with_name("onnx_predictor.py"), folder / "onnx_predictor.py")
        found = {"format": form, "torch": torch.__version__, "task": pipe.model.config.task_name, "files": files}
        write_json(folder / "export.json", found)
    except BaseException:
        shutil.rmtree(folder)
        if not created:
            folder.mkdir()
        raise
    return found


def _export_head(pipe: SemanticMACPipeline, path: Path, form: str) -> dict:
    """Write and check the graph from tokens and embeddings to logits."""
    names = [name for name in pipe.processor.tokenizer.model_input_names if name in DYNAMIC]
    names += [f"{modality}_{part}" for modality in ("audio", "vision") for part in ("embeds", "mask")]
    sizes = {
        axis: torch.export.Dim(axis, min=low, max=4096)
        for axis, low in (("batch", 1), ("tokens", 2), ("windows", 1), ("frames", 1))
    }
    limit = pipe.model.base_model.max_text_tokens or 4096
    sizes["tokens"] = torch.export.Dim("tokens", min=2, max=min(limit, 4096))
    head = ExportedHead(pipe.model.eval(), tuple(names))
    example = _head_inputs(pipe, names, SHAPES[1], 0)
    shapes = (tuple(dict(enumerate(sizes[axis] for axis in DYNAMIC[name])) for name in names),)
    program = torch.export.export(head, tuple(example.values()), dynamic_shapes=shapes, strict=False)
    outputs = ["logits", "subtask_logits"][: len(head(*example.values()))]
    run = _write(program, path, form, names, outputs)
    cases = [_head_inputs(pipe, names, shape, seed, missing) for seed, shape in enumerate(SHAPES) for missing in _GAPS]
    return {"inputs": names, "outputs": outputs, "difference": _check(head, run, cases, path)}


_GAPS = ((), ("text",), ("audio",), ("vision",), ("audio", "vision"))  # modalities that the first clip of a case lacks


def _head_inputs(pipe: SemanticMACPipeline, names: list[str], shape, seed: int, missing=()) -> dict[str, torch.Tensor]:
    """Return random inputs of the head; the first clip lacks the missing modalities, others end earlier."""
    generator = torch.Generator().manual_seed(seed)
    clips, tokens, windows, frames = shape
    lengths = {"text": tokens, "audio": windows, "vision": frames}
    masks = {}
    for modality, length in lengths.items():
        mask = torch.ones(clips, length, dtype=torch.long)
        mask[-1, max(1, length - 1) :] = 0
        if modality in missing:
            mask[0] = 0
        masks[modality] = mask
    config, vocabulary = pipe.model.config, pipe.model.get_input_embeddings().num_embeddings
    found = {
        "input_ids": torch.randint(0, vocabulary, (clips, tokens), generator=generator),
        "attention_mask": masks["text"], "token_type_ids": torch.zeros(clips, tokens, dtype=torch.long),
        "audio_embeds": torch.randn(clips, windows, config.audio_width, generator=generator),
        "audio_mask": masks["audio"],
        "vision_embeds": torch.randn(clips, frames, config.vision_width, generator=generator),
        "vision_mask": masks["vision"],
    }  # fmt: skip
    return {name: found[name] for name in names}


def _export_tower(pipe: SemanticMACPipeline, modality: str, path: Path, form: str) -> dict:
    """Write and check the graph of a frozen tower."""
    processor, generator = pipe.processor, torch.Generator().manual_seed(0)
    name = {"vision": "pixel_values", "audio": "input_features"}[modality]
    if modality == "vision":
        frames = torch.randint(0, 256, (6, 3, 48, 64), generator=generator, dtype=torch.uint8)
        inputs = processor.pixel_values_of(frames, None, None)
    else:
        rate = processor.feature_extractor.sampling_rate
        size = round(processor.audio_window * rate)
        inputs = processor.input_features_of([0.1 * torch.randn(size, generator=generator) for _ in range(6)])
    tower = ExportedTower(pipe.model.base_model.get_encoder(modality).eval())
    size = torch.export.Dim("steps", min=1, max=4096)
    program = torch.export.export(tower, (inputs[:3],), dynamic_shapes=({0: size},), strict=False)
    run = _write(program, path, form, [name], ["embeds"])
    cases = [{name: inputs[:number]} for number in (1, 3, 6)]
    return {"inputs": [name], "outputs": ["embeds"], "difference": _check(tower, run, cases, path)}


def _write(program, path: Path, form: str, inputs: list[str], outputs: list[str]) -> Callable:
    """Write a graph and return what runs it: tensors to NumPy arrays."""
    if form == "torch":
        torch.export.save(program, path)
        loaded = torch.export.load(path).module()
        return lambda tensors: [output.detach().numpy() for output in loaded(*tensors)]
    import onnxruntime

    found = torch.onnx.export(program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False)
    assert found is not None
    found.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    named = [entry.name for entry in session.get_inputs()]
    return lambda tensors: session.run(None, dict(zip(named, (tensor.numpy() for tensor in tensors))))


def _check(module: nn.Module, run: Callable, cases: list[Mapping[str, torch.Tensor]], path: Path) -> float:
    """Return the largest difference between a graph and the module over several inputs.

    Raises:
        RuntimeError: it is larger than `TOLERANCE` times the largest output.
    """
    worst = 0.0
    for case in cases:
        with torch.no_grad():
            expected = [output.numpy() for output in module(*case.values())]
        for one, two in zip(expected, run(list(case.values()))):
            difference = float(np.abs(one - two).max())
            worst = max(worst, difference)
            if not difference <= TOLERANCE * max(1.0, float(np.abs(one).max())):
                raise RuntimeError(
                    f"{path.name} answers other than the model, by {difference:.3g} on inputs of the shapes "
                    f"{[tuple(value.shape) for value in case.values()]}; it is not written. Try the other format."
                )
    return worst


__all__ = ["FORMATS", "export_model"]
