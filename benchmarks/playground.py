"""What a frame of the playground costs, and how many there are in a second.

    python -m benchmarks.playground [--address "data=rings&hidden_layer_sizes=8,8"]
    python -m benchmarks.playground --data FILE --address "data=own&batch_size=200"

Starts a new server and a new headless Chromium, presses Run at once, and prints for
each second the frames that were drawn, and the CPU time of one: of the server, of all
processes of the browser, and of parts of the page. On a machine that others use, CPU
time says more than frames. Then it pauses again and again, and prints how long it takes
from the click until the page shows that training has stopped.

Needs psutil, selenium, and Chromium with its driver.
"""

import argparse
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from statistics import median

import psutil
from selenium import webdriver

#: Counts animation frames in which the page drew something: it tells the server so.
COUNT = """
globalThis.drawn = 0;
let counted = true;
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
  if (counted && String(text).includes('"drawn"')) {
    globalThis.drawn += 1;
    counted = false;
    requestAnimationFrame(() => (counted = true));
  }
  return send.call(this, text);
};
"""

#: What the renderer says of itself: seconds of CPU of its main thread.
PARTS = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "TaskDuration")


class Costs:
    """Seconds of CPU so far: of the server, the browser, and parts of the page."""

    def __init__(self, server, driver, browser):
        self._server, self._driver = psutil.Process(server), psutil.Process(driver)
        self._browser = browser
        self._seen = {}  # of processes that have ended, too

    def read(self):
        """A dict of seconds, the frames drawn, and the time."""
        for process in self._driver.children(recursive=True):
            try:
                self._seen[process.pid] = sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        told = self._browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        parts = {each["name"]: each["value"] for each in told}
        return {
            "time": time.perf_counter(),
            "frames": self._browser.execute_script("return globalThis.drawn"),
            "server": sum(self._server.cpu_times()[:2]),
            "browser": sum(self._seen.values()),
            **{name.removesuffix("Duration"): parts[name] for name in PARTS},
        }


def start_browser():
    """A headless Chromium with nothing in its caches."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
        "window-size=1300,1000",
    ):  # fmt: skip
        options.add_argument(f"--{argument}")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


#: Pauses, and calls back with the milliseconds until the server has said that it did.
PAUSE = """
const called = arguments[0], button = document.getElementById("run");
const start = performance.now();
const look = () => {
  if (button.textContent === "Run") called(performance.now() - start);
  else setTimeout(look, 1);
};
button.click();
look();
"""


def measure_pauses(browser, n_pauses):
    """Milliseconds of each pause, a while of training before each."""
    took = []
    for number in range(n_pauses):
        took.append(browser.execute_async_script(PAUSE))
        browser.execute_script("document.getElementById('run').click()")
        time.sleep(0.3 + 0.037 * (number % 5))
    return took


def measure(address, data, seconds, n_pauses):
    """Print a row for each second of training, one for all, and the pauses."""
    command = [sys.executable, "-m", "fastmlp", "playground", "--port", "0",
               "--no-browser", *(["--data", data] if data else [])]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        place = server.stdout.readline().split()[2].partition("#")[0]
        with start_browser() as browser:
            browser.execute_cdp_cmd(
                "Page.addScriptToEvaluateOnNewDocument", {"source": COUNT}
            )
            browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
            browser.get(f"{place}#{address}")
            ready = "return document.getElementById('copy-python')?.dataset.code"
            while not browser.execute_script(ready):
                time.sleep(0.01)
            costs = Costs(server.pid, browser.service.process.pid, browser)
            rows = [costs.read()]
            browser.execute_script("document.getElementById('run').click()")
            for second in range(1, seconds + 1):
                time.sleep(max(0, rows[0]["time"] + second - time.perf_counter()))
                rows.append(costs.read())
            pauses = measure_pauses(browser, n_pauses)
    finally:
        server.terminate()
        server.wait()
    names = [name for name in rows[0] if name not in ("time", "frames")]
    print("second frames/s  " + "  ".join(f"{name:>11}" for name in names) + "  (ms)")
    spans = [*pairwise(rows), (rows[0], rows[-1])]
    for number, (before, after) in enumerate(spans):
        frames = after["frames"] - before["frames"]
        rate = frames / (after["time"] - before["time"])
        title = "all" if number == len(spans) - 1 else str(number + 1)
        costs = (1000 * (after[n] - before[n]) / max(1, frames) for n in names)
        shown = "  ".join(f"{cost:11.2f}" for cost in costs)
        print(f"{title:>6} {rate:8.1f}  {shown}")
    longest = max(pauses)
    print(f"{n_pauses} pauses: median {median(pauses):.0f} ms, at most {longest:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="data=rings&hidden_layer_sizes=8,8")
    parser.add_argument("--data", metavar="FILE", help="a CSV file instead of points")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--pauses", type=int, default=20)
    given = parser.parse_args()
    measure(given.address, given.data, given.seconds, given.pauses)
