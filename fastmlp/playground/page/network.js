// The network: features, units and links. Built once for an architecture; then each frame
// only paints. What is seen of links is on a canvas; paths that cannot be seen are above it,
// to be pointed at: to restyle a hundred of them takes ten times as long as to paint them.

import { css, paint, signed } from "./pictures.js";

// a click edits a weight or bias: onEdit({ layer, start, end }, value)
const SIZE = 38, ROW = 56, OUTPUT_ROW = 34, TOP = 46, LEFT = 84, SPACE = 62, RIGHT = 60, SVG = "http://www.w3.org/2000/svg";
const MOST_WIDE = 64; // links of a layer: more are thinner
const DASHES = [28, 4], isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;

export class NetworkView {
  constructor(place, callbacks) {
    Object.assign(this, { place, ...callbacks });
  }

  build(experiment, choices) {
    const chosen = new Set(experiment.features);
    const sizes = experiment.hidden_layer_sizes;
    const columns = sizes.length + 2;
    // names of columns are long, if there is room for them
    const isWide = this.place.clientWidth > 2 * LEFT + columns * SPACE;
    const left = isWide && choices.features.some((name) => name.length > 8) ? 1.7 * LEFT : LEFT;
    this.place.style.setProperty("--label", `${left - SIZE / 2 - 6}px`);
    const width = Math.max(this.place.clientWidth, left + columns * SPACE);
    const rows = Math.max(choices.features.length, ...sizes);
    // outputs have no pictures: if they are many, they stand closer
    const outputRow = Math.min(ROW, Math.max(OUTPUT_ROW, (rows * ROW) / choices.outputs.length));
    const height = TOP + Math.max(rows * ROW, choices.outputs.length * outputRow) + 8;
    const x = (column) => left + (column * (width - left - RIGHT)) / (columns - 1);
    this.wide = Math.min(1, (x(1) - x(0) - SIZE) / SPACE); // short links are thin
    const y = (row) => TOP + ROW / 2 + row * ROW, yOfOutput = (row) => TOP + outputRow / 2 + row * outputRow;
    this.place.replaceChildren();
    this.frame = this.pointed = this.shown = null;
    this.density = devicePixelRatio || 1;
    this.canvas = this.place.appendChild(document.createElement("canvas"));
    Object.assign(this.canvas, { className: "links", width: width * this.density, height: height * this.density });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    const svg = this.place.appendChild(document.createElementNS(SVG, "svg"));
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    const inputs = choices.features.map((name, i) => ({ name, row: i })).filter(({ name }) => chosen.has(name));
    const layers = [inputs.map(({ row }) => [x(0), y(row)])];
    sizes.forEach((n, k) => layers.push(Array.from({ length: n }, (_, i) => [x(k + 1), y(i)])));
    layers.push(choices.outputs.map((_, i) => [x(columns - 1), yOfOutput(i)]));
    this.places = layers;
    this.biases = [];
    this.links = layers.slice(1).map((ends, k) =>
      layers[k].map((start, i) => ends.map((end, j) => this.#link(svg, start, end, { layer: k, start: i, end: j, standsForMany: k === 0 && inputs[0].name === "pixels" }))));
    choices.features.forEach((name, i) => {
      const button = this.#unit(x(0), y(i), `feature ${name}`);
      button.dataset.testid = `feature-${name}`;
      button.title = name;
      button.setAttribute("aria-pressed", chosen.has(name));
      button.classList.toggle("off", !chosen.has(name));
      button.append(Object.assign(document.createElement("span"), { textContent: name }));
      paint(button.querySelector("canvas"), choices.featurePictures(i), choices.unit_grid);
      button.onclick = () => this.onFeature(name);
      this.#pointed(button, () => choices.featurePictures(i));
    });
    this.units = sizes.flatMap((n, k) => Array.from({ length: n }, (_, i) => {
      const name = `unit ${i + 1} of hidden layer ${k + 1}`;
      const button = this.#unit(x(k + 1), y(i), name);
      button.dataset.testid = `unit-${k}-${i}`;
      const unit = { button, key: `${k}-${i}`, canvas: button.querySelector("canvas") };
      this.#pointed(button, () => unit.bytes);
      this.#walked(button, k, i, inputs);
      this.#bias(x(k + 1), y(i), k, i, name);
      return unit;
    }));
    choices.outputs.forEach((name, i) => {
      const button = this.place.appendChild(document.createElement("button"));
      Object.assign(button, { className: "result", textContent: name, title: name });
      Object.assign(button.style, { left: `${x(columns - 1) - SIZE / 2}px`, top: `${yOfOutput(i)}px` });
      button.dataset.testid = `output-${i}`;
      this.#walked(button, sizes.length, i, inputs);
      this.#bias(x(columns - 1), yOfOutput(i) - SIZE / 2 + 2, sizes.length, i, name);
    });
    this.said = this.place.appendChild(document.createElement("p"));
    this.said.className = "said";
    this.said.setAttribute("role", "status");
    sizes.forEach((n, k) => this.#counter(x(k + 1), n, k, choices.most_units));
  }

  #link(svg, [x1, y1], [x2, y2], which) {
    const path = svg.appendChild(document.createElementNS(SVG, "path"));
    const middle = (x1 + x2) / 2;
    const curve = `M${x1 + SIZE / 2} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2 - SIZE / 2} ${y2}`;
    path.setAttribute("d", curve);
    path.dataset.testid = `weight-${which.layer}-${which.start}-${which.end}`;
    if (!which.standsForMany) path.onclick = (event) => {
      const box = this.place.getBoundingClientRect();
      this.#edit([event.clientX - box.left + this.place.scrollLeft, event.clientY - box.top], which);
    };
    const link = { ...which, path, curve: new Path2D(curve), title: path.appendChild(document.createElementNS(SVG, "title")) };
    path.onpointerenter = () => {
      this.pointed = link;
      link.title.textContent = this.#textOf(link);
    };
    path.onpointerleave = () => (this.pointed = null);
    return link;
  }

  // an input at a place; `back` is called when the keyboard has closed it
  #edit([x, y], which, back = () => {}) {
    if (!this.frame) return; // nothing is drawn yet
    const { coefs, intercepts } = this.frame, { layer, start, end } = which;
    const value = start === null ? intercepts[layer][end] : coefs[layer][start][end];
    this.place.querySelector(".editor")?.remove();
    const input = this.place.appendChild(document.createElement("input"));
    Object.assign(input, { type: "number", step: "any", className: "editor", value });
    input.dataset.testid = "editor";
    input.setAttribute("aria-label", start === null ? "bias" : "weight");
    // not beyond the edges
    const inside = Math.max(60, Math.min(this.place.scrollWidth - 60, x));
    Object.assign(input.style, { left: `${inside}px`, top: `${y}px` });
    input.onkeydown = (event) => {
      const { key } = event;
      if (key !== "Enter" && key !== "Escape") return;
      if (key === "Enter" && input.value !== "") this.onEdit(which, Number(input.value));
      event.preventDefault(); // else it clicks what has the focus next
      input.blur();
      back();
    };
    input.onblur = () => input.remove();
    input.select();
    input.focus();
  }

  #bias(x, y, layer, end, name) {
    const button = this.place.appendChild(document.createElement("button"));
    button.className = "bias";
    button.dataset.testid = `bias-${layer}-${end}`;
    button.setAttribute("aria-label", `bias of ${name}`);
    const place = [x - SIZE / 2, y + SIZE / 2 - 2];
    Object.assign(button.style, { left: `${place[0]}px`, top: `${place[1]}px` });
    button.onclick = () => this.#edit(place, { layer, start: null, end }, () => button.focus());
    this.biases.push({ button, layer, end });
  }

  // with the keyboard: up and down choose one of the links into a unit, Enter edits it
  #walked(button, layer, end, inputs) {
    const links = this.links[layer].map((row) => row[end]), n = links.length;
    if (layer === 0 && inputs[0]?.name === "pixels") return;
    let chosen = null;
    const middle = () => {
      const { path } = links[chosen], { x, y } = path.getPointAtLength(path.getTotalLength() / 2);
      return [x, y];
    };
    const choose = (start) => {
      links[chosen]?.path.classList.remove("chosen");
      chosen = start;
      links[chosen]?.path.classList.add("chosen");
      const from = layer ? `unit ${start + 1}` : inputs[start]?.name;
      this.said.textContent = start === null ? "" : `from ${from}: ${this.#textOf(links[start])}`;
      if (start === null) return;
      const [x, y] = middle();
      Object.assign(this.said.style, { left: `${x}px`, top: `${y}px` });
    };
    button.addEventListener("blur", () => choose(null));
    button.addEventListener("keydown", (event) => {
      if (!this.frame || !n) return;
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key], start = chosen;
      if (by) choose(start === null ? (by > 0 ? 0 : n - 1) : (start + by + n) % n);
      else if (event.key === "Escape") choose(null);
      else if (event.key === "Enter" && start !== null)
        this.#edit(middle(), { layer, start, end }, () => {
          button.focus();
          choose(start);
        });
      else return;
      event.preventDefault();
    });
  }

  #unit(x, y, label) {
    const button = this.place.appendChild(document.createElement("button"));
    button.className = "unit";
    button.style.left = `${x}px`;
    button.style.top = `${y}px`;
    button.setAttribute("aria-label", label);
    const canvas = button.appendChild(document.createElement("canvas"));
    canvas.style.width = canvas.style.height = `${SIZE}px`;
    return button;
  }

  #pointed(button, bytes) {
    const show = () => this.onPoint(bytes), hide = () => this.onPoint(null);
    button.addEventListener("mouseenter", show);
    button.addEventListener("mouseleave", hide);
    button.addEventListener("focus", show);
    button.addEventListener("blur", hide);
  }

  #counter(x, n, layer, most) {
    const group = this.place.appendChild(document.createElement("div"));
    group.className = "units";
    group.style.left = `${x}px`;
    group.style.top = "4px";
    for (const [text, change] of [["−", -1], [null, 0], ["+", 1]]) {
      if (text === null) {
        group.append(Object.assign(document.createElement("span"), { textContent: n }));
        continue;
      }
      const button = group.appendChild(document.createElement("button"));
      button.textContent = text;
      button.dataset.testid = `${change < 0 ? "remove" : "add"}-unit-${layer}`;
      button.setAttribute("aria-label", `${change < 0 ? "Remove" : "Add"} a unit in layer ${layer + 1}`);
      button.disabled = n + change < 1 || n + change > most;
      button.onclick = () => this.onUnits(layer, change);
    }
  }

  // for back-propagation by hand: numbers on units ("layer-unit" -> text), those that are
  // dropped, and what the links of a layer show instead of weights: { layer, values, textOf }
  number(texts, dropped = new Set(), shown = null) {
    this.place.querySelectorAll(".number").forEach((each) => each.remove());
    for (const [key, text] of texts) {
      const [layer, i] = key.split("-").map(Number), [x, y] = this.places[layer + 1][i];
      const below = layer === this.links.length - 1 ? 8 : SIZE / 2 + 1; // outputs have no pictures
      const label = this.place.appendChild(document.createElement("b"));
      Object.assign(label, { className: "number", textContent: text });
      Object.assign(label.style, { left: `${x - SIZE / 2 + 8}px`, top: `${y + below}px` }); // beside the bias
    }
    this.units.forEach(({ button, key }) => button.classList.toggle("dropped", dropped.has(key)));
    this.shown = shown;
    if (this.frame) this.#drawLinks();
  }

  // of many pixels, one link stands for all: the root of the mean square
  #standingFor(values, layer) {
    if (values.length === this.links[layer].length) return values;
    return [values[0].map((_, j) => Math.hypot(...values.map((row) => row[j])) / Math.sqrt(values.length))];
  }

  #textOf({ layer, start, end, standsForMany }) {
    if (!this.frame) return "";
    const weight = this.#standingFor(this.frame.coefs[layer], layer)[start][end];
    if (standsForMany) return `root mean square of the weights ${weight}`;
    return `weight ${weight}` + (this.shown?.layer === layer ? `, ${this.shown.textOf(start, end)}` : "");
  }

  #drawLinks() {
    const { frame, density, canvas } = this, context = canvas.getContext("2d");
    const runs = frame.state === "running";
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!isStill) {
      this.flow = ((this.flow ?? 0) + 3) % 32; // they flow with the frames
      context.setLineDash(runs ? DASHES : []);
      context.lineDashOffset = -this.flow;
    }
    this.links.forEach((rows, layer) => {
      const isShown = this.shown?.layer === layer;
      const values = this.#standingFor(isShown ? this.shown.values : frame.coefs[layer], layer);
      const wide = this.wide * Math.min(1, Math.sqrt(MOST_WIDE / (values.length * values[0].length)));
      const scale = isShown ? 2 / Math.max(1e-12, ...values.flat().map(Math.abs)) : 1;
      context.globalAlpha = this.shown && !isShown ? 0.25 : 1;
      rows.forEach((row, i) => row.forEach((link, j) => {
        const value = values[i][j] * scale, size = Math.abs(value);
        context.lineWidth = Math.min(9, 0.6 + 2.4 * size) * wide;
        context.strokeStyle = css(signed(Math.sign(value) * Math.min(1, 0.25 + size)));
        context.stroke(link.curve);
        if (!runs) link.title.textContent = this.#textOf(link);
      }));
    });
    if (this.pointed) this.pointed.title.textContent = this.#textOf(this.pointed);
  }

  draw(frame, grid) {
    if (!this.units || frame.coefs.length !== this.links.length) return;
    this.frame = frame;
    const size = grid * grid;
    this.units.forEach((unit, i) => {
      unit.bytes = frame.pictures.subarray(i * size, (i + 1) * size);
      paint(unit.canvas, unit.bytes, grid);
    });
    for (const { button, layer, end } of this.biases) {
      const bias = frame.intercepts[layer][end];
      button.style.background = css(signed(bias));
      button.title = `bias ${bias}`;
    }
    this.#drawLinks();
  }
}
