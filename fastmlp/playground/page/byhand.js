// Back-propagation by hand: stages of one step, with the numbers of one sample on the units,
// and of the mini-batch on the links. Names are those of the tutorial.

const show = (value, digits = 3) => (value === null ? "not finite" : Number(value.toPrecision(digits)).toString());
const signed = (value, digits) => (value < 0 ? `(${show(value, digits)})` : show(value, digits));
// for a unit, beside others
const short = (value) => (value === null ? "∞" : value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(0) : Number(value.toPrecision(2)).toString());
const MOST_ROWS = 200;

// a sum, of which not all terms are shown if they are many
const sumOf = (terms) => (terms.length > 12 ? [...terms.slice(0, 4), "…", terms.at(-1)] : terms).join(" + ");

// the stages of a network with so many layers: forward, the loss, backward, the step
export function stagesOf(nLayers) {
  const layers = [...Array(nLayers).keys()];
  return [
    ...layers.map((layer) => ({ kind: "forward", layer })),
    { kind: "loss", layer: nLayers - 1 },
    ...layers.toReversed().map((layer) => ({ kind: "backward", layer })),
    ...layers.map((layer) => ({ kind: "step", layer })),
  ];
}

// what a stage says: a title, formulas (of the tables: in LaTeX), a line for each unit or a
// table of the parameters, and a note. used: settings that have an effect
export function explain(stage, step, frame, used) {
  const isOutput = stage.layer === step.z.length - 1;
  const name = isOutput ? "the output" : `hidden layer ${stage.layer + 1}`;
  const nothing = { formulas: [], lines: [], table: null, note: "" };
  return { ...nothing, ...{ forward, loss, backward, step: update }[stage.kind](stage.layer, step, frame, used, isOutput, name) };
}

const weightOf = (step) => (step.weight === 1 ? "" : `the weight ${show(step.weight)} of its class`);

// from an input, or a unit of the layer before
const nameOf = (layer, i, inputs) => (layer === 0 ? inputs[i] : `a${i + 1}`);

function forward(layer, step, frame, { activation, inputs, dropout }, isOutput, name) {
  const before = layer === 0 ? step.x : step.a[layer - 1], mask = step.masks[layer];
  const g = isOutput ? "" : `, $a = ${mask ? "m\\, " : ""}g(z)$`;
  const notes = [before.length > 20 ? `Inputs: ${before.length} numbers.`
    : `Inputs: ${before.map((a, i) => `${nameOf(layer, i, inputs)} = ${show(a)}`).join(", ")}.`];
  if (mask) notes.push(`Dropout of ${dropout}: in each step, a sample drops each hidden unit with this probability (m = 0). To make up for it, those kept are divided by ${show(1 - dropout)} (m = ${show(1 / (1 - dropout))}). Predictions and the pictures drop nothing.`);
  return {
    title: `Forward: ${name}`,
    formulas: [`$z = b + \\sum w\\, ${layer ? "a" : "x"}$${g}`, ...(isOutput ? [] : [`${activation}: $g(z) =$ ${step.formulas.activation}`])],
    lines: step.z[layer].map((z, j) => {
      const terms = before.map((a, i) => `${signed(frame.coefs[layer][i][j])}·${signed(a)}`);
      const sum = `z${j + 1} = ${show(frame.intercepts[layer][j])} + ${sumOf(terms)} = ${show(z)}`;
      if (isOutput) return sum;
      const factor = mask ? `${show(mask[j])} · ` : "", dropped = mask?.[j] === 0 ? ": dropped" : "";
      return `${sum},  a${j + 1} = ${factor}${activation}(${show(z)}) = ${show(step.a[layer][j])}${dropped}`;
    }),
    note: notes.join(" "),
  };
}

function loss(layer, step, frame, { loss }) {
  const weight = weightOf(step);
  return {
    title: "The loss",
    formulas: [`${loss}: ${step.formulas.loss}`,
      `$L$: the mean${weight && " by weight"} over the ${step.n_samples} samples of the batch`],
    lines: [`of this sample, with ${step.z[layer].map((z, j) => `z${j + 1} = ${show(z)}`).join(", ")} and y = ${show(step.y)}${weight && `, times ${weight}`}: ${show(step.loss[0])}`,
      `of the batch: L = ${show(step.loss[1])}`],
  };
}

