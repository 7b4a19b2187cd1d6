"""A Trainer that saves safetensors and JSON only, and pushes what others can use."""

import os

from transformers import Trainer

from ..files.atomic_files import write_json
from ..files.secrets import hide_secrets
from .model_card import write_model_card
from .upload import push_run


class SavingTrainer(Trainer):
    """What the library's Trainer leaves on disk and on the Hub, as this package has it; how to learn is no matter here."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            # The library pickles the arguments; a checkpoint here is safetensors and JSON, which anyone may open.
            folder = output_dir if output_dir is not None else self.args.output_dir
            os.remove(os.path.join(folder, "training_args.bin"))
            write_json(os.path.join(folder, "training_args.json"), hide_secrets(self.args.to_sanitized_dict()))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As in the library, which would also push here: before there are results to put into the card."""
        super().save_model(output_dir, _internal_call=True)

    def create_model_card(self, model_name: str | None = None, **kwargs) -> None:
        """Write `README.md` from what the run left in its folder; the library's arguments for its own draft are not used."""
        if self.is_world_process_zero():
            name = self.hub_model_id or self.args.hub_model_id or model_name or os.path.basename(self.args.output_dir)
            write_model_card(self.args.output_dir, name)

    def push_to_hub(
        self, commit_message: str | None = "End of training", blocking: bool = True, token: str | None = None,
        revision: str | None = None, private: bool | None = None, **kwargs,
    ):  # fmt: skip
        """Save the model and push the run as `hub_upload.push_run` does: the library would upload the whole folder, embeddings and predictions with it.

        Args:
            blocking, kwargs: of the library's method; the upload is always waited for, the card is made from the run.
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
            self.args.output_dir, self.hub_model_id, token=token, revision=revision, commit_message=commit_message or "End of training"
        )  # fmt: skip


__all__ = ["SavingTrainer"]
