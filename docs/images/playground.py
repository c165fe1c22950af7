"""Draw the images of playground.md: ``python docs/images/playground.py``.

It needs Pillow, selenium, and Chromium with its driver.
"""

import base64
import io
import shutil
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver

ADAM = "solver=adam&learning_rate_init=0.01"
SPIRAL = f"data=spiral&hidden_layer_sizes=8,8&{ADAM}"
NOISY = f"data=xor&noise=0.5&share=0.1&hidden_layer_sizes=8,8,8&{ADAM}"
HILLS = "data=hills&hidden_layer_sizes=8,8&learning_rate_init"

#: name -> epochs, and the experiments whose outputs are side by side
OUTPUTS = {
    "lines": (300, [
        "hidden_layer_sizes=", "hidden_layer_sizes=&features=x1^2,x2^2",
        "data=xor&hidden_layer_sizes=", "data=xor&hidden_layer_sizes=4&activation=relu",
    ]),
    "overfitting": (500, [NOISY, f"{NOISY}&alpha=0.3"]),
    "hills": (200, [f"{HILLS}=0.03", f"{HILLS}=0.3", f"{HILLS}=1"]),
}  # fmt: skip


class Page:
    """The playground in a browser."""

    def __init__(self, browser, address):
        self.browser, self.address = browser, address

    def look(self, scheme="light", width=1280, height=925):
        """Set the size of the window, and the colours."""
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )

    def value(self, script):
        return self.browser.execute_script("return " + script)

    def wait_until(self, script):
        while not self.value(script):
            time.sleep(0.05)
        time.sleep(0.2)  # and until it is drawn

    def train(self, settings, epochs):
        """Train an experiment for so many epochs, or until its end."""
        self.browser.get("about:blank")
        self.browser.get(f"{self.address}#{settings}")
        self.wait_until("document.getElementById('copy-python')?.dataset.code")
        self.value("document.getElementById('run').click()")
        done = "document.getElementById('run').disabled"
        self.wait_until(f"{done} || document.getElementById('time').max >= {epochs}")
        if not self.value(done):
            self.go_to(epochs)

    def go_to(self, epoch):
        """Show that epoch."""
        self.value(
            f"(document.getElementById('time').value = {epoch},"
            "document.getElementById('time').oninput())"
        )
        self.wait_until(f"document.getElementById('epoch').value == {epoch}")

    def picture(self, left=0, top=0, right=None, bottom=None):
        """Of the page, or of a part of it."""
        width = (right or self.value("innerWidth")) - left
        height = (bottom or self.value("innerHeight")) - top
        clip = {"x": left, "y": top, "width": width, "height": height, "scale": 1}
        taken = self.browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
        image = Image.open(io.BytesIO(base64.b64decode(taken["data"])))
        return image.convert("RGB")

    def box(self, selector, side):
        script = f"document.querySelector('{selector}').getBoundingClientRect().{side}"
        return self.value(script)


def save(name, image, quality=75, **options):
    path = Path(__file__).with_name(f"playground-{name}.webp")
    image.save(path, quality=quality, method=6, **options)


def draw(page):
    """All images, one after the other."""
    for scheme in ("light", "dark"):
        page.look(scheme)
        page.train(SPIRAL, 200)
        save(scheme, page.picture().resize((1200, 867), Image.Resampling.LANCZOS))
    page.look()
    page.train(SPIRAL, 220)
    frames = []
    for epoch in range(0, 221, 10):
        page.go_to(epoch)
        frame = page.picture(page.box(".network", "left"), page.box("main", "top"))
        frame.thumbnail((690, 690), Image.Resampling.LANCZOS)
        frames.append(frame)
    save(
        "training", frames[0], 40, save_all=True, append_images=frames[1:], loop=0,
        duration=[250] * (len(frames) - 1) + [2000],
    )  # fmt: skip
    for name, (epochs, experiments) in OUTPUTS.items():
        parts = []
        for settings in experiments:
            page.train(settings, epochs)
            sides = [page.box(".output", side) for side in ("left", "top", "right")]
            parts.append(page.picture(*sides, page.box("#legend", "bottom") + 4))
        gap = 8
        width = sum(part.width + gap for part in parts) - gap
        joint = Image.new("RGB", (width, max(part.height for part in parts)), "white")
        for number, part in enumerate(parts):
            joint.paste(part, (number * (part.width + gap), 0))
        save(name, joint)


def main():
    command = [sys.executable, "-m", "fastmlp", "playground", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split()[2]
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ("headless=new", "no-sandbox", "hide-scrollbars"):
            options.add_argument(f"--{argument}")
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        with webdriver.Chrome(options=options, service=service) as browser:
            draw(Page(browser, address))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