function backward(layer, step, frame, { alpha, l1 }, isOutput, name) {
  const weight = weightOf(step), next = layer + 1, mask = step.masks[layer];
  const penalty = [alpha && `${alpha}\\, w`, l1 && `${l1} \\operatorname{sign}(w)`].filter(Boolean).join(" + ");
  return {
    title: `Backward: ${name}`,
    formulas: [isOutput ? "$\\delta = \\frac{∂ℓ}{∂z}$"
      : `$\\delta = \\left(\\sum w\\, \\delta\\right) g′(z)${mask ? "\\, m" : ""}$, the sum over the next layer`,
    `$\\frac{∂L}{∂w} = \\frac{1}{n} \\sum ${layer ? "a" : "x"}\\, \\delta${penalty && ` + \\frac{1}{n} (${penalty})`}$, $\\frac{∂L}{∂b} = \\frac{1}{n} \\sum \\delta$, over the batch${weight && "; n is the sum of the weights"}`],
    lines: step.deltas[layer].map((delta, j) => {
      if (isOutput) return `δ${j + 1} = ${show(delta)}${weight && `, with ${weight}`}`;
      const terms = step.deltas[next].map((d, k) => `${signed(frame.coefs[next][j][k])}·${signed(d)}`);
      const sum = step.deltas[next].reduce((all, d, k) => all + frame.coefs[next][j][k] * d, 0);
      const m = mask ? mask[j] : 1, slope = sum && m ? signed(delta / sum / m) : "g′(z)";
      return `δ${j + 1} = (${sumOf(terms)}) · ${slope}${mask ? ` · ${show(m)}` : ""} = ${show(delta)}`;
    }),
    note: `The links into ${name} are now the gradients of their weights, means over the batch: point at one for its number. ` +
      step.bias_gradients[layer].map((g, j) => `∂L/∂b${j + 1} = ${show(g)}`).join(", ") + ".",
  };
}

function update(layer, step, frame, { solver, inputs, ema_decay }, isOutput, name) {
  const { averages, after, formulas } = step, rows = [];
  const row = (label, of, gradient) => rows.push([label, of(frame), gradient, of(after), ...(averages ? [of(averages)] : [])].map((each, i) => (i ? show(each, 4) : each)));
  step.bias_gradients[layer].forEach((gradient, j) => {
    row(`bias ${j + 1}`, (values) => values.intercepts[layer][j], gradient);
    step.gradients[layer].forEach((line, i) => row(`${nameOf(layer, i, inputs)} → ${j + 1}`, (values) => values.coefs[layer][i][j], line[j]));
  });
  const first = (values) => values.coefs[layer][0][0], keep = show(1 - ema_decay);
  const numbers = Object.entries(formulas.numbers).map(([key, value]) => `${key} = ${Number(value.toPrecision(4))}`);
  return {
    title: `The step: ${name}`,
    formulas: [formulas.update || `${solver} tries steps along the negative gradient until the loss has fallen enough.`,
      ...(numbers.length ? [`with ${numbers.join(", ")}`] : []),
      ...(averages ? [`average $\\leftarrow ${ema_decay}$ average $+\\, ${keep}\\, w$`] : [])],
    lines: averages ? [`average of w of ${nameOf(layer, 0, inputs)} → 1: ${ema_decay} · ${signed(first(frame), 4)} + ${keep} · ${signed(first(after), 4)} = ${show(first(averages), 4)}`] : [],
    table: [["w", "before", "gradient", "after", ...(averages ? ["average"] : [])], ...rows.slice(0, MOST_ROWS)],
    note: (rows.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${rows.length} parameters. ` : "") +
      `${averages ? "Predictions use the averages. " : ""}The links show by how much each weight changes.`,
  };
}

// the numbers on the units of a stage: [layer, number] -> text
export function numbersOf(stage, step) {
  const texts = new Map();
  step.z.forEach((z, layer) => z.forEach((_, i) => {
    const forward = stage.kind !== "forward" || layer <= stage.layer;
    const backward = stage.kind === "backward" ? layer >= stage.layer : stage.kind === "step";
    const isDropped = step.masks[layer]?.[i] === 0;
    if (backward) texts.set(`${layer}-${i}`, `δ ${short(step.deltas[layer][i])}`);
    else if (isDropped && forward) texts.set(`${layer}-${i}`, "dropped");
    else if (forward) texts.set(`${layer}-${i}`, `${layer === step.z.length - 1 ? "z" : "a"} ${short(step.a[layer][i])}`);
  }));
  return texts;
}

// units that this sample drops
export const droppedBy = (step) => new Set(step.masks.flatMap((mask, layer) =>
  mask.flatMap((m, i) => (m === 0 ? [`${layer}-${i}`] : []))));

// what the links of a layer show instead of its weights, and what is said of one of them
export function linksOf({ kind, layer }, step, frame) {
  const gradients = step.gradients[layer];
  if (kind === "backward") return { layer, values: gradients, textOf: (i, j) => `∂L/∂w ${show(gradients[i][j])}` };
  if (kind !== "step") return null;
  const { after, averages } = step;
  return {
    layer,
    values: after.coefs[layer].map((row, i) => row.map((w, j) => w - frame.coefs[layer][i][j])),
    textOf: (i, j) => `after the step ${show(after.coefs[layer][i][j])}${averages ? `, average ${show(averages.coefs[layer][i][j])}` : ""}`,
  };
}
