"""The page of the playground, and a WebSocket for each that is open.

Messages of the page are JSON objects with a ``type``:

    configure {experiment, number, racing}
                             start over with this experiment; the number comes back;
                             whether epochs follow each other as fast as they can
    run, pause, step         of the fit
    reset {number}           start over
    edit {layer, start, end, value}
                             set a weight, or a bias if start is null
    by_hand {sample}         all numbers of a step on the first mini-batch of the
                             training samples, and of that sample of it
    seek {epoch}             show an earlier epoch; null: the latest
    drawn                    the last frame is on the screen

Those to the page are JSON (``choices``, ``preparing``, ``data``, ``by_hand``,
``error``) or binary frames: 4 bytes, the length of a JSON header; the header; and
pictures (`fastmlp.playground.pictures`).

``POST /table?name=FILE&target=COLUMN`` with the bytes of a CSV file makes it the data
set "own" of all pages; it is kept in memory only.

A frame is made when the page has drawn the one before the last, so that a slow page
gets fewer frames, never old ones.
"""

import asyncio
import base64
import contextlib
import errno
import json
import socket
import sys
import threading
import webbrowser
from importlib.resources import files
from math import isfinite
from urllib.parse import urlsplit

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocketDisconnect

from fastmlp.playground.by_hand import formulas, step_by_hand
from fastmlp.playground.datasets import RADIUS
from fastmlp.playground.experiment import IMAGES, OWN, Experiment, choices
from fastmlp.playground.pictures import (
    GRID,
    UNIT_GRID,
    feature_pictures,
    pictures_of,
    quality_of,
)
from fastmlp.playground.trainer import Trainer

__all__ = ["PlaygroundError", "make_app", "serve", "serve_in_background"]

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

#: Ports to try after the one asked for, if that is taken; then any.
_MORE_PORTS = 10

#: Samples that are drawn of each kind.
_MOST_POINTS = 1000

#: Frames that a page may not have drawn yet.
_MOST_WAITING = 2


class PlaygroundError(Exception):
    """The server cannot start."""


