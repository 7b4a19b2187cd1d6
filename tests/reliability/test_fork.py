"""A process that has read media may fork: what FFmpeg left behind does not hang the child."""

import gc
import multiprocessing
import os

import av
import numpy as np
import pytest

from modeling_semanticmac import media_pyav  # noqa: F401  (what is tested: importing it makes forks safe)


def make_garbage() -> None:
    """Leave an unreachable cycle with a resampler, whose filter graph has threads, as an error while reading does."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=16000)
    frame = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", "stereo")
    frame.sample_rate, frame.pts = 44100, 0
    resampler.resample(frame)
    cycle = [resampler]
    cycle.append(cycle)


def test_a_child_does_not_wait_for_threads_of_its_parent():
    gc.disable()  # the cycle must still be there at the fork
    try:
        make_garbage()
        process = multiprocessing.get_context("fork").Process(target=gc.collect)
        process.start()
        process.join(20)
        code = process.exitcode
        process.kill()
    finally:
        gc.enable()
    assert code == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_frees_no_decoder_of_its_parent():
    """Freed there, a decoder would wait for threads that the process does not have."""
    freed = []

    class Decoder:
        def __init__(self):
            self.me = self  # a cycle: only the garbage collector frees it

        def __del__(self):
            freed.append(os.getpid())

    Decoder()
    held = [Decoder()]
    child = os.fork()  # what is garbage is freed before
    if not child:
        held.clear()
        gc.collect()
        os._exit(len(freed) - 1)
    held.clear()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gc.collect()
    assert freed == [os.getpid()] * 2
