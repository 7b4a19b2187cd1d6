"""The command `semanticmac`: one door to everything that the package does.

semanticmac predict clip.mp4 --model RUN --text "I did not expect that."
semanticmac train mosi_sentiment_bert --data_dir MOSI --output_dir RUN

This module imports nothing heavy, so that `semanticmac --help` answers at once; torch is imported with the sub-command
that needs it. The library is `modeling_semanticmac`.
"""

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

EPILOG = """examples:
  semanticmac predict clip.mp4 --model RUN --text "I did not expect that."
  semanticmac timeline talk.mp4 --model RUN --transcript talk.srt --output_dir out
  semanticmac train mosi_sentiment_bert --data_dir MOSI --output_dir RUN --vision_encoder NAME --audio_encoder NAME
  semanticmac compare RUN_A RUN_B

A model is the folder of a run, or a name on the Hub. `semanticmac COMMAND --help` lists the arguments of a command.
"""
OWN_PACKAGES = ("modeling_semanticmac", "datasets_scripts", "semanticmac")


@dataclass(frozen=True)
class Command:
    """A sub-command.

    Args:
        help: what it does, in a few words.
        target: `module:function`, called with the list of arguments; it returns the exit code.
        extra: extra of the package that holds its dependencies; None: a plain install has them.
        hides_tracebacks: whether every `ValueError`, `OSError` and `RuntimeError` is printed as a sentence. Otherwise
            only those that this package raises are; the others keep their traceback.
    """

    help: str
    target: str
    extra: str | None = None
    hides_tracebacks: bool = False


COMMANDS = {
    "predict": Command(
        "predict videos, sound files or text", "modeling_semanticmac.commands.predict:main", "analysis", True
    ),
    "timeline": Command(
        "predict a long video segment by segment", "modeling_semanticmac.commands.timeline:main", "analysis", True
    ),
    "serve": Command("serve predictions over HTTP", "modeling_semanticmac.commands.serve:main", "serve", True),
    "app": Command(
        "serve a page: drop a clip, see the prediction, or live", "modeling_semanticmac.commands.app:main", "app", True
    ),
    "live": Command(
        "predict a camera and a microphone while they record", "modeling_semanticmac.commands.live:main", None, True
    ),
    "export": Command(
        "write a model as graphs (ONNX, torch.export)", "modeling_semanticmac.commands.export:main", "export", True
    ),
    "space": Command("write the folder of a Space", "modeling_semanticmac.commands.space:main", "app", True),
    "endpoint": Command(
        "write the repository of an Inference Endpoint", "modeling_semanticmac.commands.endpoint:main", "train", True
    ),
    "info": Command("describe a model", "modeling_semanticmac.commands.info:main", None, True),
    "train": Command(
        "train, evaluate and test on a corpus, or search hyperparameters",
        "modeling_semanticmac.commands.train:run",
        "train",
    ),
    "recipes": Command(
        "list the recipes and search spaces of the package", "modeling_semanticmac.commands.recipes:main", "train"
    ),
    "embed": Command(
        "encode the clips of a corpus or a folder once", "modeling_semanticmac.commands.embed:main", "train"
    ),
    "features": Command(
        "import or describe files of precomputed features", "modeling_semanticmac.commands.features:main", None, True
    ),
    "store": Command("verify an embedding store", "modeling_semanticmac.embedding_store.verification:main", None, True),
    "benchmark": Command(
        "compare systems over settings, folds and seeds", "modeling_semanticmac.commands.benchmark:main", "train"
    ),
    "report": Command("write the report of a run again", "modeling_semanticmac.report.page:main", "train"),
    "compare": Command(
        "compare runs, with bootstrap intervals", "modeling_semanticmac.report.page:compare_main", "train"
    ),
    "calibrate": Command(
        "say how sure the predictions of a run are", "modeling_semanticmac.commands.calibrate:main", "train"
    ),
    "groups": Command(
        "compare how well a run does for groups of clips", "modeling_semanticmac.commands.groups:main", "train"
    ),
    "card": Command("write the model card of a run", "modeling_semanticmac.hub.model_card:main", "train"),
    "push": Command("upload a run to the Hub", "modeling_semanticmac.hub.upload:main", "train"),
    "merge": Command(
        "add an adapter (LoRA) into its language model", "modeling_semanticmac.commands.merge:main", "lora"
    ),
    "convert": Command(
        "convert the official ImageBind checkpoint", "modeling_semanticmac.convert_imagebind.convert:main"
    ),
    "corpus": Command("check, prepare or render a corpus", "datasets_scripts.__main__:main"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the name of the sub-command; the rest of the command line belongs to the sub-command."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{command.help}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="semanticmac",
        usage="semanticmac COMMAND ...",
        description="Sentiment, emotion, humour and sarcasm of people who speak in videos.\n\ncommands:\n" + commands,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command.

    Args:
        argv: the command line without the name of the program; None: that of this process.

    Returns:
        0; 1 where the command failed, with one sentence on standard error; 130 after Ctrl-C. Wrong usage exits with 2,
        as argparse does.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser()
    args = parser.parse_args(argv[:1])
    if args.version:
        from modeling_semanticmac import __version__

        print(f"semanticmac {__version__}")
        return 0
    if args.command not in COMMANDS:
        found = "there is no COMMAND" if args.command is None else f"unknown COMMAND {args.command!r}"
        near = difflib.get_close_matches(args.command or "", COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        parser.error(f"{found}{hint}; expected one of {', '.join(COMMANDS)}")
    for stream in (sys.stdout, sys.stderr):  # file names may hold characters that the terminal cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return run_command(args.command, argv[1:])


def run_command(name: str, argv: Sequence[str]) -> int:
    """Run a sub-command with its arguments and return the exit code; errors become a sentence on standard error."""
    command = COMMANDS[name]
    module, _, function = command.target.partition(":")
    try:
        code = getattr(importlib.import_module(module), function)(list(argv))
        sys.stdout.flush()  # a closed pipe is noticed here, not at the end of the interpreter
        return code or 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at the end
        return 1
    except KeyboardInterrupt:
        print("semanticmac: interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in OWN_PACKAGES:
            raise
        extra = f"pip install 'semanticmac[{command.extra}]'" if command.extra else f"pip install {error.name}"
        print(f"semanticmac {name}: {error.name} is not installed; run {extra}.", file=sys.stderr)
        return 1
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if not command.hides_tracebacks and not raised_by_package(error):
            raise
        print(f"semanticmac: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def raised_by_package(error: BaseException) -> bool:
    """Return whether an error was raised by a line of this package, and not inside a library that it called."""
    frame = error.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    return frame.tb_frame.f_globals.get("__name__", "").split(".")[0] in OWN_PACKAGES


if __name__ == "__main__":
    raise SystemExit(main())
