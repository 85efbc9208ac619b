"""`jc1 serve` as its users meet it: a real process with the echo engine, told to stop by signals."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from jc1.database import open_database
from jc1.sessions import Sessions

SECONDS = 120
"""How long anything here may take on a machine that is busy with something else."""
LONG = "The owl asked who had moved the lighthouse. " * 60


class Serving:
    """A running `jc1 serve`: its process, and a client of it."""

    def __init__(self, process: subprocess.Popen[str], address: str, line: str) -> None:
        self.process = process
        self.address = address
        self.line = line
        self.port = int(address.rpartition(":")[2])
        self.http = httpx.Client(base_url=address, timeout=SECONDS)

    @contextmanager
    def listening_to_a_long_stream(self, session: str) -> Iterator[socket.socket]:
        """A reply that is under way: its events are far larger than what the sockets between can hold."""
        asked = {
            "model": "echo",
            "messages": [{"role": "user", "content": LONG}],
            "session": session,
            "stream": True,
            "logprobs": True,
            "top_logprobs": 20,
            "max_tokens": len(LONG) + 1,
        }
        body = json.dumps(asked).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(SECONDS)
            connection.connect(("127.0.0.1", self.port))
            connection.sendall(f"{head}Connection: close\r\nContent-Type: application/json\r\n\r\n".encode() + body)
            assert connection.recv(12) == b"HTTP/1.1 200"
            assert "jc1_requests_in_flight 1.0" in httpx.get(f"{self.address}/metrics", timeout=SECONDS).text
            yield connection

    def half_sent(self) -> socket.socket:
        """Return a connection with a request whose body never comes to its end."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99\r\n\r\n{"
        )
        return connection

    def begin_to_stop(self, number: signal.Signals) -> None:
        """Send the signal, and return when the server says that it is not ready any more."""
        self.process.send_signal(number)
        while httpx.get(f"{self.address}/health/ready", timeout=SECONDS).status_code == 200:
            pass

    def ended(self) -> tuple[int, str]:
        """Exit status, and all that it wrote to standard error."""
        _, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, errors


def command(home: Path, *args: str) -> dict[str, Any]:
    """What `subprocess` needs to run `jc1 serve` in a home."""
    environment = {**os.environ, "JC1_HOME": str(home), "JC1_ENGINE": "echo"}
    return {"args": [sys.executable, "-m", "jc1", "serve", *args], "env": environment, "text": True}


@contextmanager
def serving(home: Path, port: int = 0) -> Iterator[Serving]:
    """Start the server and wait for its line."""
    process = subprocess.Popen(
        **command(home, "--port", str(port)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=1
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, process.communicate(timeout=SECONDS)[1]
        running = Serving(process, found[0], line)
        with running.http:
            yield running
    finally:
        process.kill()
        process.communicate()


def refused(home: Path, *args: str) -> str:
    """The one line that a server which does not start writes."""
    done = subprocess.run(**command(home, *args), capture_output=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.timeout(4 * SECONDS)
def test_it_serves_drains_stops_and_finds_everything_again(tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet" / "there"
    with serving(home) as server:
        assert server.line == (
            f"JC1 is ready: chat at {server.address}/ui, API at {server.address}/docs. Ctrl-C stops it.\n"
        )
        assert home.stat().st_mode & 0o777 == 0o700
        assert server.http.get("/health/ready").json()["status"] == "ok"

        front = server.http.get("/")
        assert (front.status_code, front.headers["location"]) == (307, "/ui")
        page = server.http.get("/", follow_redirects=True)
        assert (page.status_code, page.url.path) == (200, "/ui/")
        assert "gradio" in page.text
        for path in ("/ui/", "/ui/gradio_api/info", "/ui/nothing"):
            assert server.http.get(path, headers={"host": "evil.example"}).json()["error"]["code"] == "host_refused"
            assert server.http.post(path, headers={"origin": "http://evil.example"}).status_code == 403

        docs = server.http.get("/docs")
        assert "//" not in "".join(re.findall(r'(?:src|href)="([^"]*)"', docs.text)), "from this server alone"
        for path in re.findall(r'(?:src|href)="(/[^"]*)"', docs.text):
            assert server.http.get(path).status_code == 200
        assert "/v1/chat/completions" in server.http.get("/openapi.json").json()["paths"]

        assert "[port_in_use]" in (told := refused(home, "--port", str(server.port)))
        assert f"127.0.0.1:{server.port}" in told

        record = server.http.post("/v1/memory", json={"text": "My cat is called Ada."}).json()
        # A page and a dashboard that stay open have streams of their own, which end with the server.
        with (
            server.http.stream("GET", "/ui/gradio_api/heartbeat/page") as heartbeat,
            server.http.stream("GET", "/v1/telemetry") as dashboard,
            server.listening_to_a_long_stream("long") as connection,
        ):
            assert next(heartbeat.iter_text()).startswith("data:")
            events = dashboard.iter_text()
            assert next(events) == ": listening\n\n"
            half_sent = server.half_sent()
            server.begin_to_stop(signal.SIGTERM)
            assert httpx.get(f"{server.address}/health/live", timeout=SECONDS).status_code == 200
            new = httpx.post(f"{server.address}/v1/chat/completions", json={}, timeout=SECONDS)
            assert (new.status_code, new.json()["error"]["code"]) == (503, "stopping")
            assert int(new.headers["retry-after"]) >= 1
            assert new.headers["connection"] == "close"
            with half_sent:
                assert half_sent.recv(1 << 16).startswith(b"HTTP/1.1 503")
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            assert "error" not in "".join(events), "the dashboard's stream ended, and was not cut off"
        status, errors = server.ended()
        assert b"data: [DONE]" in received, "the reply was drained"
        assert status == 0
        assert "lighthouse" not in errors
        assert "Traceback" not in errors

    with serving(home, server.port) as again:
        assert again.http.get(f"/v1/memory/{record['id']}").json() == record
        (turn,) = again.http.get("/v1/sessions/long").json()["data"]
        assert (turn["user"], turn["reply"], turn["cancelled"]) == (LONG, LONG, False)
        with again.listening_to_a_long_stream("cut") as connection:
            again.begin_to_stop(signal.SIGINT)
            again.process.send_signal(signal.SIGINT)
            while connection.recv(1 << 16):
                pass
        status, errors = again.ended()
        assert status == 0
        assert "Traceback" not in errors

    database = open_database(f"sqlite:///{home / 'jc1.db'}")
    (turn,) = Sessions(database).history("local", "cut", limit=10)
    database.dispose()
    assert turn.cancelled
    assert LONG.startswith(turn.reply)
    assert turn.reply != LONG


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert refused(tmp_path / "file" / "home").endswith("make it writable, or set JC1_HOME. [home_unusable]\n")


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    assert "[invalid_settings]" in refused(tmp_path, "--host", "0.0.0.0")
    assert "[invalid_settings]" in refused(tmp_path, "--host", "192.0.2.1")


def test_a_damaged_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    damaged = b"SQLite format 3\0" + b"rubbish" * 1000
    (tmp_path / "jc1.db").write_bytes(damaged)
    assert "[database_corrupt]" in refused(tmp_path, "--port", "0")
    assert (tmp_path / "jc1.db").read_bytes() == damaged
