// Controls, and what they change: the experiment, which is sent to the server whole.

import { hidden, read, shown, write } from "./address.js";
import { droppedBy, explain, linksOf, numbersOf, stagesOf } from "./byhand.js";
import { drawCurve } from "./chart.js";
import { connect } from "./connection.js";
import { EXAMPLES } from "./examples.js";
import { formulaOf } from "./formula.js";
import { OutputMap } from "./map.js";
import { NetworkView } from "./network.js";
import { css, onScheme, sharp, signed } from "./pictures.js";
import { defaultsOf, disableUnused, lossesOf, nameOfClass, settled, tableOf } from "./settings.js";

const HIDEABLE = ["settings", "data", "layers", "by-hand", "curve", "quality", "copy-python", "to-race", "examples"];
// what can be shown beside the experiment: name in the address -> [id, property]
const SHOWABLE = { "test-samples": ["show-test", "checked"], discrete: ["discretize", "checked"], "by-hand": ["by-hand", "open"], quality: ["quality", "open"] };
const COMPILING = "Compiling kernels: some ten seconds, the first time only.";
const byId = (id) => document.getElementById(id);
let choices, experiment, number = 0, data = null, frame = null, losses = [], pointed = null, preparing, hint = "", lossColours = null;

// name, label, the values to choose from or what an input needs, when it is shown, and help
const SETTINGS = [
  ["activation", "Activation"], ["loss", "Loss"],
  ["quantile", "Quantiles", { type: "text" }, () => experiment.loss === "quantile", "one output for each"],
  ["solver", "Solver"],
  ["learning_rate_init", "Learning rate", [0.00001, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]],
  ["learning_rate", "Schedule"],
  ["alpha", "L2 (alpha)", [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]],
  ["l1", "L1", [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1]],
  ["dropout", "Dropout", [0, 0.1, 0.2, 0.3, 0.5, 0.8]],
  ["ema_decay", "EMA of weights", [0, 0.9, 0.99, 0.999]],
  ["class_weight", "Class weights", null, () => choices.data[experiment.data] === "classification"],
  ["early_stopping", "Early stopping", { type: "checkbox" }],
  ["batch_size", "Batch size", { step: 1 }],
  ["max_iter", "Epochs at most", { step: 1 }, null, "where training and its schedule end"],
];
const table = () => tableOf(choices, experiment.data);
const hasTable = () => table() !== null;
const hasColumns = () => hasTable() && !table().image.length && table().names.length > 1;
const DATA_SETTINGS = [
  ["data", "Data set"],
  ["noise", "Noise", { type: "range", step: 0.05 }, () => choices.noisy.includes(experiment.data)],
  ["axis-0", "Map, to the right", null, hasColumns],
  ["axis-1", "Map, upwards", null, hasColumns],
  ["share", "Share for training", { type: "range", step: 0.1 }],
  ["seed", "Seed", { step: 1 }],
];

const view = new NetworkView(byId("network"), {
  onFeature(name) {
    const chosen = new Set(experiment.features);
    if (!chosen.delete(name)) chosen.add(name);
    if (chosen.size) change({ features: features().filter((each) => chosen.has(each)) });
    else say("A network needs one feature at least.", true);
  },
  onUnits(layer, by) {
    const sizes = [...experiment.hidden_layer_sizes];
    sizes[layer] += by;
    change({ hidden_layer_sizes: sizes });
  },
  onEdit(which, value) {
    shownEpoch = null;
    send("edit", { ...which, value });
  },
  onPoint(bytes) {
    pointed = bytes;
    drawMap();
  },
});

const map = new OutputMap(byId("map"), byId("legend"), drawMap);
sharp(byId("curve"), drawLosses);
onScheme(() => {
  lossColours = shownEpoch = null;
  map.forget();
  if (!choices) return;
  buildView();
  draw();
});

