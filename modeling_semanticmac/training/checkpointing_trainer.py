"""A Trainer whose checkpoints are whole or absent, and from which a run resumes exactly or not at all."""

import shutil
from dataclasses import asdict
from pathlib import Path

from transformers.trainer import SCALER_NAME, TRAINER_STATE_NAME

from ..files.atomic_files import write_json
from ..hub.saving_trainer import SavingTrainer
from .checkpoints import (
    UNFINISHED,
    check_checkpoint,
    check_parallelism,
    move_into_place,
    requested_checkpoint,
    rotate_checkpoints,
)


class CheckpointingTrainer(SavingTrainer):
    """Saves each checkpoint under a temporary name, renames it, and resumes only from a whole one.

    What a checkpoint holds beside the library's files is written by `_save_optimizer_and_scheduler`, before the rename.
    """

    def __init__(self, *args, **kwargs) -> None:
        self._unfinished: Path | None = None  # set while a checkpoint is saved
        super().__init__(*args, **kwargs)

    def train(self, resume_from_checkpoint: str | bool | None = None, trial=None, ignore_keys_for_eval=None):
        """Train as the library does; resume only from a whole checkpoint.

        Args:
            resume_from_checkpoint: folder of a checkpoint; "last" or True for the newest whole one in the output
                folder.
            trial, ignore_keys_for_eval: as in the library.

        Raises:
            FileNotFoundError: the checkpoint, or a part of it, is absent.
            ValueError: the checkpoint is damaged, or was saved by another number of processes or another kind of
                parallelism.
        """
        checkpoint = requested_checkpoint(resume_from_checkpoint, str(self.args.output_dir))
        if checkpoint is not None:
            check_checkpoint(checkpoint, self.args.world_size)
            check_parallelism(checkpoint, bool(self.is_fsdp_enabled))
            if getattr(self.accelerator, "scaler", None) is not None and not Path(checkpoint, SCALER_NAME).is_file():
                raise FileNotFoundError(
                    f"{checkpoint} cannot be resumed exactly: no {SCALER_NAME}, which a run with --fp16 needs. Resume "
                    "with the precision of the run that saved it, or start a new run from its weights with "
                    "--model_name_or_path."
                )
        return super().train(resume_from_checkpoint=checkpoint, trial=trial, ignore_keys_for_eval=ignore_keys_for_eval)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._load_adapter(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self._load_adapter(str(self.state.best_model_checkpoint))

    def _load_adapter(self, checkpoint: str) -> None:
        """Load the adapters of a language model and of towers from a checkpoint, which the library does not know."""
        model = self.accelerator.unwrap_model(self.model)
        for name in ("load_adapter_of", "load_encoder_adapters_of"):
            load = getattr(model, name, None)
            if load is not None:
                load(checkpoint)

    def _get_output_dir(self, trial) -> str:
        return str(self._unfinished) if self._unfinished is not None else super()._get_output_dir(trial)

    def _save_checkpoint(self, model, trial) -> None:
        """Let the library write the checkpoint into `.unfinished`, complete it, and rename it when every process has
        written its part.
        """
        folder = Path(self._get_output_dir(trial))
        name = f"checkpoint-{self.state.global_step}"
        unfinished = folder / UNFINISHED
        if self.args.should_save:
            shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        self.accelerator.wait_for_everyone()
        self._unfinished = unfinished
        try:
            super()._save_checkpoint(model, trial)
            self._keep_best_path(folder)
            if self.args.should_save:
                write_json(unfinished / name / TRAINER_STATE_NAME, asdict(self.state))
        except BaseException:  # a full disk, an interrupt: what was written is of no use and takes space
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        finally:
            self._unfinished = None
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            move_into_place(unfinished / name, folder / name)
            rotate_checkpoints(
                folder, self.state.global_step, self.state.best_model_checkpoint, self.args.save_total_limit
            )
        self.accelerator.wait_for_everyone()
        if self.args.local_process_index == 0:  # on a node that does not save, also the random states of its processes
            shutil.rmtree(unfinished, ignore_errors=True)

    def _keep_best_path(self, folder: Path) -> None:
        """Name the best checkpoint by the place that it has after the rename."""
        step = self.state.best_global_step
        best = folder / f"checkpoint-{step}"
        if step and (step == self.state.global_step or best.is_dir()):
            self.state.best_model_checkpoint = str(best)


__all__ = ["CheckpointingTrainer"]