class _Session:
    """One open page."""

    def __init__(self, websocket):
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._drawn = asyncio.Semaphore(_MOST_WAITING)
        self._trainer = None
        self._sought = None  # an earlier epoch to show
        self._told = 0  # losses that the page knows
        self._number = None  # of the experiment
        self._is_racing = False

    def _changed(self):
        """Called by the thread of a fit."""
        with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
            self._loop.call_soon_threadsafe(self._news.set)

    async def run(self):
        """Until the page is closed."""
        shown = base64.b64encode(feature_pictures()).decode()
        own = self._websocket.app.state.own
        await self._websocket.send_json(
            {"type": "choices", **choices(), "feature_pictures": shown,
             "grid": GRID, "unit_grid": UNIT_GRID,
             "radius": RADIUS, "own": own and _about(own),
             "images": {name: _about(Experiment(data=name).own) for name in IMAGES}}
        )  # fmt: skip
        sending = asyncio.create_task(self._send_frames())
        try:
            while not sending.done():  # else it has failed
                message = await self._websocket.receive_json()
                if not isinstance(message, dict):
                    break  # this is none of our pages
                await self._answer(message)
        except (WebSocketDisconnect, ValueError, KeyError, TypeError, RecursionError):
            pass  # the page is gone, or it is none of ours
        finally:
            sending.cancel()
            await self._stop()
        if sending.done() and not sending.cancelled():
            with contextlib.suppress(WebSocketDisconnect):
                sending.result()  # raises what it failed with

    async def _stop(self):
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            await asyncio.to_thread(trainer.close)

    async def _answer(self, message):
        kind = message.get("type")
        if kind == "drawn":
            self._drawn.release()
        elif kind == "configure":
            self._number = message.get("number")
            self._is_racing = bool(message.get("racing"))
            await self._configure(message.get("experiment"))
        elif self._trainer is None:
            return
        elif kind == "reset":
            self._number = message.get("number", self._number)
            await self._begin(self._trainer.experiment)
        elif kind == "seek":
            epoch = message.get("epoch")
            self._sought = epoch if isinstance(epoch, int) else None
        elif kind in ("run", "pause", "step"):
            self._sought = None
            getattr(self._trainer, kind)()
        elif kind == "by_hand":
            await self._by_hand(message.get("sample"))
        elif kind == "edit":
            self._sought = None
            await self._edit(message)
        self._news.set()

    async def _edit(self, message):
        names = ("layer", "start", "end", "value")
        try:
            self._trainer.edit(*(message.get(name) for name in names))
        except ValueError as error:
            await self._websocket.send_json({"type": "error", "error": str(error)})

    async def _by_hand(self, sample):
        trainer = self._trainer
        epoch = trainer.epoch if self._sought is None else self._sought
        n = trainer.experiment.n_batch
        X, y = trainer.data.X[:n], trainer.data.y[:n]
        weights = trainer.experiment.weights_of(trainer.data.y)
        weights = np.ones(n) if weights is None else weights[:n]
        step = await asyncio.to_thread(
            step_by_hand, trainer.experiment, trainer.at(epoch), X, y, weights
        )
        mean = step.losses.sum() / weights.sum()
        i = sample if isinstance(sample, int) and 0 <= sample < n else 0
        await self._websocket.send_json(
            {
                "type": "by_hand",
                "number": self._number,
                "sample": i,
                "n_samples": n,
                "x": _rounded([X[i]])[0],
                "y": float(y[i]),
                "weight": float(weights[i]),
                "z": _rounded(z[i] for z in step.pre_activations),
                "a": _rounded(a[i] for a in step.activations),
                "masks": _rounded(mask[i] for mask in step.masks),
                "deltas": _rounded(d[i] for d in step.deltas),
                "loss": _rounded([[step.losses[i], mean]])[0],
                "gradients": [_rounded(part) for part in step.gradients],
                "bias_gradients": _rounded(step.bias_gradients),
                "after": _parameters(*step.after),
                "averages": _parameters(*step.averages) if step.averages else None,
                "formulas": formulas(trainer.experiment),
            }
        )

    async def _configure(self, values):
        try:
            experiment = Experiment.of(values, self._websocket.app.state.own)
            await self._begin(experiment)
        except WebSocketDisconnect:
            raise
        except Exception as error:  # of any kind: the page is to say it
            await self._stop()  # what is shown is not what it trained
            await self._websocket.send_json({"type": "error", "error": str(error)})

    async def _begin(self, experiment):
        await self._stop()
        await self._websocket.send_json({"type": "preparing"})
        trainer = await asyncio.to_thread(
            Trainer, experiment, self._changed, is_racing=self._is_racing
        )
        data, targets = trainer.data, [trainer.data.y, trainer.data.y_test]
        if experiment.task == "regression":
            targets = [experiment.shades(y) for y in targets]
        try:
            await self._websocket.send_json(
                {
                    "type": "data",
                    "number": self._number,
                    "task": experiment.task,
                    "features": experiment.features,
                    "axes": experiment.axes,
                    "own": _about(experiment.own) if experiment.data == OWN else None,
                    "train": _shown(data.points, targets[0]),
                    "test": _shown(data.points_test, targets[1]),
                    "legend": experiment.legend(),
                    "notes": experiment.notes(),
                }
            )
        finally:
            # only now: no frame may come before the data
            self._sought, self._told, self._trainer = None, 0, trainer
        self._news.set()

    async def _send_frames(self):
        while True:
            await self._news.wait()
            await self._drawn.acquire()
            self._news.clear()
            if self._trainer is None:  # another one is being made
                self._drawn.release()
            else:
                await self._websocket.send_bytes(self._frame(self._trainer))

    def _frame(self, trainer):
        losses = list(trainer.losses)  # the thread may add some meanwhile
        epoch = trainer.epoch if self._sought is None else self._sought
        snapshot = trainer.at(min(epoch, len(losses) - 1))
        known, self._told = min(self._told, trainer.changed_from), len(losses)
        trainer.changed_from = len(losses)
        header = {
            "number": self._number,
            "state": trainer.state,
            "error": trainer.error,
            "latest": trainer.epoch,
            "epoch": snapshot.epoch,
            "losses": _rounded(losses[known:]),
            "seconds": _rounded([trainer.seconds[known : len(losses)]])[0],
            "from": known,
            "now": _rounded([losses[snapshot.epoch]])[0],
            **_parameters(snapshot.coefs, snapshot.intercepts),
            "code": trainer.experiment.code(snapshot.epoch, trainer.edits),
        }
        if trainer.experiment.task == "classification":
            data = trainer.data
            header["quality"] = quality_of(
                trainer.experiment, snapshot, data.X_test[:2000], data.y_test[:2000]
            )
        text = json.dumps(header).encode()
        drawn = pictures_of(trainer.experiment, snapshot)
        return len(text).to_bytes(4, "little") + text + drawn


def _shown(points, y):
    """Coordinates and targets of samples, as many as can be told apart."""
    return _rounded([*points[:_MOST_POINTS].T, y[:_MOST_POINTS]])