const send = connect({
  onMessage(message) {
    if (message.type === "choices") begin(message);
    else if (message.type === "by_hand") drawStage(message);
    else if (message.type === "error") {
      clearTimeout(preparing);
      say(message.error, true);
    } else if (message.type === "preparing")
      preparing = setTimeout(() => say(COMPILING), 700);
    else if (message.type === "data") {
      clearTimeout(preparing);
      if (message.number !== number) return; // another experiment has been asked for
      if (byId("message").textContent === COMPILING) say(hint);
      // the server decides which columns there are, and which of them are used
      if (message.own) takeTable(message.own);
      const isAsAsked = String(message.features) === String(experiment.features);
      Object.assign(experiment, { features: message.features, axes: message.axes });
      shownEpoch = null;
      if (!isAsAsked) buildView();
      data = message;
      losses = [];
      frame = null;
      byId("notes").textContent = message.notes.join(" ");
      byId("estimator").textContent = data.task === "regression" ? "MLPRegressor" : "MLPClassifier";
    }
  },
  onFrame(frames) {
    for (const each of frames.filter((one) => one.number === number && data)) {
      losses.length = each.from;
      losses.push(...each.losses);
      frame = each;
    }
    draw();
  },
  onClose: () => say("The playground's server has ended. Start it again and reload.", true),
});

function begin(message) {
  const all = Uint8Array.from(atob(message.feature_pictures), (letter) => letter.charCodeAt(0));
  const n = message.unit_grid, size = n ** 2;
  // of a table: the columns of the map change along it, all others do not
  const ofColumn = (name) => Uint8Array.from({ length: size }, (_, i) => {
    const along = [i % n, n - 1 - Math.floor(i / n)][axes().indexOf(name)];
    return along === undefined ? 128 : 1 + (254 * along) / (n - 1);
  });
  // of images: one of them
  const ofImage = ({ image: [height, width], example }) => Uint8Array.from({ length: size }, (_, i) => {
    const row = Math.floor((Math.floor(i / n) * height) / n), column = Math.floor(((i % n) * width) / n);
    return 128 + 127 * Math.max(-1, Math.min(1, example[row * width + column] / 2));
  });
  choices = {
    ...message,
    featurePictures: (i) => (!hasTable() ? all.subarray(i * size, (i + 1) * size)
      : table().image.length ? ofImage(table()) : ofColumn(features()[i])),
  };
  takeTable(message.own);
  readAddress();
}

function readAddress() {
  experiment = read(choices);
  forgetTable();
  for (const [name, [id, property]] of Object.entries(SHOWABLE)) byId(id)[property] = shown().includes(name);
  configure();
}

function writeAddress() {
  if (!choices) return;
  const show = Object.entries(SHOWABLE).filter(([, [id, property]]) => byId(id)[property]).map(([name]) => name);
  write(experiment, defaultsOf(choices, experiment.data), show);
  byId("to-race").href = "race.html" + location.hash;
}

// an address may ask for a table that is no longer there
function forgetTable() {
  const { data, features, axes } = choices.defaults;
  if (experiment.data === "own" && !choices.own) Object.assign(experiment, { data, features, axes });
}

// the table of the data set "own", or null
function takeTable(own) {
  choices.own = own;
  if (own) choices.data.own = own.task;
  byId("target-label").hidden = !own;
}

const features = () => (hasTable() ? table().names : choices.features);
const axes = () => (experiment.axes.length === 2 ? experiment.axes : features().slice(0, 2));
// names of the outputs: one for each of several classes
const outputs = () => {
  const labels = table()?.labels ?? [...Array(choices.n_classes[experiment.data] ?? 0).keys()].map((c) => `class ${c}`);
  if (experiment.loss === "quantile" && experiment.quantile.length > 1) return experiment.quantile.map((q) => `q = ${q}`);
  return labels.length > 2 ? labels : ["output"];
};
// what the drawing shows as inputs: pixels are too many
const inputs = () => (hasTable() && table().image.length ? ["pixels"] : features());

async function upload() {
  const file = byId("file").files[0];
  if (!file) return;
  say(`Reading ${file.name} …`);
  const asked = new URLSearchParams({ name: file.name, target: byId("target").value });
  try {
    const response = await fetch(`table?${asked}`, { method: "POST", body: file });
    const answer = await response.json();
    if (answer.error) return say(answer.error, true);
    takeTable(answer);
    experiment.data = "own";
    change({ features: answer.names, axes: [] });
    say(`${answer.n_samples} rows, ${answer.names.length} columns for the network.` +
      (answer.dropped.length ? ` Left out: ${answer.dropped.join(", ")}.` : ""));
  } catch (error) {
    say(`The file could not be sent: ${error.message}`, true);
  }
}

