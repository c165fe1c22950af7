// A race: up to four networks on the same samples, each trained in a session of its own.

import { read } from "./address.js";
import { connect } from "./connection.js";
import { isDark, onScheme, paint, sharp } from "./pictures.js";
import { disableUnused, lossesOf, settled } from "./settings.js";

const byId = (id) => document.getElementById(id);
const COLOURS = ["#0077bb", "#ee7733", "#009988", "#cc3311"];
const MOST = 4;
const FIELDS = [["activation", "Activation"], ["solver", "Solver"], ["learning_rate", "Schedule"],
  ["learning_rate_init", "Learning rate"], ["hidden_layer_sizes", "Hidden units"], ["batch_size", "Batch size"]];
let choices, base, lanes = [], isRunning = false;

class Lane {
  constructor(number, changes) {
    Object.assign(this, { number, changes, losses: [], seconds: [], frame: null, asked: 0 });
    this.box = byId("lanes").appendChild(document.createElement("section"));
    this.box.dataset.testid = `lane-${number}`;
    this.box.style.borderTop = `4px solid ${COLOURS[number]}`;
    this.send = connect({
      onMessage: (message) => this.take(message),
      onFrame: (frames) => this.draw(frames),
      onClose: () => this.closed || say("The playground's server has ended. Start it again and reload."),
    });
  }

  close() {
    this.closed = true;
    this.send.close();
    this.box.remove();
  }

  take(message) {
    if (message.type === "choices") {
      if (!choices) begin(message);
      this.build();
      this.configure();
    } else if (message.type === "error") say(message.error);
    else if (message.type === "data") {
      this.notes = message.notes;
      byId("notes").textContent = [...new Set(lanes.flatMap(({ notes }) => notes ?? []))].join(" ");
    }
  }

  build() {
    const title = document.createElement("h2");
    title.textContent = `Network ${this.number + 1}`;
    this.box.setAttribute("aria-label", title.textContent);
    this.box.replaceChildren(title);
    for (const [name, label] of FIELDS) {
      const box = this.box.appendChild(document.createElement("label"));
      box.append(label);
      const values = choices[name];
      const input = box.appendChild(document.createElement(values ? "select" : "input"));
      for (const value of values ?? []) input.add(new Option(value, value));
      input.value = String(this.experiment()[name]);
      input.dataset.testid = `${name}-${this.number}`;
      disableUnused(input, name, this.experiment().solver, choices);
      input.onchange = () => {
        const text = input.value.trim();
        if (name === "hidden_layer_sizes") this.changes[name] = text ? text.split(",").map(Number).slice(0, choices.most_layers) : [];
        else this.changes[name] = typeof choices.defaults[name] === "number" ? Number(text) : text;
        write();
        if (name === "solver") this.rebuild();
        restart();
      };
    }
    this.told = this.box.appendChild(document.createElement("p"));
    this.told.dataset.testid = `told-${this.number}`;
    this.map = this.box.appendChild(document.createElement("canvas"));
    this.map.setAttribute("aria-hidden", "true");
  }

  // other controls are without effect now
  rebuild() {
    this.build();
    this.box.querySelector(`[data-testid="solver-${this.number}"]`).focus();
  }

  experiment() {
    return { ...base, ...this.changes };
  }

  configure() {
    Object.assign(this, { losses: [], seconds: [], frame: null, asked: this.asked + 1 });
    this.send("configure", { experiment: this.experiment(), number: this.asked, racing: true });
  }

  draw(frames) {
    for (const each of frames.filter(({ number }) => number === this.asked)) {
      this.losses.length = this.seconds.length = each.from;
      this.losses.push(...each.losses);
      this.seconds.push(...each.seconds);
      this.frame = each;
    }
    if (!this.frame) return;
    this.show();
    drawCurvesSoon();
    isRunning = lanes.some((lane) => lane.frame?.state === "running");
    showRun();
  }

  show() {
    const { frame } = this, [train, test] = frame.now.map((loss) => loss?.toPrecision(3) ?? "not finite");
    this.told.textContent = `epoch ${frame.latest}, ${this.seconds.at(-1).toFixed(2)} s · training ${train} · test ${test}`;
    if (frame.state === "failed") say(frame.error);
    const sizes = this.experiment().hidden_layer_sizes, grid = choices.grid;
    const start = sizes.reduce((sum, n) => sum + n, 0) * choices.unit_grid ** 2;
    const rest = frame.pictures.subarray(start + grid * grid);
    paint(this.map, frame.pictures.subarray(start, start + grid * grid), grid, { classes: rest.length ? rest : null });
  }
}