def _about(own):
    """What the page needs to know of a table; of images, one for an example."""
    return {
        "names": own.names, "task": own.task, "labels": own.labels,
        "n_samples": len(own.y), "dropped": own.dropped, "image": own.image,
        "example": _rounded(own.X[:1])[0] if own.image else None,
    }  # fmt: skip


def _rounded(arrays):
    """Nested lists of numbers, short enough for JSON, which has no infinite ones."""
    return [
        [float(f"{x:.5g}") if isfinite(x) else None for x in np.asarray(array).tolist()]
        for array in arrays
    ]


def _parameters(coefs, intercepts):
    return {"coefs": [*map(_rounded, coefs)], "intercepts": _rounded(intercepts)}


def _is_ours(connection):
    """Whether the page that asks is one that this server gave."""
    origin = connection.headers.get("origin", "")
    return urlsplit(origin).netloc == connection.headers.get("host", "")


async def _take_table(request):
    """Read a CSV file, or answer with a sentence that says why not."""
    from fastmlp.playground.own_data import MOST_BYTES, OwnDataError, read_csv

    if not _is_ours(request):
        return JSONResponse({"error": "only pages of the playground may do this"}, 403)
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            break
    asked = request.query_params
    name, target = asked.get("name", "data.csv"), asked.get("target") or None
    try:
        own = await asyncio.to_thread(read_csv, bytes(content), target, name=name)
    except OwnDataError as error:
        return JSONResponse({"error": str(error)})  # an answer, not a failure
    request.app.state.own = own
    return JSONResponse(_about(own))


async def _open(websocket):
    if not _is_ours(websocket):
        # which refuses it: it was not accepted; who asked may be gone already
        with contextlib.suppress(RuntimeError, OSError, WebSocketDisconnect):
            await websocket.close(1008)
        return
    await websocket.accept()
    await _Session(websocket).run()


def make_app(host="127.0.0.1", own=None):
    """The ASGI application, which answers to names of `host` only.

    own : fastmlp.playground.own_data.OwnData, default=None
        The table of the data set "own".
    """
    hosts = [host, *_LOOPBACK] if host not in ("0.0.0.0", "::") else ["*"]
    page = StaticFiles(directory=str(files(__package__) / "page"), html=True)
    app = Starlette(
        routes=[
            WebSocketRoute("/session", _open),
            Route("/table", _take_table, methods=["POST"]),
            Mount("/", page),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
    )
    app.state.own = own
    return app


def _bind(host, port):
    """A socket that listens on the port, or on the next that is free."""
    for candidate in (*range(port, min(port + _MORE_PORTS, 65536)), 0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        if sys.platform != "win32":  # there it would let two servers have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, candidate))
        except OSError as error:
            listening.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise PlaygroundError(f"cannot listen on {host}: {error}") from None
        else:
            listening.listen()  # a browser may come before the server has started
            return listening
    raise PlaygroundError(f"no port of {host} is free")


def _server(host, port, own):
    """(server, its socket, the address of its page)."""
    listening = _bind(host, port)
    name = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::"):  # no address to open
        name = _LOOPBACK[0]
    if host not in (*_LOOPBACK, "::1"):
        print(
            f"fastmlp: warning: everyone who reaches {host} can use this playground, "
            "and make this machine compute",
            file=sys.stderr,
        )
    config = uvicorn.Config(
        make_app(host, own), log_level="warning", ws="websockets-sansio",
        lifespan="off", ws_max_size=2**16, ws_per_message_deflate=False,
    )  # fmt: skip
    address = f"http://{name}:{listening.getsockname()[1]}/"
    address += "#data=own" if own is not None else ""
    return uvicorn.Server(config), listening, address


def serve(host="127.0.0.1", port=8080, *, own=None, opens_browser=True):
    """Serve the playground until Ctrl-C.

    Parameters
    ----------
    host : str, default="127.0.0.1"
        The address to listen on. Another than this machine's own lets others in.
    port : int, default=8080
        The next free one if it is taken.
    own : fastmlp.playground.own_data.OwnData, default=None
        A table to begin with.
    opens_browser : bool, default=True
        Whether to open the page.

    Raises
    ------
    PlaygroundError
        If the address cannot be listened on.
    """
    server, listening, address = _server(host, port, own)
    print(f"fastmlp playground: {address} (Ctrl-C ends it)", flush=True)
    if opens_browser:
        webbrowser.open(address)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def serve_in_background(own=None):
    """Serve the playground as long as this process lives; returns its address."""
    server, listening, address = _server("127.0.0.1", 0, own)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    return address