function valuesOf(name) {
  if (name === "loss") return lossesOf(choices, experiment.data);
  if (name === "data") return Object.keys(choices.data);
  if (name.startsWith("axis-")) return [...choices.own.names, choices.components[Number(name.at(-1))]];
  return choices[name];
}

function control(place, [name, label, given, , help]) {
  const box = place.appendChild(document.createElement("label"));
  box.append(label);
  const values = Array.isArray(given) ? given : given ? null : valuesOf(name);
  const input = box.appendChild(document.createElement(values ? "select" : "input"));
  input.dataset.testid = name;
  input.name = name;
  if (values) {
    const given = experiment[name];
    const all = values.includes(given) || !given ? values : [given, ...values];
    for (const value of all) input.add(new Option(value, value));
  } else {
    const [min, max] = choices.ranges[name] ?? ["", ""];
    Object.assign(input, { type: "number", min, max, ...given });
  }
  const axis = name.startsWith("axis-") ? Number(name.at(-1)) : null;
  const current = axis === null ? experiment[name] : axes()[axis];
  if (!values || current) input.value = current;
  if (input.type === "checkbox") input.checked = current;
  if (input.type === "range") {
    const shown = box.appendChild(document.createElement("output"));
    shown.setAttribute("aria-live", "off"); // the slider itself says its value
    shown.value = experiment[name];
    input.oninput = () => (shown.value = input.value);
  }
  if (Array.isArray(current) && input.type === "text") input.value = current.join(", ");
  if (help) box.append(Object.assign(document.createElement("small"), { textContent: help }));
  disableUnused(input, name, experiment.solver, choices);
  input.onchange = () => {
    if (axis !== null) {
      if (choices.components.includes(input.value)) return change({ axes: choices.components });
      const chosen = axes().map((each, i) => (choices.components.includes(each) ? features()[i] : each));
      chosen[axis] = input.value;
      if (chosen[0] === chosen[1]) chosen[1 - axis] = features().find((each) => each !== input.value);
      return change({ axes: chosen });
    }
    if (input.type === "checkbox") return change({ [name]: input.checked });
    if (name === "data") {
      const { features } = defaultsOf(choices, input.value);
      experiment = { ...experiment, axes: [], features };
    }
    if (input.type === "text") return change({ [name]: input.value.split(",").map(Number) });
    const isNumber = typeof choices.defaults[name] === "number";
    change({ [name]: isNumber ? Number(input.value) : input.value });
  };
}

function change(changes) {
  experiment = { ...experiment, ...changes };
  configure();
}

function configure() {
  const focused = document.activeElement?.dataset?.testid;
  experiment = settled(experiment, choices);
  writeAddress();
  for (const id of HIDEABLE) byId(id).classList.toggle("hidden", hidden().includes(id));
  for (const [id, rows] of [["settings-form", SETTINGS], ["data-settings", DATA_SETTINGS]]) {
    byId(id).replaceChildren();
    rows.filter((row) => !row[3] || row[3]()).forEach((row) => control(byId(id), row));
  }
  const n = experiment.hidden_layer_sizes.length;
  byId("n-layers").value = `${n} hidden layer${n === 1 ? "" : "s"}`;
  byId("remove-layer").disabled = n === 0;
  byId("add-layer").disabled = n >= choices.most_layers;
  buildView();
  say((hint = ""));
  data = frame = shownEpoch = null;
  number += 1;
  send("configure", { experiment, number });
  // what was rebuilt keeps the focus, so that the keyboard alone is enough
  if (focused) document.querySelector(`[data-testid="${CSS.escape(focused)}"]`)?.focus();
}

function buildView() {
  view.build({ ...experiment, features: inputs().length === 1 ? inputs() : experiment.features }, { ...choices, features: inputs(), outputs: outputs() });
}

function say(text, isError = false) {
  byId("message").textContent = text;
  byId("message").classList.toggle("error", isError);
}

const format = (value) => (value === null ? "not finite" : value.toPrecision(3));

