"""The playground's server: pages, sessions, and the command that starts it."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import uvicorn
from test_playground import PATIENCE, model_of, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fastmlp.__main__ import main
from fastmlp.playground import pictures, server
from fastmlp.playground.datasets import RADIUS
from fastmlp.playground.experiment import Experiment, choices
from fastmlp.playground.trainer import Trainer


def get(path, host="127.0.0.1", name="127.0.0.1:8080"):
    """(status, type of the content) of what the server of a host answers."""
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", name.encode())], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
    }  # fmt: skip
    sent = []

    async def receive():
        await asyncio.sleep(0.001)
        return {"type": "http.disconnect" if sent else "http.request"}

    async def send(message):
        sent.append(message)

    asyncio.run(server.make_app(host)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]).get(b"content-type", b"")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/index.html", "text/html"),
        ("/style.css", "text/css"),
        *[
            (f"/{name}.js", "text/javascript")
            for name in (
                "main", "address", "chart", "connection", "network", "pictures",
                "settings",
            )
        ],
    ],
)  # fmt: skip
def test_the_page_and_its_modules_are_served(path, kind):
    status, found = get(path)
    assert status == 200
    assert found.decode().startswith(kind)


@pytest.mark.parametrize("path", ["/nothing", "/../server.py", "/x/../../server.py"])
def test_nothing_else_is_served(path):
    assert get(path)[0] == 404


@pytest.mark.parametrize(
    ("host", "name", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8080", 200),
        ("127.0.0.1", "localhost:8080", 200),
        ("127.0.0.1", "evil.example", 400),
        ("127.0.0.1", "127.0.0.1.evil.example:8080", 400),
        ("127.0.0.1", "", 400),
        ("::1", "[::1]:8080", 200),
        ("::1", "evil.example:8080", 400),
        ("192.0.2.1", "192.0.2.1:8080", 200),
        ("192.0.2.1", "evil.example:8080", 400),
        ("0.0.0.0", "anything.example", 200),
    ],
)
def test_only_names_of_the_host_are_answered(host, name, status):
    assert get("/", host, name)[0] == status


@pytest.fixture(scope="module")
def port():
    """Of a server that runs in a thread."""
    listening = server._bind("127.0.0.1", 0)
    config = uvicorn.Config(
        server.make_app(), log_config=None, ws="websockets-sansio", lifespan="off",
        ws_max_size=2**16,
    )  # fmt: skip
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    wait_until(lambda: running.started, "the server")
    yield listening.getsockname()[1]
    running.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def no_traceback(caplog):
    """Whatever a page sends, nothing fails in the server."""
    yield
    found = caplog.get_records("call")
    errors = {r.getMessage() for r in found if r.levelname == "ERROR"}
    # what uvicorn says of a session that is refused for its host
    assert errors <= {"ASGI callable returned without completing handshake."}


class Page:
    """A page: what it receives; frames are drawn at once unless it is `slow`."""

    def __init__(self, port, is_slow=False):
        origin = f"http://127.0.0.1:{port}"
        self._made = connect(
            f"ws://127.0.0.1:{port}/session", origin=origin, max_size=2**24,
            close_timeout=1,
        )  # fmt: skip
        self.socket = self._made.__enter__()
        self.is_slow = is_slow
        self.losses = []

    def close(self):
        self._made.__exit__(None, None, None)

    def send(self, kind, **content):
        self.socket.send(json.dumps({"type": kind, **content}))

    def receive(self, seconds=PATIENCE):
        message = self.socket.recv(timeout=seconds)
        if isinstance(message, str):
            return json.loads(message)
        if not self.is_slow:
            self.send("drawn")
        length = int.from_bytes(message[:4], "little")
        header = json.loads(message[4 : 4 + length])
        del self.losses[header["from"] :]
        self.losses += header["losses"]
        return {"type": "frame", **header, "pictures": message[4 + length :]}

    def receive_until(self, condition):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self.receive()
            if condition(message):
                return message
        raise AssertionError("no such message")

    def frame(self, **expected):
        """The next one with these values."""
        return self.receive_until(
            lambda m: m["type"] == "frame" and expected.items() <= m.items()
        )

    def configure(self, **settings):
        self.send("configure", experiment=settings)
        data = self.receive_until(lambda m: m["type"] in ("data", "error"))
        self.losses.clear()
        return data


@pytest.fixture
def open_page(port):
    with contextlib.ExitStack() as stack:

        def open_one(**options):
            page = Page(port, **options)
            stack.callback(page.close)
            assert page.receive()["type"] == "choices"
            return page

        yield open_one


def test_a_page_is_told_its_choices(port):
    page = Page(port)
    found = page.receive()
    page.close()
    assert found["type"] == "choices"
    assert found["defaults"] == json.loads(json.dumps(choices()["defaults"]))
    assert (found["grid"], found["unit_grid"]) == (pictures.GRID, pictures.UNIT_GRID)
    assert found["radius"] == RADIUS


def test_data_and_frames_are_those_of_the_experiment(open_page):
    page = open_page()
    settings = {"data": "rings", "share": 0.3, "hidden_layer_sizes": [3, 2]}
    data = page.configure(**settings)
    made = Experiment.of(settings).make_data()
    assert data["task"] == "classification"
    for name, points, y in (
        ("train", made.points, made.y),
        ("test", made.points_test, made.y_test),
    ):
        np.testing.assert_allclose(data[name], [*points.T, y], rtol=1e-4)
    frame = page.frame(state="paused")
    assert (frame["epoch"], frame["latest"], frame["from"]) == (0, 0, 0)
    assert frame["losses"] == [frame["now"]]
    assert [np.shape(w) for w in frame["coefs"]] == [(2, 3), (3, 2), (2, 3)]
    assert len(frame["pictures"]) == 5 * 25**2 + 2 * 100**2
    page.send("step")
    frame = page.frame(state="paused", epoch=1)
    model = model_of(frame["code"])
    for found, expected in zip(frame["coefs"], model.coefs_, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    for found, expected in zip(frame["intercepts"], model.intercepts_, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert len(page.losses) == 2


def test_run_pause_seek_and_reset(open_page):
    page = open_page()
    page.configure()
    first = page.frame(state="paused")
    page.send("run")
    page.receive_until(lambda m: m["type"] == "frame" and m["epoch"] >= 8)
    page.send("pause")
    last = page.frame(state="paused")
    assert len(page.losses) == last["latest"] + 1
    page.send("seek", epoch=3)
    sought = page.frame(epoch=3)
    assert sought["latest"] == last["latest"]
    assert sought["now"] == page.losses[3]
    for a, b in zip(sought["coefs"], model_of(sought["code"]).coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)
    for epoch, shown in ((10**9, last["latest"]), (-5, 0), (None, last["latest"])):
        page.send("seek", epoch=epoch)
        page.frame(epoch=shown, latest=last["latest"])
    page.send("seek", epoch=2)
    page.frame(epoch=2)
    page.send("step")  # shows the latest again
    page.frame(state="paused", epoch=last["latest"] + 1)
    page.send("reset")
    page.receive_until(lambda m: m["type"] == "data")
    again = page.frame(state="paused")
    assert again["latest"] == 0
    assert again["coefs"] == first["coefs"]
    assert page.losses == [again["now"]]


def test_frames_go_on_after_many_changes(open_page):
    """Nothing that happens while another fit is made uses up what may be sent."""
    page = open_page()
    for n in range(1, 9):
        assert page.configure(hidden_layer_sizes=[n])["type"] == "data"
        page.send("run")
        page.receive_until(lambda m: m["type"] == "frame" and m["epoch"] >= 2)
    for _ in range(4):
        page.send("reset")
        page.receive_until(lambda m: m["type"] == "data")
        page.frame(latest=0, state="paused")


def test_frames_come_after_the_data_of_their_experiment(open_page):
    page = open_page()
    for n in (1, 2) * 5:
        page.send("configure", experiment={"hidden_layer_sizes": [n]})
        page.send("run")
    seen, n_data = None, 0
    while n_data < 10 or seen is None:
        message = page.receive()
        if message["type"] == "preparing":
            seen = "preparing"
        elif message["type"] == "data":
            assert seen == "preparing"
            seen, n_data = None, n_data + 1
        else:
            assert seen is None, "a frame between 'preparing' and 'data'"
            assert n_data > 0
            if len(message["coefs"][0][0]) == (2 if n_data % 2 == 0 else 1):
                seen = "frame" if n_data == 10 else None


def test_a_slow_page_gets_few_frames_and_never_old_ones(open_page):
    page = open_page(is_slow=True)
    page.configure()
    page.send("run")
    page.receive()
    page.receive()
    with pytest.raises(TimeoutError):
        page.receive(seconds=0.6)  # neither has been drawn
    page.send("drawn")
    frame = page.receive()
    assert frame["latest"] > 10
    assert len(page.losses) == frame["latest"] + 1  # none is left out
    with pytest.raises(TimeoutError):
        page.receive(seconds=0.2)


def test_pages_are_independent(open_page):
    one, other = open_page(), open_page()
    one.configure(data="xor")
    other.configure(data="plane")
    one.send("step")
    one.frame(epoch=1, state="paused")
    frame = other.frame(state="paused")
    assert frame["latest"] == 0
    assert "make_data('plane'" in frame["code"]
    one.close()
    other.send("step")
    other.frame(epoch=1)


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        ({"activation": "step"}, "activation must be one of"),
        ({"alpha": -1}, "alpha must be a number from 0 to 10, got -1"),
        ({"hidden_layer_sizes": [99]}, "at most 6 hidden layers"),
        ({"features": []}, "choose one or more"),
        ({"eval": "1"}, "unknown settings: ['eval']"),
        ([], "an experiment is an object"),
        (None, "an experiment is an object"),
    ],
)
def test_a_wrong_experiment_is_answered_with_a_sentence(
    open_page, experiment, sentence
):
    page = open_page()
    page.send("configure", experiment=experiment)
    message = page.receive()
    assert message["type"] == "error"
    assert message["error"].startswith(sentence)
    assert page.configure()["type"] == "data"  # the session goes on


@pytest.mark.parametrize(
    "message",
    ["{", "", "[]", "3", '"run"', "null", b"\x00\x01", "\ud7ff{", "[" * 50_000],
    ids=["brace", "empty", "list", "number", "string", "null", "bytes", "letter",
         "nested"],
)  # fmt: skip
def test_a_message_that_is_none_ends_only_that_session(open_page, message):
    other = open_page()
    other.configure()
    page = open_page()
    page.configure()
    page.send("run")
    page.socket.send(message)
    with pytest.raises(ConnectionClosed):
        page.receive_until(lambda m: False)
    other.send("step")
    other.frame(epoch=1)


def test_a_message_that_is_too_long_ends_only_that_session(open_page):
    other, page = open_page(), open_page()
    other.configure()
    page.socket.send("x" * 2**17)
    with pytest.raises(ConnectionClosed):
        page.receive(seconds=10)
    other.send("step")
    other.frame(epoch=1)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "nonsense"},
        {},
        {"type": None},
        {"type": ["run"]},
        {"type": "seek", "epoch": "1"},
        {"type": "seek", "epoch": 1e300},
        {"type": "close"},
        {"type": "_fit"},
    ],
)
def test_an_unknown_message_does_nothing(open_page, message):
    page = open_page()
    page.socket.send(json.dumps({"type": "run"}))  # before there is a fit
    page.configure()
    page.socket.send(json.dumps(message))
    page.send("step")
    page.frame(epoch=1, state="paused")


def test_a_fit_ends_with_its_page(open_page, monkeypatch):
    closed = threading.Event()
    close = Trainer.close

    def closing(self):
        close(self)
        closed.set()

    monkeypatch.setattr(Trainer, "close", closing)
    page = open_page()
    page.configure()
    page.send("run")
    page.frame(state="running")
    page.close()
    assert closed.wait(10)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:1", "null", "", None]
)
def test_a_session_is_for_the_page_of_this_server_only(port, origin):
    address = f"ws://127.0.0.1:{port}/session"
    with pytest.raises(InvalidStatus, match="403"), connect(address, origin=origin):
        pass


def test_a_session_is_for_names_of_this_host_only(port):
    with socket.create_connection(("127.0.0.1", port)) as made:
        address = "ws://evil.example/session"
        origin = "http://evil.example"
        with pytest.raises(InvalidStatus), connect(address, origin=origin, sock=made):
            pass


# --- the command ---------------------------------------------------------------------


def test_the_next_free_port_is_taken():
    with server._bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with server._bind("127.0.0.1", port) as found:
            assert found.getsockname()[1] != port
            # others may hold those that follow
            assert found.getsockname()[1] > port or port > 65000


def test_an_address_that_is_not_this_machines_is_an_error(capsys):
    with pytest.raises(server.PlaygroundError, match=r"cannot listen on 192\.0\.2\.1"):
        server._bind("192.0.2.1", 0)
    assert main(["playground", "--host", "192.0.2.1", "--no-browser"]) == 1
    assert capsys.readouterr().err.startswith("fastmlp: cannot listen on 192.0.2.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1"])
def test_serving_others_is_warned_of(host, monkeypatch, capsys):
    if host == "::1":
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tried:
                tried.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    opened = []
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: sockets[0].close())
    assert main(["playground", "--host", host, "--port", "0"]) == 0
    output, errors = capsys.readouterr()
    names = {"::1": "[::1]", "0.0.0.0": r"(0\.0\.0\.0|127\.0\.0\.1)"}
    address = re.search(r"http://\S+/", output)[0]
    name = names.get(host, "").replace("[", r"\[") or re.escape(host)
    assert re.match(rf"http://{name}:\d", address)
    assert opened == [address]
    assert ("everyone who reaches 0.0.0.0" in errors) == (host == "0.0.0.0")
    assert bool(errors) == (host == "0.0.0.0")


@pytest.mark.parametrize("missing", ["uvicorn", "starlette.applications"])
def test_what_the_playground_needs_is_named(missing, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "fastmlp.playground.server")
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["playground"]) == 1
    assert f"the playground needs {missing}: pip install" in capsys.readouterr().err


def test_the_command_serves_until_ctrl_c():
    process = subprocess.Popen(  # an interrupt is one even if these tests ignore it
        [sys.executable, "-c",
         "import signal, sys\n"
         "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
         "from fastmlp.__main__ import main\n"
         "sys.exit(main(['playground', '--port', '0', '--no-browser']))"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        port = int(re.fullmatch(r".*http://127\.0\.0\.1:(\d+)/ .*\n", line)[1])
        page = None
        end = time.monotonic() + 30
        while page is None:
            with contextlib.suppress(ConnectionError):
                page = Page(port)
            assert time.monotonic() < end
            time.sleep(0.02)
        page.receive()
        page.configure()
        page.send("run")
        page.frame(state="running")
        page.close()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, output, errors) == (0, "", "")
