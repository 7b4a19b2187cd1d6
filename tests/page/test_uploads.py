"""Visitors who upload the same file do not take it from each other."""

import os

from modeling_semanticmac.page.uploads import Uploads, upload_folder, without_folders


def upload(folder, content="clip"):
    """Write a file as gradio does: the folder is named after the content, a second upload replaces the first."""
    path = folder / f"hash-of-{content}" / "clip.mp4"
    path.parent.mkdir(exist_ok=True)
    (folder / "new").write_text(content)
    os.rename(folder / "new", path)
    return path


def test_a_file_is_deleted_when_its_last_visitor_leaves(tmp_path):
    uploads = Uploads()
    path = upload(tmp_path)
    uploads.hold("one", path)
    assert upload(tmp_path) == path
    uploads.hold("two", path)
    uploads.leave("one")
    assert path.read_text() == "clip"
    uploads.leave("two")
    assert not path.parent.exists()
    uploads.leave("two")  # again: nothing happens


def test_a_file_that_was_uploaded_again_is_not_deleted_before_its_visitor_is_known(tmp_path):
    uploads = Uploads()
    path = upload(tmp_path)
    uploads.hold("one", path)
    upload(tmp_path)  # by another visitor, whose page has not yet said so
    uploads.leave("one")
    assert path.is_file()
    uploads.hold("two", path)
    uploads.leave("two")
    assert not path.exists()


def test_another_name_in_the_same_folder_stays(tmp_path):
    uploads = Uploads()
    path = upload(tmp_path)
    other = path.with_name("same_content.mp4")
    other.write_text("clip")
    uploads.hold("one", path)
    uploads.hold("one", None)
    uploads.hold("one", tmp_path / "absent")
    uploads.leave("one")
    assert not path.exists() and other.is_file()


def test_messages_name_no_folder(tmp_path):
    clip, subtitles = str(tmp_path / "b.mp4"), str(tmp_path / "c.srt")
    assert without_folders(f"{clip}: bad; {subtitles} too", clip, subtitles, None) == "b.mp4: bad; c.srt too"


def test_the_folder_of_uploads_is_removed(monkeypatch, tmp_path):
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "before")  # so that it is restored
    with upload_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
        (folder / "file").touch()
    assert not folder.exists()