function draw() {
  if (!frame) return;
  byId("epoch").value = frame.epoch;
  byId("train-loss").value = format(frame.now[0]);
  byId("test-loss").value = format(frame.now[1]);
  const { state } = frame, runs = state === "running";
  byId("run").textContent = runs ? "Pause" : "Run";
  byId("run").disabled = byId("step").disabled = state === "finished" || state === "failed";
  const hasRate = !choices.unused[experiment.solver].includes("learning_rate_init");
  if (state === "failed") say(`Training failed: ${frame.error}${hasRate ? " The learning rate may be too high." : ""}`, true);
  else if (state === "finished" && frame.latest < experiment.max_iter) say("Training has ended by itself: the loss no longer improves.");
  else if (state === "finished") say("All epochs are done. Reset, or raise “Epochs at most”.");
  byId("time").max = frame.latest;
  byId("time").value = frame.epoch;
  byId("copy-python").dataset.code = frame.code;
  drawLosses();
  view.draw(frame, choices.unit_grid);
  drawQuality(frame.quality);
  askByHand();
  drawMap();
}

function drawLosses() {
  if (!frame) return;
  lossColours ??= ["train-loss", "test-loss"].map((id) => getComputedStyle(byId(id)).color);
  drawCurve(byId("curve"), losses, frame.epoch, lossColours);
}

// of a table: the first cell is a title, in the first row all are
function rowOf(texts, isFirst = false) {
  const row = document.createElement("tr");
  row.append(...texts.map((textContent, i) => Object.assign(document.createElement(isFirst || i === 0 ? "th" : "td"), { textContent })));
  return row;
}

// of a classifier: which classes it confuses, and whether its probabilities are right
function drawQuality(quality) {
  byId("quality").hidden = !quality;
  if (!quality || !byId("quality").open) return;
  const nameOf = (c) => nameOfClass(choices, experiment.data, c);
  const most = Math.max(1, ...quality.confusion.flat());
  const right = quality.confusion.reduce((sum, row, i) => sum + row[i], 0);
  const all = quality.confusion.flat().reduce((a, b) => a + b, 0);
  byId("accuracy").value = `${((100 * right) / all).toFixed(1)}%`;
  const caption = Object.assign(document.createElement("caption"), { textContent: "Rows: the true class. Columns: the predicted one." });
  const labels = [...quality.confusion.keys()].map(nameOf);
  byId("confusion").replaceChildren(caption, rowOf(["", ...labels], true), ...quality.confusion.map((counts, i) => {
    const line = rowOf([labels[i], ...counts]);
    counts.forEach((n, j) => (line.cells[j + 1].style.background = css(signed((i === j ? 0.6 : -0.5) * (n / most)))));
    return line;
  }));
  byId("calibration").textContent = quality.calibration
    .map(([p, share, n]) => `${n} sample${n === 1 ? "" : "s"}: says ${(100 * p).toFixed(0)}%, right ${(100 * share).toFixed(0)}%`).join("\n");
}

// --- back-propagation by hand: asked for again whenever another epoch is shown -----------

let stage = 0, shownEpoch = null;

function askByHand(force = false) {
  if (!byId("by-hand").open || !frame) return;
  if (frame.state === "running") {
    if (shownEpoch !== null) view.number(new Map());
    shownEpoch = null;
    return;
  }
  if (!force && shownEpoch === frame.epoch) return;
  shownEpoch = frame.epoch;
  send("by_hand", { sample: Number(byId("sample").value) - 1 });
}

