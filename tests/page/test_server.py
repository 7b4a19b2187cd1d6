"""The served page, by gradio's client and as a process: it answers, refuses, and keeps nothing."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from semanticmac import main
from tests.helpers.project import PROJECT

gradio_client = pytest.importorskip("gradio_client", reason="the page needs gradio: pip install -e .[app]")


def visitor(address, folder):
    return gradio_client.Client(address, verbose=False, download_files=str(folder))


@pytest.fixture
def fields(pipe):
    """The fields of a page whose requests are made by hand."""
    from modeling_semanticmac.page.layout import ClipFields, Limits
    from modeling_semanticmac.page.uploads import Uploads

    return ClipFields(pipe, Limits(), Uploads(), contextlib.nullcontext())


def test_two_visitors_of_one_clip_take_nothing_from_each_other(fields, clips, tmp_path):
    one, two = (types.SimpleNamespace(session_hash=name) for name in ("one", "two"))
    path = str(tmp_path / "hash" / "short.mp4")
    Path(path).parent.mkdir()
    shutil.copy(clips["short"], path)
    for request in (one, two):
        note, result, other, *_ = fields.arrive(path, False, request)
        assert "3.0 s, picture and sound." in note and "appears here" in result and other is None
    first = fields.predict(path, None, "good day", None, one)
    fields.forget(one)
    assert fields.predict(path, None, "good day", None, two) == first
    fields.forget(two)
    assert not Path(path).parent.exists()
    with pytest.raises(Exception, match="uploads are deleted after half an hour") as error:
        fields.predict(path, None, "good day", None, two)
    assert str(tmp_path) not in str(error.value)


def test_an_example_fills_the_fields_and_is_not_deleted(fields):
    for number in (0, 1):
        path, sound, words, subtitles, note, result, done = fields.example(number)
        assert "appears here" in result and done
        assert "picture and sound" in note and "wonderful" in words and sound is subtitles is None
        request = types.SimpleNamespace(session_hash="one")
        html, done = fields.predict(path, sound, words, subtitles, request)
        assert "Made from: words, voice, picture." in html and done


def test_what_cannot_be_predicted_is_a_sentence_without_folders(served, tmp_path):
    address, uploads = served
    client = visitor(address, tmp_path)
    with pytest.raises(gradio_client.exceptions.AppError, match="neither a clip nor text"):
        client.predict(None, None, "", None, api_name="/predict")
    (tmp_path / "words.mp4").write_text("no video")
    with pytest.raises(gradio_client.exceptions.AppError, match="words.mp4: .*not a video") as error:
        client.predict(gradio_client.handle_file(str(tmp_path / "words.mp4")), None, "", None, api_name="/predict")
    assert str(uploads) not in str(error.value)
    client.close()


def test_the_command_serves_and_removes_its_folder(world, clips, tmp_path):
    """Start the process as a user does, ask it, and end it with SIGTERM while a visitor is there."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "NO_PROXY": "127.0.0.1", "MODEL": str(world["run"])}
    command = [sys.executable, str(PROJECT / "examples/app.py"), "--device", "cpu"]
    with (
        open(tmp_path / "log", "w+") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env={**environment, "PYTHONPATH": str(PROJECT)}) as server,
    ):
        try:
            address = _address(tmp_path / "log", server)
            client = visitor(address, tmp_path / "answer")
            html = client.predict(gradio_client.handle_file(clips["sound"]), None, "", None, api_name="/predict")
            assert "Made from: voice." in html
            assert list(tmp_path.glob("semanticmac-app-*"))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    assert server.returncode == 0
    assert not list(tmp_path.glob("semanticmac-*"))


def _address(log: Path, server) -> str:
    for _ in range(600):
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1"):
                return word
        assert server.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError("the page did not start within 120 s")


def test_a_port_that_is_taken_is_said_and_the_next_free_one_is_found(monkeypatch):
    from modeling_semanticmac.page import server

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"--port {port} of 127.0.0.1 cannot be used"):
            server.listening_socket("127.0.0.1", port)
        monkeypatch.setattr(server, "FIRST_PORT", port)
        with server.listening_socket("127.0.0.1", None) as other:
            assert port < other.getsockname()[1] < port + server.PORTS


def test_no_model_is_wrong_usage(monkeypatch, capsys):
    monkeypatch.delenv("MODEL", raising=False)
    with pytest.raises(SystemExit):
        main(["app"])
    assert "give RUN" in capsys.readouterr().err
    assert main(["app", "no/such/folder"]) == 1
    assert "no/such/folder" in capsys.readouterr().err
