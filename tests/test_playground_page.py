"""The page of the playground, in a browser."""

import os
import re
import shutil
import signal
import string
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

from fastmlp.playground.experiment import Experiment  # noqa: E402
from fastmlp.playground.trainer import Trainer  # noqa: E402
from fastmlp.tables.activations import ACTIVATIONS  # noqa: E402
from fastmlp.tables.losses import LOSSES  # noqa: E402
from fastmlp.tables.optimizers import OPTIMIZERS  # noqa: E402

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,  # .ci/run installs a browser, its driver and selenium
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="chromium or its driver is missing"
    ),
]

#: Long enough for a kernel to be compiled.
PATIENCE = 60


@pytest.fixture(scope="module")
def address():
    """Of a server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fastmlp", "playground", "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        yield re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            _, errors = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--window-size=1300,1000", "--hide-scrollbars",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(10)
    yield driver
    driver.quit()


class Page:
    """One window of the browser, and what is on it."""

    def __init__(self, browser, address):
        self.browser, self.address = browser, address

    def open(self, settings=""):
        """Another experiment; of a page that is open, by its address."""
        self.browser.get("about:blank")
        self.browser.get(self.address + (settings and "#" + settings))
        self.wait_until(lambda: self.code, "first frame")
        return self

    def find(self, name):
        return self.browser.find_element(By.CSS_SELECTOR, f'[data-testid="{name}"]')

    def click(self, name):
        self.run("arguments[0].scrollIntoView({block: 'center'})", self.find(name))
        self.find(name).click()

    @property
    def focused(self):
        """Name of the element that has the keyboard."""
        return self.run("return document.activeElement.dataset.testid ?? ''")

    def press(self, *keys):
        """Press keys, wherever the focus is."""
        ActionChains(self.browser).send_keys(*keys).perform()

    def go_to(self, name):
        """Press Tab until an element has the focus."""
        for _ in range(80):
            if self.focused == name:
                return
            self.press(Keys.TAB)
        raise AssertionError(f"Tab does not reach {name}")

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def text(self, name):
        script = "return document.querySelector(arguments[0]).textContent"
        return self.run(script, f'[data-testid="{name}"]')

    @property
    def hash(self):
        # names of features are encoded once more, for those with commas
        return unquote(unquote(self.run("return location.hash.slice(1)")))

    @property
    def code(self):
        script = "return document.getElementById('copy-python')?.dataset.code ?? ''"
        return self.run(script)

    @property
    def epoch(self):
        return int(self.text("epoch"))

    @property
    def loss(self):
        return float(self.text("train-loss"))

    def wait_until(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            shown = self.text("message")
            assert time.monotonic() < end, f"{what}: never; the page says {shown!r}"
            time.sleep(0.02)

    def choose(self, name, value):
        Select(self.find(name)).select_by_value(value)

    def enter(self, name, value):
        """A number into an input, a range too."""
        self.run(
            "const [input, value] = arguments; input.value = value;"
            "input.dispatchEvent(new Event('input', {bubbles: true}));"
            "input.dispatchEvent(new Event('change', {bubbles: true}));",
            self.find(name), value,
        )  # fmt: skip

    def expect(self, part_of_address, part_of_code):
        """The address says so now, and soon the experiment too."""
        assert part_of_address in self.hash.split("&"), self.hash
        self.wait_until(lambda: part_of_code in self.code, part_of_code)


@pytest.fixture
def page(browser, address):
    made = Page(browser, address)
    browser.get_log("browser")  # of other tests
    yield made
    assert browser.get_log("browser") == []
    origins = made.run(
        "return performance.getEntries().filter((entry) => entry.name.includes(':'))"
        ".map((entry) => new URL(entry.name).origin)"
    )
    assert set(origins) <= {address.rstrip("/"), "null"}, "a request left the machine"
    browser.get("about:blank")  # else it trains on, while other tests run


LEARNS = {
    "circle": ("features=x1^2,x2^2", 0.1),
    "xor": ("features=x1*x2", 0.1),
    "gauss": ("", 0.05),
    "spiral": ("features=x1,x2,sin(x1),sin(x2)&hidden_layer_sizes=8,8&dropout=0", 0.45),
    "rings": ("features=x1,x2,x1^2,x2^2&hidden_layer_sizes=8,8", 0.2),
    "pinwheel": ("hidden_layer_sizes=8,8", 0.8),
    "plane": ("", 0.005),
    "hills": ("hidden_layer_sizes=8,8&activation=gelu", 0.035),
    "digits": ("hidden_layer_sizes=16&batch_size=50", 0.2),
    "letters": ("hidden_layer_sizes=16&batch_size=50", 0.8),
}


@pytest.mark.parametrize("data", LEARNS)
def test_each_data_set_is_learnt(page, data):
    settings, loss = LEARNS[data]
    settings = settings.replace("^", "%5E").replace("*", "%2A")
    page.open(f"data={data}&solver=adam&learning_rate_init=0.03&{settings}")
    assert page.epoch == 0
    assert page.loss > 1.3 * loss
    page.click("run")
    page.wait_until(lambda: page.loss < loss, f"a loss of {loss}")
    estimator = page.run("return document.getElementById('estimator').textContent")
    is_number = data in ("plane", "hills")
    assert estimator == ("MLPRegressor" if is_number else "MLPClassifier")


def test_run_pause_step_and_reset(page):
    page.open()
    first = page.text("train-loss")
    page.click("step")
    page.wait_until(lambda: page.epoch == 1, "a step")
    page.click("run")
    page.wait_until(lambda: page.text("run") == "Pause", "a run")
    page.wait_until(lambda: page.epoch > 10, "epochs")
    page.click("run")
    page.wait_until(lambda: page.text("run") == "Run", "a pause")
    stopped = page.epoch
    time.sleep(0.2)
    assert page.epoch == stopped
    page.click("step")
    page.wait_until(lambda: page.epoch == stopped + 1, "a step after a pause")
    assert page.text("train-loss") != first
    page.click("reset")
    page.wait_until(lambda: page.epoch == 0, "a reset")
    assert page.text("train-loss") == first


def test_a_fit_ends_after_its_epochs(page):
    page.open("max_iter=3")
    page.click("run")
    page.wait_until(lambda: "All epochs are done" in page.text("message"), "the end")
    assert page.epoch == 3
    assert not page.find("step").is_enabled()
    page.click("reset")
    page.wait_until(lambda: page.epoch == 0 and page.find("step").is_enabled(), "again")


def test_every_control_changes_the_address_and_the_experiment(page):
    page.open()
    for name, value, code in (
        ("activation", "relu", "activation='relu'"),
        ("loss", "focal", "loss='focal'"),
        ("solver", "adamw", "solver='adamw'"),
        ("learning_rate_init", "0.1", "learning_rate_init=0.1"),
        ("learning_rate", "cosine", "learning_rate='cosine'"),
        ("alpha", "0.01", "alpha=0.01"),
        ("l1", "0.003", "l1=0.003"),
        ("dropout", "0.2", "dropout=0.2"),
    ):
        page.choose(name, value)
        page.expect(f"{name}={value}", code)
    for name, value, code in (
        ("batch_size", "32", "batch_size=32"),
        ("max_iter", "300", "max_iter=300"),
        ("noise", "0.2", "noise=0.2"),
        ("share", "0.7", "share=0.7"),
        ("seed", "5", "seed=5"),
    ):
        page.enter(name, value)
        page.expect(f"{name}={value}", code)
    page.choose("data", "plane")
    page.expect("data=plane", "loss='squared_error'")
    page.click("regenerate")
    page.expect("seed=6", "seed=6")
    page.click("feature-x1*x2")
    page.expect("features=x1,x2,x1*x2", "features=('x1', 'x2', 'x1*x2')")
    page.click("feature-x1")
    page.expect("features=x2,x1*x2", "features=('x2', 'x1*x2')")
    for name, sizes in (
        ("add-layer", "4,2,4"), ("add-unit-1", "4,3,4"), ("remove-unit-0", "3,3,4"),
        ("remove-layer", "3,3"),
    ):  # fmt: skip
        page.click(name)
        code = f"hidden_layer_sizes=({sizes.replace(',', ', ')})"
        page.expect(f"hidden_layer_sizes={sizes}", code)

    # and all of it comes back
    before, code = page.hash, page.code
    page.browser.refresh()
    page.wait_until(lambda: page.code == code, "the same experiment")
    assert page.hash == before
    for name, value in (("activation", "relu"), ("noise", "0.2"), ("seed", "6")):
        assert page.find(name).get_property("value") == value
    page.run("location.hash = '#activation=gelu'")
    page.wait_until(lambda: "activation='gelu'" in page.code, "a new address")
    assert "hidden_layer_sizes=(4, 2)" in page.code


def test_layers_can_be_taken_away_and_the_last_feature_cannot(page):
    page.open("hidden_layer_sizes=1")
    assert not page.find("remove-unit-0").is_enabled()
    page.click("remove-layer")
    page.expect("hidden_layer_sizes=", "hidden_layer_sizes=()")
    assert not page.find("remove-layer").is_enabled()
    page.browser.refresh()
    page.wait_until(lambda: "hidden_layer_sizes=()" in page.code, "no layers")
    page.click("feature-x1")
    page.expect("features=x2", "features=('x2',)")
    page.click("feature-x2")
    assert "one feature at least" in page.text("message")
    assert "features=x2" in page.hash.split("&")


def test_changes_while_it_runs(page):
    """Frames of the network before are not drawn as one of the network now."""
    page.open("hidden_layer_sizes=8,8")
    for name in (
        "remove-unit-0", "feature-sin(x1)", "add-layer", "add-unit-1", "feature-x1",
        "remove-layer", "regenerate",
    ):  # fmt: skip
        page.click("run")
        page.wait_until(lambda: page.epoch > 1, f"epochs before {name}")
        page.click(name)
        page.wait_until(lambda: page.epoch == 0, f"a new fit after {name}")


@pytest.mark.parametrize("name", ["show-test", "discretize"])
def test_the_picture_of_the_output_has_choices(page, name):
    page.open("features=x1")
    picture = "return document.getElementById('map').toDataURL()"
    before = page.run(picture)
    page.click(name)
    after = page.run(picture)
    assert after != before
    address = page.hash
    assert {"show=test-samples", "show=discrete"} & {*address.split("&")}
    page.click(name)
    assert page.run(picture) == before
    assert "show" not in page.hash
    page.open(address)  # where it is kept
    page.wait_until(lambda: page.run(picture) == after, "the same picture")


def test_the_picture_follows_the_weights_and_the_scheme(page, browser):
    """Of links and units, which are drawn only if something has changed."""
    page.open("hidden_layer_sizes=2")
    picture = (
        "return [...document.querySelectorAll('.links, .unit canvas, #map, #curve')]"
        ".map((canvas) => canvas.toDataURL())"
    )
    before = page.run(picture)
    page.click("step")
    page.wait_until(lambda: page.epoch == 1, "an epoch")
    after = page.run(picture)
    same = [old == new for old, new in zip(before, after, strict=True)]
    assert same == [False] + [True] * 7 + [False] * 4  # features stay what they are
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    try:
        page.wait_until(
            lambda: all(a != b for a, b in zip(after, page.run(picture), strict=True)),
            "dark pictures",
        )
    finally:
        scheme["value"] = "light"
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def test_examples_open_experiments(page):
    page.open("hide=data")
    options = page.find("examples").find_elements(By.TAG_NAME, "option")
    addresses = [option.get_attribute("value") for option in options][1:]
    linked = (Path(__file__).parents[1] / "docs" / "playground.md").read_text("utf-8")
    assert len(addresses) > 5
    for address in addresses:
        assert f"http://127.0.0.1:8080/#{address}\n" in linked
    page.choose("examples", addresses[-1])
    page.wait_until(lambda: "OwnData.letters" in page.code, "the last of them")
    assert page.hash == f"hide=data&{addresses[-1]}"
    assert page.text("message")
    page.wait_until(lambda: page.text("accuracy").endswith("%"), "what it shows")
    page.browser.back()
    page.wait_until(lambda: "'circle'" in page.code, "the one before")


def test_two_pages_are_independent(page, browser):
    first = browser.current_window_handle
    page.open("data=xor")
    browser.switch_to.new_window("window")
    second = browser.current_window_handle
    try:
        page.open("data=plane")
        page.click("step")
        page.wait_until(lambda: page.epoch == 1, "a step")
        browser.switch_to.window(first)
        assert page.epoch == 0
        assert "'xor'" in page.code
        page.click("step")
        page.click("step")
        page.wait_until(lambda: page.epoch >= 1, "steps")
        browser.switch_to.window(second)
        assert page.epoch == 1
        assert "'plane'" in page.code
    finally:
        browser.switch_to.window(second)
        browser.close()
        browser.switch_to.window(first)


def test_the_code_gives_the_weights_of_the_page(page):
    settings = {"data": "rings", "solver": "adam", "dropout": 0.2}
    page.open("&".join(f"{name}={value}" for name, value in settings.items()))
    for epoch in (1, 2, 3):
        page.click("step")
        page.wait_until(lambda epoch=epoch: page.epoch == epoch, "a step")
    page.wait_until(lambda: "3" in page.code.split("epoch")[-1][:8], "its code")
    script = page.code + (
        "import sys\n"
        "for part in [*model.coefs_, *model.intercepts_]:\n"
        "    print(part.tobytes().hex())\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert 0 <= float(found[0]) <= 1
    trainer = Trainer(Experiment(**settings))
    try:
        trainer.step(3)
        page.wait_until(lambda: trainer.epoch == 3, "the same steps")
        snapshot = trainer.at(3)
    finally:
        trainer.close()
    expected = [part.tobytes().hex() for part in snapshot.coefs + snapshot.intercepts]
    assert found[1:] == expected
    shown = page.run(
        "return [...document.querySelectorAll('#network path title')]"
        ".map((title) => title.textContent.match(/-?[\\d.]+(e-\\d+)?/)[0])"
    )
    weights = [weight for part in snapshot.coefs[:-1] for weight in part.ravel()]
    # the output of the drawing is one, whatever the number of classes
    found = [float(text) for text in shown[: len(weights)]]
    np.testing.assert_allclose(found, weights, rtol=1e-4)


def test_back_in_time(page):
    page.open()
    losses = []
    for epoch in range(5):
        page.wait_until(lambda epoch=epoch: page.epoch == epoch, "a step")
        losses.append(page.text("train-loss"))
        page.click("step")
    page.wait_until(lambda: page.epoch == 5, "a step")
    last = page.text("train-loss")
    assert len(set(losses)) == 5
    for epoch in (2, 0, 4):
        page.enter("time", epoch)
        page.wait_until(lambda epoch=epoch: page.epoch == epoch, f"epoch {epoch}")
        assert page.text("train-loss") == losses[epoch]
    page.enter("time", 5)
    page.wait_until(lambda: page.epoch == 5, "the latest epoch")
    assert page.text("train-loss") == last


def test_a_wrong_address_is_answered_with_a_sentence(page):
    page.browser.get("about:blank")
    page.browser.get(page.address + "#activation=step&alpha=x&data=<b>")
    page.wait_until(lambda: "must be" in page.text("message"), "a sentence")
    page.choose("data", "circle")
    page.wait_until(lambda: "activation must be" in page.text("message"), "the next")
    page.choose("activation", "relu")
    page.wait_until(lambda: "alpha must be" in page.text("message"), "the last")
    page.choose("alpha", "0.1")
    page.wait_until(lambda: "alpha=0.1" in page.code, "an experiment")
    assert page.text("message") == ""


@pytest.mark.parametrize("settings", ["features=%25", "features=,", "features=x3"])
def test_features_that_are_none_are_answered_with_a_sentence(page, settings):
    page.browser.get("about:blank")
    page.browser.get(page.address + "#" + settings)
    page.wait_until(lambda: "one or more of" in page.text("message"), "a sentence")


def test_the_page_fits_on_a_phone(page, browser):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        for settings in ("", "data=pinwheel&hidden_layer_sizes=8,8,8,8,8,8"):
            page.open(settings)
            width = page.run("return document.scrollingElement.scrollWidth")
            assert width <= 390
            assert not page.find("activation").is_displayed()  # settings are folded
            page.find("settings").find_element(By.TAG_NAME, "summary").click()
            assert page.find("activation").is_displayed()
            page.click("run")
            page.wait_until(lambda: page.epoch > 0, "an epoch")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_keyboard_is_enough(page):
    page.open()
    press, go_to = page.press, page.go_to

    press(Keys.TAB)
    go_to("run")
    press(Keys.ENTER)
    page.wait_until(lambda: page.text("run") == "Pause", "a run")
    press(Keys.SPACE)
    page.wait_until(lambda: page.text("run") == "Run", "a pause")
    before = page.epoch
    go_to("step")
    press(Keys.SPACE)
    page.wait_until(lambda: page.epoch == before + 1, "a step")
    go_to("activation")
    press("r")
    page.wait_until(lambda: "activation='relu'" in page.code, "an activation")
    assert page.focused == "activation"
    go_to("feature-x1^2")
    press(Keys.ENTER)
    page.expect("features=x1,x2,x1^2", "features=('x1', 'x2', 'x1^2')")
    assert page.focused == "feature-x1^2"
    go_to("add-unit-0")
    press(Keys.SPACE)
    page.expect("hidden_layer_sizes=5,2", "hidden_layer_sizes=(5, 2)")
    assert page.focused == "add-unit-0"


def test_a_weight_and_a_bias_are_set_with_the_keyboard_alone(page):
    page.open("data=rings&hidden_layer_sizes=2&hide=settings,data,layers,to-race")
    press = page.press

    def go_to(name):
        page.go_to(name)
        outline = page.run(
            "const style = getComputedStyle(document.activeElement);"
            "return style.outlineStyle + style.outlineWidth"
        )
        assert outline == "solid2px"  # it is seen where the focus is

    def enter(value):
        assert page.focused == "editor"
        press(value, Keys.ENTER)

    for unit, keys, code in (
        ("unit-0-1", [Keys.ARROW_DOWN] * 2, "coefs_[0][1, 1] = 0.5"),
        ("output-1", [Keys.ARROW_UP], "coefs_[1][1, 1] = -2.0"),
    ):
        go_to(unit)
        press(*keys)
        assert "weight" in page.browser.find_element(By.CLASS_NAME, "said").text
        press(Keys.ENTER)
        enter(code.split("= ")[1])
        assert page.focused == unit
        page.wait_until(lambda code=code: code in page.code, code)
    press(Keys.ENTER)  # of the same link, and no number
    press(Keys.ESCAPE)
    press(Keys.ESCAPE)
    assert not page.browser.find_element(By.CLASS_NAME, "said").is_displayed()
    go_to("bias-1-1")
    press(Keys.SPACE)
    enter("3")
    assert page.focused == "bias-1-1"
    page.wait_until(lambda: "intercepts_[1][1] = 3.0" in page.code, "the bias")


def test_code_can_be_copied(page, browser):
    page.open()
    browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    page.click("copy-python")
    page.wait_until(lambda: "Copied" in page.text("message"), "a copy")
    copied = browser.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], arguments[0])"
    )
    assert copied == page.code


def test_controls_can_be_hidden(page):
    page.open("data=xor&hide=settings,data,nothing")
    assert not page.browser.find_element(By.ID, "settings").is_displayed()
    assert not page.browser.find_element(By.ID, "data").is_displayed()
    page.click("add-layer")
    page.wait_until(lambda: "hidden_layer_sizes=4,2,4" in page.hash, "the layer")
    assert "hide=settings,data" in page.hash


# --- beyond the original --------------------------------------------------------------


def test_a_csv_file_of_ones_own(page, tmp_path):
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((20_000, 3))
    path = tmp_path / "own.csv"
    towns = rng.choice(["Oslo", "Rome"], 20_000)
    lines = [f"{a:.4f};{b:.4f};{c:.4f};{town};{a + b > 0}"
             for (a, b, c), town in zip(numbers, towns, strict=True)]  # fmt: skip
    path.write_text("\n".join(["a;b;c;town;sum", *lines]))
    page.open("solver=adam&batch_size=100")
    page.find("file").send_keys(str(path))
    page.wait_until(lambda: "20000 rows, 5 columns" in page.text("message"), "the file")
    page.wait_until(lambda: "OwnData.from_frame" in page.code, "its experiment")
    page.click("run")
    page.wait_until(lambda: page.epoch >= 3 and page.loss < 0.2, "learning")
    page.choose("axis-1", "component 2")
    page.wait_until(lambda: "component 1,component 2" in page.hash, "the components")
    page.open(page.hash)  # the server still has the table
    page.wait_until(lambda: "OwnData" in page.code, "the table after a reload")
    page.run(
        "const dropped = new DataTransfer();"
        "dropped.items.add(new File([arguments[0]], 'dropped.csv'));"
        "const options = {dataTransfer: dropped, bubbles: true, cancelable: true};"
        "document.body.dispatchEvent(new DragEvent('drop', options));",
        "a,b\n" + "\n".join(f"{i % 7},{i % 2}" for i in range(50)),
    )
    page.wait_until(lambda: "50 rows, 1 columns" in page.text("message"), "the drop")
    page.wait_until(lambda: "dropped.csv" in page.code, "its experiment")
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"\x89PNG\r\n" + bytes(range(256)))
    page.find("file").send_keys(str(bad))
    page.wait_until(lambda: "no CSV file" in page.text("message"), "a sentence")


def test_a_table_from_the_command_line(browser, tmp_path):
    path = tmp_path / "own.csv"
    rows = "\n".join(f"{i % 7},{i % 5},{i % 3},{i % 2}" for i in range(60))
    path.write_text("one,two,three,y\n" + rows)
    process = subprocess.Popen(
        [sys.executable, "-m", "fastmlp", "playground", "--port", "0", "--no-browser",
         "--data", str(path)], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        made = Page(browser, re.search(r"http://127\.0\.0\.1:\d+/", line)[0])
        assert "#data=own" in line
        made.open("data=own")
        made.click("run")
        made.wait_until(lambda: made.epoch > 20, "twenty epochs")
        assert made.find("feature-three").get_attribute("aria-pressed") == "true"
        assert browser.get_log("browser") == []
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_a_weight_and_a_bias_are_set_by_hand(page):
    page.open("data=xor")
    page.click("step")
    page.wait_until(lambda: page.epoch == 1, "an epoch")
    for name, value in (("weight-0-1-2", "3.5"), ("bias-0-1", "-2")):
        page.run(
            "const element = document.querySelector(arguments[0]);"
            "const box = element.getBoundingClientRect();"
            "element.dispatchEvent(new MouseEvent('click', {bubbles: true,"
            " clientX: box.left + box.width / 2, clientY: box.top + box.height / 2}));",
            f'[data-testid="{name}"]',
        )
        page.find("editor").send_keys(Keys.CONTROL + "a")
        page.find("editor").send_keys(value, Keys.ENTER)
    page.wait_until(lambda: "intercepts_[0][1] = -2.0" in page.code, "the edits")
    assert "coefs_[0][1, 2] = 3.5" in page.code
    assert page.epoch == 1
    page.click("step")
    page.wait_until(lambda: page.epoch == 2, "going on from there")


def test_back_propagation_by_hand(page):
    page.open("data=xor&hidden_layer_sizes=3,2&class_weight=balanced&alpha=0.1")
    page.find("by-hand").find_element(By.TAG_NAME, "summary").click()
    stages = ["Forward: hidden layer 1", "Forward: hidden layer 2",
              "Forward: the output", "The loss", "Backward: the output",
              "Backward: hidden layer 2", "Backward: hidden layer 1",
              "The step: hidden layer 1", "The step: hidden layer 2",
              "The step: the output"]  # fmt: skip
    links = "return document.querySelector('.links').toDataURL()"
    seen, shown = [], []
    for number, stage in enumerate(stages):
        expected = f"{number + 1} of 10 · {stage}"
        page.wait_until(lambda e=expected: page.text("stage") == e, expected)
        seen.append(page.text("lines") + page.text("parameters"))
        shown.append(page.run(links))
        if number < 9:
            page.click("stage-on")
    assert len(set(seen)) == 10
    assert "tanh(" in seen[0]
    assert re.search(r"the weight 1?[.0-9]+ of its class", seen[3])
    assert "of its class" in seen[4]
    assert "δ3 =" in seen[6]
    # the weights, the gradients of each layer, and the changes of each
    assert len(set(shown)) == 7
    rows = page.find("parameters").find_elements(By.TAG_NAME, "tr")
    assert [len(row.find_elements(By.XPATH, "*")) for row in rows] == [4] * 4
    assert "η = 0.03, momentum = 0.9" in page.text("formula")
    page.enter("sample", "2")
    page.click("stage-back")
    page.wait_until(lambda: "The step: hidden layer 2" in page.text("stage"), "back")


def test_dropout_and_the_average_by_hand(page):
    page.open("data=xor&hidden_layer_sizes=8&dropout=0.5&ema_decay=0.9&solver=adam")
    page.find("by-hand").find_element(By.TAG_NAME, "summary").click()
    page.wait_until(lambda: "Forward" in page.text("stage"), "the first stage")

    def each(selector, what):
        # at once: the next frame may put others in their places
        return page.run(
            f"return [...document.querySelectorAll('{selector}')].map(e => e.{what})"
        )

    lines = each("[data-testid=lines] li", "innerText")
    dropped = [line.endswith("= 0: dropped") for line in lines]
    assert 0 < sum(dropped) < 8
    assert all(
        ("= 2 · tanh(" in line) != d for line, d in zip(lines, dropped, strict=True)
    )
    classes = each(".unit:not([data-testid^=feature])", "getAttribute(`class`)")
    assert ["dropped" in of_unit for of_unit in classes] == dropped
    texts = each(".number", "textContent")
    assert [text == "dropped" for text in texts] == dropped
    for _ in range(5):
        page.click("stage-on")
    page.wait_until(
        lambda: "The step: hidden layer 1" in page.text("stage"), "the step"
    )
    first = each("[data-testid=parameters] tr:nth-of-type(2)", "innerText")[0]
    name, before, _, after, average = first.split("\t")
    assert name == "bias 1"
    assert float(average) == pytest.approx(
        0.9 * float(before) + 0.1 * float(after), abs=0.01
    )
    page.click("run")  # numbers of another epoch are not left on the units
    page.wait_until(lambda: page.epoch > 2, "epochs")
    assert not page.browser.find_elements(By.CLASS_NAME, "number")


def test_formulas_of_the_tables_are_drawn(page):
    formulas = [
        row.formula
        for table in (ACTIVATIONS, LOSSES, OPTIMIZERS)
        for row in table.values()
    ]
    page.open()
    page.browser.set_script_timeout(10)
    texts = page.browser.execute_async_script(
        "const [formulas, done] = arguments;"
        "import('/formula.js').then(({ formulaOf }) => done(formulas.map(formulaOf)"
        ".map((lines) => lines.map((line) => line.textContent).join(' '))));",
        formulas,
    )
    assert len(texts) == len(formulas)
    for text in texts:
        assert text
        assert not re.search(r"[$\\\\{}_^]|frac|sqrt|left|right", text), text


def test_images_have_a_confusion_matrix_and_weights_as_images(page):
    page.open("data=digits&solver=adam&hidden_layer_sizes=16&batch_size=50")
    page.find("quality").find_element(By.TAG_NAME, "summary").click()
    page.click("run")
    page.wait_until(
        lambda: float(page.text("accuracy").rstrip("%") or 0) > 85, "85% right"
    )
    cells = page.find("confusion").find_elements(By.TAG_NAME, "td")
    assert len(cells) == 100
    assert "samples: says" in page.text("calibration")
    pictures = (
        "return [...document.querySelectorAll('.unit canvas')]"
        ".map((canvas) => canvas.toDataURL())"
    )
    before = page.run(pictures)
    assert len(set(before)) == 17  # a digit, and the weights of each unit
    page.choose("data", "letters")
    page.expect("data=letters", "OwnData.letters(noise=0.0, seed=0)")
    assert "features" not in page.hash  # all pixels
    after = page.run(pictures)
    assert len({*before, *after}) == 34
    outputs = page.browser.find_elements(By.CLASS_NAME, "result")
    assert "".join(output.text for output in outputs) == string.ascii_uppercase
    entries = page.browser.find_elements(By.CSS_SELECTOR, "#legend i")
    colours = {entry.value_of_css_property("background-color") for entry in entries}
    assert len(colours) == 26
    page.enter("noise", "0.3")
    page.expect("noise=0.3", "OwnData.letters(noise=0.3, seed=0)")


def test_lbfgs_and_losses_of_positive_numbers_and_of_quantiles(page):
    page.open("data=hills&hidden_layer_sizes=8")
    page.choose("solver", "lbfgs")
    page.expect("solver=lbfgs", "solver='lbfgs'")
    for name in ("learning_rate_init", "learning_rate", "batch_size", "dropout"):
        assert not page.find(name).is_enabled()
        label = page.find(name).find_element(By.XPATH, "..")
        assert "not used by lbfgs" in label.text
    assert page.find("alpha").is_enabled()
    page.click("step")
    page.wait_until(lambda: page.epoch == 1, "an iteration")
    page.choose("loss", "gamma")
    page.expect("loss=gamma", "positive=True")
    assert "exp(y)" in page.text("notes")
    assert "2.72" in page.browser.find_element(By.ID, "legend").text
    page.choose("loss", "quantile")
    page.expect("loss=quantile", "quantile=0.5")
    page.enter("quantile", "0.1, 0.9")
    page.expect("quantile=0.1,0.9", "quantile=[0.1, 0.9]")
    page.wait_until(lambda: "shows that of 0.9" in page.text("notes"), "a note")
    assert page.text("output-1") == "q = 0.9"
    page.run("location.hash = location.hash.replace('0.1,0.9', '0.2,0.8')")
    page.wait_until(lambda: "quantile=[0.2, 0.8]" in page.code, "what it says")
    page.enter("quantile", "2")
    page.wait_until(lambda: "between 0 and 1" in page.text("message"), "a sentence")


def test_a_race(page):
    page.browser.get("about:blank")
    page.browser.get(page.address + "race.html#data=xor&hidden_layer_sizes=4")
    page.wait_until(lambda: page.browser.find_elements(By.ID, "lanes"), "the page")

    def told(lane):
        found = page.browser.find_elements(
            By.CSS_SELECTOR, f'[data-testid="told-{lane}"]'
        )
        return found[0].text if found else ""

    page.wait_until(lambda: "epoch 0" in told(0) and "epoch 0" in told(1), "two lanes")
    page.click("add-lane")
    page.wait_until(lambda: "epoch 0" in told(2), "a third")
    page.choose("solver-2", "lbfgs")
    page.wait_until(lambda: '"solver":"lbfgs"' in page.hash, "its solver")
    assert not page.find("learning_rate_init-2").is_enabled()
    assert page.find("learning_rate_init-1").is_enabled()
    page.choose("loss", "focal")
    assert "loss=focal" in page.hash
    notes = page.browser.find_element(By.ID, "notes")
    page.wait_until(lambda: "one of its iterations" in notes.text, "a note")
    page.click("run")
    page.wait_until(
        lambda: all(int(told(i).split()[1].strip(",")) > 20 for i in range(3)), "epochs"
    )
    page.browser.refresh()
    page.wait_until(lambda: "epoch 0" in told(2), "three lanes after a reload")
    assert page.find("solver-2").get_attribute("value") == "lbfgs"
    assert page.find("loss").get_attribute("value") == "focal"
    page.click("remove-lane")
    page.wait_until(lambda: told(2) == "", "two lanes again")