function drawStage(step) {
  if (step.number !== number || !frame || frame.state === "running") return;
  const stages = stagesOf(step.z.length);
  stage = Math.min(stage, stages.length - 1);
  const isUsed = (name) => !choices.unused[experiment.solver].includes(name);
  const used = Object.fromEntries(Object.entries(experiment).filter(([name]) => isUsed(name)));
  const { title, formulas, lines, table, note } = explain(stages[stage], step, frame, { ...used, inputs: experiment.features });
  byId("stage").textContent = `${stage + 1} of ${stages.length} · ${title}`;
  byId("formula").replaceChildren(...formulas.flatMap(formulaOf));
  byId("lines").replaceChildren(...lines.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  byId("parameters").replaceChildren(...(table ?? []).map((cells, i) => rowOf(cells, i === 0)));
  byId("note").textContent = note;
  byId("sample").value = step.sample + 1;
  byId("sample").max = step.n_samples;
  byId("stage-back").disabled = stage === 0;
  byId("stage-on").disabled = stage === stages.length - 1;
  view.number(numbersOf(stages[stage], step), droppedBy(step), linksOf(stages[stage], step, frame));
}

function moveStage(by) {
  stage += by;
  askByHand(true);
}

byId("stage-back").onclick = () => moveStage(-1);
byId("stage-on").onclick = () => moveStage(1);
byId("sample").onchange = () => askByHand(true);
byId("by-hand").ontoggle = () => {
  writeAddress();
  if (byId("by-hand").open) {
    if (frame?.state === "running") send("pause");
    askByHand(true);
  } else view.number(new Map());
};

function drawMap() {
  if (!frame || !data) return;
  const grid = choices.grid, bytes = pointed?.();
  const nUnits = experiment.hidden_layer_sizes.reduce((sum, n) => sum + n, 0);
  const start = nUnits * choices.unit_grid ** 2;
  const classes = frame.pictures.subarray(start + grid * grid);
  const several = data.task === "classification" && classes.length > 0;
  map.draw(
    bytes ? { bytes, n: choices.unit_grid }
      : { bytes: frame.pictures.subarray(start, start + grid * grid), n: grid, discrete: byId("discretize").checked, classes: several ? classes : null },
    { data, radius: choices.radius, showTest: byId("show-test").checked, several, nameOf: (c) => nameOfClass(choices, experiment.data, c) },
  );
}

byId("run").onclick = () => send(frame?.state === "running" ? "pause" : "run");
byId("step").onclick = () => send("step");
byId("reset").onclick = () => {
  say("");
  data = frame = shownEpoch = null; // frames that are under way are not of what begins
  number += 1;
  send("reset", { number });
};
byId("regenerate").onclick = () => change({ seed: (experiment.seed + 1) % 2147483648 });
byId("add-layer").onclick = () => change({ hidden_layer_sizes: [...experiment.hidden_layer_sizes, 4] });
byId("remove-layer").onclick = () => change({ hidden_layer_sizes: experiment.hidden_layer_sizes.slice(0, -1) });
byId("show-test").onchange = byId("discretize").onchange = () => {
  writeAddress();
  drawMap();
};
byId("quality").ontoggle = () => {
  writeAddress();
  draw();
};
byId("time").oninput = () => {
  if (!frame) return;
  const epoch = Number(byId("time").value);
  send("pause");
  send("seek", { epoch: epoch >= frame.latest ? null : epoch });
};
byId("copy-python").onclick = async () => {
  try {
    await navigator.clipboard.writeText(byId("copy-python").dataset.code);
    say("Copied. It trains to these very weights.");
  } catch {
    say("The browser does not allow copying here.", true);
  }
};
byId("file").onchange = byId("target").onchange = upload;
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  if (!event.dataTransfer.files.length) return;
  byId("file").files = event.dataTransfer.files;
  upload();
});
for (const form of ["settings-form", "data-settings"]) byId(form).onsubmit = (event) => event.preventDefault();
addEventListener("hashchange", readAddress);
byId("examples").append(...EXAMPLES.map(([title, address]) => new Option(title, address)));
byId("examples").onchange = () => {
  const [, address, text] = EXAMPLES[byId("examples").selectedIndex - 1];
  byId("examples").selectedIndex = 0;
  history.pushState(null, "", `#${address}${hidden().length ? `&hide=${hidden()}` : ""}`);
  readAddress();
  say((hint = text));
};
// on a phone, the settings would fill the first screen
const isNarrow = matchMedia("(max-width: 950px)");
const fold = () => (byId("settings").open = !isNarrow.matches);
isNarrow.addEventListener("change", fold);
fold();
let width = innerWidth;
addEventListener("resize", () => {
  if (!choices || width === innerWidth) return; // a phone's keyboard
  width = innerWidth;
  shownEpoch = null;
  buildView();
  draw();
});
