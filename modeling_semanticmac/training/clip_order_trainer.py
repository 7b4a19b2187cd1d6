"""A Trainer whose batches hold clips of similar length, in an order that a resumed run and several processes repeat."""

from transformers import EvalPrediction

from .checkpointing_trainer import CheckpointingTrainer
from .clip_order import LengthGrouped, WholeBatches, clip_lengths, in_clip_order, longest_first


class ClipOrderTrainer(CheckpointingTrainer):
    """Groups clips by length in training with `train_sampling_strategy="group_by_length"`, and always in evaluation.

    Predictions, labels and the metrics made from them are in the order of the clips.
    """

    def __init__(self, *args, **kwargs) -> None:
        self._lengths: dict[str, list[int]] = {}  # by fingerprint of the dataset
        super().__init__(*args, **kwargs)

    def _lengths_of(self, clips) -> list[int]:
        """Return the lengths of clips, counted once for each dataset."""
        fingerprint = clips._fingerprint
        if fingerprint not in self._lengths:
            self._lengths[fingerprint] = clip_lengths(clips, self.data_collator)
        return self._lengths[fingerprint]

    def _get_train_sampler(self, train_dataset=None):
        clips = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length" or clips is None:
            return super()._get_train_sampler(train_dataset)
        args = self.args
        seed = args.seed if args.data_seed is None else args.data_seed
        batch_size = self._train_batch_size * args.world_size
        return LengthGrouped(self._lengths_of(clips), batch_size, seed, lambda: int(self.state.epoch or 0))

    def _evaluation_order(self, clips) -> list[int]:
        if self.args.batch_eval_metrics or not self.args.eval_do_concat_batches:
            return list(range(len(clips)))  # batches are handed over one by one
        return longest_first(self._lengths_of(clips))

    def _get_eval_sampler(self, eval_dataset):
        return WholeBatches(self._evaluation_order(eval_dataset), self.args.eval_batch_size)

    def evaluation_loop(self, dataloader, *args, **kwargs):
        """Evaluate as the library does; predictions, labels and metrics are those in the order of the clips."""
        order = self._evaluation_order(dataloader.dataset)
        if order == sorted(order):
            return super().evaluation_loop(dataloader, *args, **kwargs)
        compute_metrics = self.compute_metrics

        def in_order(prediction: EvalPrediction):
            names = ("predictions", "label_ids", "inputs")
            found = {name: in_clip_order(getattr(prediction, name), order) for name in names}
            return compute_metrics(EvalPrediction(**found, losses=prediction.losses))

        self.compute_metrics = in_order if compute_metrics is not None else None
        try:
            found = super().evaluation_loop(dataloader, *args, **kwargs)
        finally:
            self.compute_metrics = compute_metrics
        return found._replace(
            predictions=in_clip_order(found.predictions, order), label_ids=in_clip_order(found.label_ids, order)
        )


__all__ = ["ClipOrderTrainer"]
