"""Fixtures of the page: clips, and the page served in this process."""

import socket
import threading
import time

import pytest

from tests.helpers.media_files import HEVC, tone, write_media

SUBTITLES = "1\n00:00:00,000 --> 00:00:03,000\na good film\n\n2\n00:00:03,500 --> 00:00:07,500\na bad day\n"


@pytest.fixture(scope="package")
def clips(tmp_path_factory):
    """Files of 3 and 8 s, a sound file, one in HEVC, and subtitles of 8 s."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "words.srt").write_text(SUBTITLES)
    return {
        "short": str(write_media(folder / "short.mp4", 3.0, sound=tone(300))),
        "long": str(write_media(folder / "long.mp4", 8.0)),
        "sound": str(write_media(folder / "voice.wav", 3.0, picture=None, sound_codec="pcm_s16le")),
        "hevc": str(write_media(folder / "phone.mov", 1.0, **HEVC)),
        "words": str(folder / "words.srt"),
    }


@pytest.fixture(scope="package")
def served(pipe, tmp_path_factory):
    """The address of the page, served in this process, and its folder of uploads.

    Clips of more than 5 s are long ones, and their segments have 2 s where there is no speech.
    """
    pytest.importorskip("gradio", reason="the page needs gradio: pip install -e .[app]")
    uvicorn = pytest.importorskip("uvicorn")
    from modeling_semanticmac.page import analysis
    from modeling_semanticmac.page.server import create_page_application

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("uploads")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setattr(analysis, "LONG_SECONDS", 5.0)
        patch.setattr(analysis, "WINDOW_SECONDS", 2.0)
        listener = socket.create_server(("127.0.0.1", 0))
        application = create_page_application(pipe)
        server = uvicorn.Server(uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
            assert thread.is_alive()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", folder
        server.should_exit = True
        thread.join(20)
