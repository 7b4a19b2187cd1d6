"""`semanticmac serve`: predictions over HTTP."""

import argparse
import os
from collections.abc import Sequence

from transformers.utils import logging

from .model_loading import add_model_arguments, load_pipeline

TOKEN = "SEMANTICMAC_TOKEN"  # environment variable: an argument would be seen in the list of processes

EXAMPLES = f"""examples:
  semanticmac serve --model RUN
  {TOKEN}=... semanticmac serve --model RUN --host 0.0.0.0 --port 8000
  curl -F file=@clip.mp4 -F text="I did not expect that." http://127.0.0.1:8000/v1/predict
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="semanticmac serve",
        description="Serve a model over HTTP: POST /v1/predict and /v1/timeline, web socket /v1/stream, GET /health, "
        "/metrics and /docs. Uploads are kept in memory only. With the environment variable "
        f"{TOKEN}, clients must send that token.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_arguments(parser)
    parser.set_defaults(batch_size=16)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s: this machine)")
    parser.add_argument("--port", type=int, default=8000, help="default %(default)s")
    parser.add_argument("--wait_ms", type=float, default=10.0, help="how long a batch waits for more (default 10)")
    parser.add_argument("--max_waiting", type=int, default=64, help="requests that may wait (default %(default)s)")
    parser.add_argument("--max_megabytes", type=float, default=100.0, help="of an upload (default %(default)g)")
    parser.add_argument("--max_seconds", type=float, default=60.0, help="of a clip (default %(default)g)")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for a result (default %(default)g)")
    parser.add_argument("--allow_download", action="store_true", help="let clients name http(s) addresses")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; requests that arrived are answered first.

    Raises:
        ValueError: there is no such model or device.
    """
    args = build_parser().parse_args(argv)
    import uvicorn

    from ..hub.responsible_use import NOTICE
    from ..serving.application import ServerOptions, create_application

    logging.disable_progress_bar()  # of loading weights
    pipe = load_pipeline(args.model, args.device, args.dtype)
    pipe.load_encoders(args.modalities)
    options = ServerOptions(
        args.batch_size,
        args.wait_ms / 1000,
        args.max_waiting,
        int(args.max_megabytes * 1e6),
        args.max_seconds,
        args.timeout,
        os.environ.get(TOKEN) or None,
        args.allow_download,
        modalities=tuple(args.modalities),
    )
    print(NOTICE)
    uvicorn.run(create_application(pipe, options), host=args.host, port=args.port, log_level="info")
    return 0


__all__ = ["build_parser", "main"]
