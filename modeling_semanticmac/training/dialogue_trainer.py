"""The Trainer of systems that read the utterances of a dialogue together."""

from typing import Any, cast

import datasets
import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import EvalPrediction
from transformers.trainer_utils import EvalLoopOutput

from ..baselines.dialogue_data import DialogueCollator, clips_of, dialogues_of
from ..baselines.dialogue_encoding import UTTERANCES_PER_CHUNK, labelled, utterance_losses
from .affect_trainer import AffectTrainer, Loss, main_logits
from .modality_dropout import kept_modalities
from .scaling_statistics import fit_input_scaling
from .trainer_inputs import check_clips, check_model


class DialogueTrainer(AffectTrainer):
    """Trainer for a system that reads dialogues: a sample is a dialogue, and every utterance has a label.

    Clips are given as to every Trainer; those with one `video_id` are a dialogue. The loss of a batch is the mean over
    its utterances, with class weights the weighted mean. The language model is frozen: it reads each text once, before
    the first epoch. Predictions, metrics and the loss on validation and test are of clips, in their order.

    Args:
        data_collator: a `SemanticMACCollator`, of which a `DialogueCollator` is made, or one of these; None: as in
            `AffectTrainer`.
        others: as in `AffectTrainer`.
    """

    data_collator: DialogueCollator

    def __init__(
        self, model, args=None, train_dataset=None, eval_dataset=None, data_collator=None, processing_class=None,
        **kwargs,
    ):  # fmt: skip
        check_model(model, self.model_type)
        check_clips(train_dataset, "train_dataset")
        check_clips(eval_dataset, "eval_dataset")
        self._longest = model.fusion.options.max_utterances
        if isinstance(eval_dataset, dict):
            eval_dataset = {name: self._dialogues(clips) for name, clips in eval_dataset.items()}
        else:
            eval_dataset = self._dialogues(eval_dataset)
        super().__init__(
            model, args, self._dialogues(train_dataset), eval_dataset, data_collator, processing_class, **kwargs
        )
        given = self.data_collator
        if not isinstance(given, DialogueCollator):
            self.data_collator = DialogueCollator(given)

    def _dialogues(self, clips: datasets.Dataset | None) -> datasets.Dataset | None:
        """Return clips as dialogues; what is None, or holds dialogues already, stays as it is."""
        return clips if clips is None or "clip_ids" in clips.column_names else dialogues_of(clips, self._longest)

    def _encode_media(self, clips) -> None:
        """Encode the media of dialogues for the default collator."""
        if self._embeddings_dir is not None and clips is not None:
            super()._encode_media(clips_of(clips))

    def _fit_input_scaling(self) -> None:
        """Compute what the model needs to standardise the embeddings of the training utterances."""
        fit_input_scaling(self.model, clips_of(cast(datasets.Dataset, self.train_dataset)), self.data_collator.clips)

    def training_labels(self) -> torch.Tensor:
        """Return the labels of all training utterances, (N,) or (N, C)."""
        dialogues = cast(datasets.Dataset, self.train_dataset)
        return torch.as_tensor(np.asarray([label for labels in dialogues["label"] for label in labels]))

    def get_train_dataloader(self):
        """Return the batches of training dialogues; their texts are read first."""
        self.read_texts(self.train_dataset)
        return super().get_train_dataloader()

    def get_eval_dataloader(self, eval_dataset=None):
        """Return the batches of validation dialogues; their texts are read first."""
        own: Any = self.eval_dataset
        if eval_dataset is None or isinstance(eval_dataset, str):
            dialogues = own if eval_dataset is None else own[eval_dataset]
        else:
            dialogues = self._dialogues(eval_dataset)
        self.read_texts(dialogues)
        return super().get_eval_dataloader(dialogues)

    def get_test_dataloader(self, test_dataset):
        """Return the batches of test dialogues; their texts are read first."""
        dialogues = self._dialogues(test_dataset)
        self.read_texts(dialogues)
        return super().get_test_dataloader(dialogues)

    @torch.no_grad()
    def read_texts(self, dialogues: datasets.Dataset) -> None:
        """Let the language model read the texts of dialogues that it has not read yet, in order of their length."""
        collator = self.data_collator
        if "text" not in collator.modalities:
            return
        known, width = collator.text_vectors, self.model.config.get_text_config().hidden_size
        utterances = (pair for row in dialogues for pair in zip(row["clip_ids"], row["text"]))
        unread = {collator.text_key(*pair): pair for pair in utterances}
        unread = {key: unread[key] for key in sorted(unread.keys() - known.keys(), key=lambda key: (len(key), key))}
        known.update((key, torch.zeros(width)) for key, pair in unread.items() if not collator.has_words(*pair))
        rows = [(key, {"id": pair[0], "text": pair[1]}) for key, pair in unread.items() if key not in known]
        chunks = range(0, len(rows), UTTERANCES_PER_CHUNK)
        for start in tqdm(chunks, desc="Reading texts", disable=self.args.disable_tqdm):
            keys, chunk = zip(*rows[start : start + UTTERANCES_PER_CHUNK])
            tokens = {name: ids.to(self.args.device) for name, ids in collator.clips.text_tokens(chunk).items()}
            known.update(zip(keys, self.model.encode(**tokens).text_vector.float().cpu()))

    def training_loss(self, model, batch: dict[str, torch.Tensor], clip_index: torch.Tensor) -> Loss:
        """Return the mean loss of the utterances of a batch of all processes, as this process's share."""
        labels = batch["labels"]
        output = model(**self._drop_modalities(batch))
        _, counts, _ = self.count_clips(clip_index)  # (G,)
        own = counts[self.args.process_index * len(labels) :][: len(labels)]  # (D,)
        weight = (own[:, None] & labelled(labels)).float()  # (D, U)
        each = utterance_losses(output.logits, labels, self.task, self.args.regression_loss, self.class_weight)
        total = weight
        if self.class_weight is not None and not self.task.is_multi_label:
            total = weight * self.class_weight[labels.clamp(min=0)]  # `each` has these weights already
        everyone = self.accelerator.gather(total.sum()[None]).sum()
        loss = (each * weight).sum() * self.args.world_size / everyone.clamp(min=1e-8)
        parts = {"M": loss, **(output.losses or {})}
        return Loss(torch.stack(list(parts.values())).sum(), parts, output)

    def _drop_modalities(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the batch with modalities that utterances lack at random, never all of them."""
        if not self.args.modality_dropout:
            return batch
        mask, valid = batch["modality_mask"].clone(), batch["dialogue_mask"]
        mask[valid] &= kept_modalities(mask[valid], self.args.modality_dropout)
        return {**batch, "modality_mask": mask}

    def per_clip(self, found: EvalLoopOutput, dialogues) -> EvalLoopOutput:
        """Return predictions and labels of clips in their order, from those of padded dialogues."""
        logits, labels = _of_utterances(found.predictions, found.label_ids)
        rows = np.concatenate([np.asarray(numbers) for numbers in dialogues["clip_rows"]])
        order = np.argsort(rows)
        return found._replace(predictions=logits[order], label_ids=labels[order], num_samples=len(rows))

    def _compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        logits, labels = _of_utterances(prediction.predictions, prediction.label_ids)
        return super()._compute_metrics(EvalPrediction(logits, labels))


def _of_utterances(predictions, label_ids) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (N, C) and labels (N,) or (N, C) of the utterances of padded dialogues."""
    counted = labelled(torch.as_tensor(label_ids))
    return main_logits(predictions)[counted].numpy(), label_ids[counted.numpy()]


__all__ = ["DialogueTrainer"]