function begin(message) {
  choices = message;
  if (message.own) choices.data.own = message.own.task;
  base = settled(read(choices), choices);
  for (const loss of lossesOf(choices, base.data)) byId("loss").add(new Option(loss, loss));
  byId("loss").value = base.loss;
}

const say = (text) => (byId("message").textContent = text);

// the lanes in the address, beside the experiment that they start from
function write() {
  const parts = new URLSearchParams(location.hash.slice(1));
  parts.set("lanes", JSON.stringify(lanes.map(({ changes }) => changes)));
  if (base) parts.set("loss", base.loss);
  history.replaceState(null, "", "#" + parts);
  byId("back").href = "./" + location.hash;
}

function restart() {
  isRunning = false;
  showRun();
  lanes.forEach((lane) => lane.configure());
}

function showRun() {
  byId("run").textContent = isRunning ? "Pause" : "Run";
  byId("add").disabled = lanes.length >= MOST;
  byId("remove").disabled = lanes.length <= 1;
}

// once for all lanes that have something new
let isAsked = false;
function drawCurvesSoon() {
  if (!isAsked) requestAnimationFrame(drawCurves);
  isAsked = true;
}

function drawCurves() {
  isAsked = false;
  const canvas = byId("curves"), density = devicePixelRatio || 1, { width, height } = canvas;
  const context = canvas.getContext("2d"), which = Number(byId("which").value), bySeconds = byId("clock").value === "seconds";
  const along = (lane, i) => (bySeconds ? lane.seconds[i] : i);
  const ends = lanes.map((lane) => along(lane, lane.losses.length - 1) || 0);
  const last = Math.max(...ends) || 1;
  const highest = 1.2 * Math.max(...lanes.map((lane) => lane.losses[0]?.[which] ?? 0)) || 1; // spikes are cut
  const pad = 6 * density;
  context.clearRect(0, 0, width, height);
  context.font = `${11 * density}px system-ui, sans-serif`;
  context.fillStyle = isDark() ? "#a4b1bd" : "#55636f";
  context.fillText(highest.toPrecision(2), pad, pad + 8 * density);
  const end = bySeconds ? `${last.toFixed(2)} s` : `epoch ${last}`;
  context.fillText(end, width - pad - context.measureText(end).width, height - pad);
  context.lineWidth = 2 * density;
  lanes.forEach((lane) => {
    const every = Math.max(1, Math.floor(lane.losses.length / 800));
    context.beginPath();
    context.strokeStyle = COLOURS[lane.number];
    for (let i = 0; i < lane.losses.length; i += every) {
      const loss = lane.losses[i][which];
      if (loss !== null) context.lineTo(pad + (along(lane, i) / last) * (width - 2 * pad), height - pad - (loss / highest) * (height - 2 * pad));
    }
    context.stroke();
  });
}

byId("run").onclick = () => {
  const kind = isRunning ? "pause" : "run";
  lanes.forEach((lane) => lane.send(kind));
};
byId("reset").onclick = () => { say(""); restart(); };
byId("add").onclick = () => { lanes.push(new Lane(lanes.length, { ...lanes.at(-1).changes })); write(); showRun(); };
byId("remove").onclick = () => { lanes.pop().close(); write(); showRun(); drawCurves(); };
byId("loss").onchange = () => {
  base.loss = byId("loss").value;
  write();
  restart();
};
byId("which").onchange = byId("clock").onchange = drawCurves;
sharp(byId("curves"), drawCurves);
onScheme(() => {
  lanes.forEach((lane) => lane.frame && lane.show());
  drawCurves();
});

byId("back").href = "./" + location.hash;
let asked = null;
try {
  asked = JSON.parse(new URLSearchParams(location.hash.slice(1)).get("lanes"));
} catch {
  say("The lanes in the address cannot be read.");
}
const beginning = Array.isArray(asked) && asked.length ? asked.slice(0, MOST) : [{ solver: "sgd" }, { solver: "adam" }];
lanes = beginning.map((changes, number) => new Lane(number, changes));
showRun();
