"""Predictions from an exported model with ONNX Runtime; a file of its own, which needs neither torch nor transformers.

predictor = OnnxPredictor("OUT")
predictor(input_ids=..., attention_mask=..., audio_embeds=..., audio_mask=...)
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime

TYPES = {"tensor(int64)": np.int64, "tensor(float)": np.float32}
STREAMS = {"audio": ("audio_tower.onnx", "input_features"), "vision": ("vision_tower.onnx", "pixel_values")}


class OnnxPredictor:
    """An exported model.

    Args:
        folder: that `semanticmac export` wrote.
        providers: of ONNX Runtime; default: the CPU.
    """

    def __init__(self, folder, providers=("CPUExecutionProvider",)):
        self.folder, self.providers = Path(folder), list(providers)
        self.config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        self.head = self._session("head.onnx")
        self._towers: dict = {}

    def _session(self, name: str) -> onnxruntime.InferenceSession:
        path = self.folder / name
        if not path.is_file():
            raise FileNotFoundError(f"there is no {name} in {self.folder}; export the model with its towers.")
        return onnxruntime.InferenceSession(str(path), providers=self.providers)

    def embed(self, modality: str, inputs) -> np.ndarray:
        """Return the embeddings (T, D) of frames (`pixel_values`) or sound windows (`input_features`) of one clip.

        Args:
            modality: "vision" or "audio".
            inputs: (T, ...), as the processor of the model returns them.
        """
        name, field = STREAMS[modality]
        if modality not in self._towers:
            self._towers[modality] = self._session(name)
        return self._towers[modality].run(None, {field: np.asarray(inputs, dtype=np.float32)})[0]

    def logits(self, **inputs) -> list[np.ndarray]:
        """Return the logits (B, C), and of SemanticMAC those of its sub-tasks S, T, A, V (B, 4, C).

        Args:
            inputs: arrays by their names: `input_ids`, `attention_mask` (B, L), `token_type_ids` where the tokenizer
                has them, `audio_embeds` (B, T, D), `audio_mask` (B, T), `vision_embeds`, `vision_mask`. A modality that
                is left out is missing.

        Raises:
            ValueError: an unknown name, or nothing at all.
        """
        known = {entry.name: entry for entry in self.head.get_inputs()}
        if unknown := sorted(set(inputs) - set(known)) or not inputs:
            found = unknown[0] if inputs else "nothing"
            raise ValueError(f"the inputs have {found!r}; expected some of {', '.join(known)}.")
        clips = len(next(iter(inputs.values())))
        full = {}
        for name, entry in known.items():
            value = inputs.get(name)
            if value is None:
                value = np.zeros(self._empty_shape(name, entry, clips, inputs))
            full[name] = np.asarray(value, dtype=TYPES[entry.type])
        return self.head.run(None, full)

    def _empty_shape(self, name: str, entry, clips: int, inputs: dict) -> tuple[int, ...]:
        """Return the shape of an input that is left out: that of its stream, or of a missing one."""
        if name == "token_type_ids" and "input_ids" in inputs:
            return np.asarray(inputs["input_ids"]).shape
        length = 2 if name in ("input_ids", "attention_mask", "token_type_ids") else 1
        return (clips, length, *entry.shape[2:])

    def __call__(self, **inputs) -> list[dict]:
        """Return the result of each clip: `score`, or `label` and `probabilities`, or `labels` and `probabilities`.

        They are those of the pipeline, with its thresholds and temperature. The arguments are those of `logits`.
        """
        logits = self.logits(**inputs)[0].astype(np.float64)
        kind = self.config["problem_type"]
        if kind == "regression":
            return [{"score": float(row[0])} for row in logits]
        names = [name for _, name in sorted((int(i), name) for i, name in self.config["id2label"].items())]
        if kind == "multi_label_classification":
            shares = 1 / (1 + np.exp(-logits))
            least = self.config.get("label_thresholds") or [0.5] * len(names)
            return [
                {"labels": [n for n, s, t in zip(names, row, least) if s > t], "probabilities": dict(zip(names, row))}
                for row in shares.tolist()
            ]
        scaled = logits / (self.config.get("calibration") or {}).get("temperature", 1.0)
        shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return [
            {"label": names[int(np.argmax(row))], "score": max(row), "probabilities": dict(zip(names, row))}
            for row in shares.tolist()
        ]


__all__ = ["OnnxPredictor"]
