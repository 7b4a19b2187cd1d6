"""Serving the page: its application with the web socket of the live tab, and the address to listen on."""

import os
import socket
import threading

import gradio as gr
import uvicorn
from fastapi import FastAPI

from ..pipeline_semanticmac import SemanticMACPipeline
from .analysis import Limits
from .layout import STYLE, build_page
from .live_tab import add_live_socket

FIRST_PORT, PORTS = 7860, 100  # tried one after the other
ENDING_SECONDS = 3  # for open connections, at the end


def create_page_application(pipe: SemanticMACPipeline, limits: Limits | None = None) -> FastAPI:
    """Return the application that serves the page of a pipeline."""
    limits = limits or Limits()
    lock = threading.Lock()
    app = FastAPI(openapi_url=None)
    add_live_socket(app, pipe, lock)
    page = build_page(pipe, limits, lock)
    page.queue(max_size=20)
    return gr.mount_gradio_app(
        app, page, path="/", max_file_size=f"{limits.megabytes}mb", show_error=True, footer_links=[], css_paths=STYLE
    )


def serve_page(pipe: SemanticMACPipeline, limits: Limits, host: str | None = None, port: int | None = None) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        pipe: the pipeline.
        limits: of what the page accepts.
        host: address to listen on; None: GRADIO_SERVER_NAME, which a Space sets, or this machine only.
        port: None: GRADIO_SERVER_PORT, or the first free one from 7860 on.

    Raises:
        OSError: no port is free, or the address is not of this machine.
    """
    host = host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    port = port if port is not None else int(os.environ.get("GRADIO_SERVER_PORT") or 0) or None
    listener = listening_socket(host, port)
    app = create_page_application(pipe, limits)
    print(f"The page is at http://{host}:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=ENDING_SECONDS)
    uvicorn.Server(config).run(sockets=[listener])


def listening_socket(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on a port, or on the first free one.

    Raises:
        OSError: none is free.
    """
    ports = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,)
    for number in ports:
        try:
            return socket.create_server((host, number))
        except OSError as error:
            if number == ports[-1]:
                raise OSError(f"--port {number} of {host} cannot be used: {error.strerror}.") from error
    raise AssertionError("there is always a last port")


__all__ = ["create_page_application", "serve_page"]
