"""A Trainer that saves safetensors and JSON only, and pushes the files that others can use."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import CONFIG_NAME

from ..files.atomic_files import move_entries, write_json
from ..files.secrets import hide_secrets
from .model_card import write_model_card
from .upload import push_run

SAVING = ".saving"  # folder of a model that is being written


class SavingTrainer(Trainer):
    """Trainer with this package's way of saving and pushing only; training lives in `SemanticMACTrainer`."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Write the model beside its place and move it there, so that a killed process leaves no half of it."""
        if not self.args.should_save:  # the library calls this in every process
            super()._save(output_dir, state_dict)
            return
        folder = Path(output_dir if output_dir is not None else str(self.args.output_dir))
        unfinished = folder / SAVING
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        try:
            super()._save(str(unfinished), state_dict)
            # The library pickles the arguments; a checkpoint here is safetensors and JSON, which anyone may open.
            (unfinished / "training_args.bin").unlink()
            write_json(unfinished / "training_args.json", hide_secrets(self.args.to_sanitized_dict()))
            move_entries(unfinished, folder, last=CONFIG_NAME)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model as the library does, but without pushing: the model card needs results that come later."""
        super().save_model(output_dir, _internal_call=True)

    def save_metrics(self, split: str, metrics: dict[str, float], combined: bool = True) -> None:
        """Write `<split>_results.json` and add the figures to `all_results.json`; undefined figures are null.

        Args:
            split: "train", "eval", "test" or "all".
            metrics: name -> figure.
            combined: whether to add the figures to `all_results.json`.
        """
        if not self.is_world_process_zero():
            return
        folder = str(self.args.output_dir)
        write_json(os.path.join(folder, f"{split}_results.json"), metrics)
        if combined:
            path = os.path.join(folder, "all_results.json")
            before = {}
            if os.path.isfile(path):
                with open(path, encoding="utf-8") as file:
                    before = json.load(file)
            write_json(path, {**before, **metrics})

    def save_state(self) -> None:
        """Write `trainer_state.json`; undefined figures of the log are null, as JSON has no NaN."""
        if self.is_world_process_zero():
            write_json(os.path.join(str(self.args.output_dir), TRAINER_STATE_NAME), asdict(self.state))

    def create_model_card(self, model_name: str | None = None, **kwargs) -> None:  # type: ignore[override]
        """Write `README.md` from the files of the run; the arguments for the library's own draft are not used."""
        if self.is_world_process_zero():
            folder = str(self.args.output_dir)
            name = self.hub_model_id or self.args.hub_model_id or model_name or os.path.basename(folder)
            write_model_card(folder, name)

    def push_to_hub(
        self, commit_message: str | None = "End of training", blocking: bool = True, token: str | None = None,
        revision: str | None = None, private: bool | None = None, **kwargs,
    ):  # fmt: skip
        """Save the model and push the run by `push_run`; the library would upload the whole folder, with embeddings and
        predictions.

        Args:
            commit_message: subject line of the commit.
            token: access token of the Hub; None: `hub_token`, or the one of `hf auth login`.
            revision: branch; None: `hub_revision`.
            private: whether a new repository is visible to you only.
            blocking, kwargs: arguments of the library's method without effect; the upload is always waited for.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        token = token if token is not None else self.args.hub_token
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        self.save_model()
        if not self.is_world_process_zero():
            return None
        revision = revision if revision is not None else self.args.hub_revision
        return push_run(
            str(self.args.output_dir),
            str(self.hub_model_id),
            token=token,
            revision=revision,
            commit_message=commit_message or "End of training",
        )


__all__ = ["SavingTrainer"]
