"""A server under load, with bad clients, killed half-way and started again.

    python -m tests.benchmarks.load_server RUN CLIP [CLIP ...]

Sends 200 requests to `semanticmac serve` on this machine, 20 at a time. Of 20 requests one has a damaged file, one a
file over the limit, one comes from a client that sends a kilobyte at a time, and one from a client that stops sending.
After half of them the server gets SIGKILL and is started again on the same port. Prints what was answered, how long it
took, the memory of the server, and the files that are left in its temporary folder and its home.
"""

import argparse
import itertools
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.helpers.project import PROJECT

AT_ONCE = 20
KINDS = {3: "damaged", 8: "too large", 13: "slow", 18: "stalled"}  # number modulo 20 -> kind; the others are good
LIMIT_MB, TIMEOUT = 1.0, 40.0
PARTS = 10  # of the load, after each of which the memory is read
PIECE, PAUSE = 1024, 0.02  # bytes and seconds of the slow client


class Server:
    """A server process with a temporary folder and a home of its own.

    Args:
        run: folder of the model.
        folder: of its files.
    """

    def __init__(self, run: str, folder: Path):
        self.run, self.folder, self.port = run, folder, free_port()
        self.process: subprocess.Popen | None = None

    def start(self) -> float:
        """Start the server; return the seconds until it answers."""
        for name in ("tmp", "home"):
            (self.folder / name).mkdir(exist_ok=True)
        own = {"TMPDIR": str(self.folder / "tmp"), "HOME": str(self.folder / "home"), "PYTHONPATH": str(PROJECT)}
        words = ["serve", "--model", self.run, "--port", str(self.port), "--device", "cpu"]
        words += ["--max_megabytes", str(LIMIT_MB), "--timeout", str(TIMEOUT)]
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "semanticmac", *words], env={**os.environ, **own}, stdout=log, stderr=log
            )
        start = time.monotonic()
        while time.monotonic() - start < 120:
            try:
                httpx.get(f"{self.url}/health", timeout=5)
                return time.monotonic() - start
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError(f"the server does not answer:\n{(self.folder / 'log').read_text()[-2000:]}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> float:
        """Return the resident memory of the process in MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def files(self) -> dict[str, int]:
        """Return the files below its temporary folder and its home, with their bytes."""
        found = [path for name in ("tmp", "home") for path in (self.folder / name).rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.stat().st_size for path in found}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def send(server: Server, number: int, clips: list[bytes]) -> tuple[str, str, float]:
    """Send one request; return its kind, its answer (a status, or "connection lost"), and its seconds."""
    kind, clip = KINDS.get(number % 20, "good"), clips[number % len(clips)]
    start = time.monotonic()
    try:
        if kind in ("slow", "stalled"):
            answer = send_in_pieces(server, clip, kind == "stalled")
        else:
            data = {"damaged": os.urandom(len(clip)), "too large": clip + bytes(int(2e6 * LIMIT_MB))}.get(kind, clip)
            response = httpx.post(f"{server.url}/v1/predict", files={"file": ("clip.flac", data)}, timeout=120)
            answer = str(response.status_code)
    except (httpx.TransportError, OSError):
        answer = "connection lost"
    return kind, answer, time.monotonic() - start


def send_in_pieces(server: Server, clip: bytes, stops: bool) -> str:
    """Send a form piece by piece, with pauses, and stop in the middle if asked; return the status of the answer."""
    request = httpx.Request("POST", f"{server.url}/v1/predict", files={"file": ("clip.flac", clip)})
    body = request.read()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall(f"POST /v1/predict HTTP/1.1\r\n{head}\r\n".encode())
        for first in range(0, len(body) // 2 if stops else len(body), PIECE):
            connection.sendall(body[first : first + PIECE])
            time.sleep(PAUSE)
        answer = connection.recv(65536).decode(errors="replace")
    return answer.split()[1] if answer else "connection lost"


def run_load(server: Server, clips: list[bytes], count: int, kill: bool) -> None:
    """Send the requests, kill the server after half of them if asked, and print what was measured."""
    for number in (0, 1, 2):  # the first predictions load and compile things
        send(server, number, clips)
    memory, done, lock = [server.memory()], itertools.count(1), threading.Lock()
    killed: dict = {"seconds": 0.0, "files": "not killed"}

    def one(number: int):
        found = send(server, number, clips)
        with lock:
            finished = next(done)
            if finished % (count // PARTS) == 0:
                memory.append(server.memory())
            if finished == count // 2 and kill:
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
                killed["files"] = server.files()
                killed["seconds"] = server.start()
        return found

    start = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(one, range(count)))
    seconds = time.monotonic() - start
    for kind in ("good", *KINDS.values()):
        print(f"{kind}: {dict(sorted(Counter(answer for name, answer, _ in found if name == kind).items()))}")
    good = sorted(taken for kind, answer, taken in found if kind == "good" and answer == "200")
    busy = seconds - killed["seconds"]
    print(f"{len(found)} requests in {seconds:.1f} s, {killed['seconds']:.1f} s of them without a server")
    print(f"good ones: {len(good) / busy:.2f} a second, median {statistics.median(good):.2f} s, ", end="")
    print(f"95 % within {good[int(0.95 * len(good))]:.2f} s")
    print(f"memory in MiB, at first and after each {count // PARTS}: {', '.join(f'{size:.0f}' for size in memory)}")
    print(f"files after the kill: {killed['files']}; at the end: {server.files()}")


def main() -> None:
    """Run the load and end the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="folder of the model")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="sound or video files")
    parser.add_argument("--requests", type=int, default=200, help="default %(default)s")
    parser.add_argument("--no_kill", action="store_true", help="let the server live, to see its memory")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(args.run, Path(folder))
        print(f"started in {server.start():.1f} s")
        try:
            run_load(server, [path.read_bytes() for path in args.clips], args.requests, not args.no_kill)
        finally:
            server.process.terminate()
            print(f"ended with {server.process.wait(60)} after SIGTERM")


if __name__ == "__main__":
    main()
