// Back-propagation by hand: stages of one step, with the numbers of one sample on the units,
// and of the mini-batch on the links. Names are those of the tutorial.

const show = (value) => (value === null ? "not finite" : Number(value.toPrecision(3)).toString());
const signed = (value) => (value < 0 ? `(${show(value)})` : show(value));

// a sum, of which not all terms are shown if they are many
const sumOf = (terms) => (terms.length > 12 ? [...terms.slice(0, 4), "…", terms.at(-1)] : terms).join(" + ");

// the stages of a network with so many layers: forward, the loss, backward
export function stagesOf(nLayers) {
  const layers = [...Array(nLayers).keys()];
  return [
    ...layers.map((layer) => ({ kind: "forward", layer })),
    { kind: "loss", layer: nLayers - 1 },
    ...layers.toReversed().map((layer) => ({ kind: "backward", layer })),
  ];
}

// what a stage says: a title, a formula, and a line for each unit
export function explain(stage, step, frame, { activation, loss, inputs, solver, rate }) {
  const { kind, layer } = stage, last = step.z.length - 1, isOutput = layer === last;
  const before = layer === 0 ? step.x : step.a[layer - 1];
  const name = isOutput ? "the output" : `hidden layer ${layer + 1}`;
  const nameOf = (i) => (layer === 0 ? inputs[i] : `a${i + 1}`);
  if (kind === "forward") {
    return {
      title: `Forward: ${name}`,
      formula: isOutput ? "z = b + Σ w a" : `z = b + Σ w ${layer ? "a" : "x"},  a = ${activation}(z)`,
      lines: step.z[layer].map((z, j) => {
        const terms = before.map((a, i) => `${signed(frame.coefs[layer][i][j])}·${signed(a)}`);
        const sum = `z${j + 1} = ${show(frame.intercepts[layer][j])} + ${sumOf(terms)} = ${show(z)}`;
        return isOutput ? sum : `${sum},  a${j + 1} = ${activation}(${show(z)}) = ${show(step.a[layer][j])}`;
      }),
      note: before.length > 20 ? `Inputs: ${before.length} numbers.` : `Inputs: ${before.map((a, i) => `${nameOf(i)} = ${show(a)}`).join(", ")}.`,
    };
  }
  const weight = step.weight === 1 ? "" : `the weight ${show(step.weight)} of its class`;
  if (kind === "loss") {
    return {
      title: "The loss",
      formula: `L = ${weight && "weight · "}${loss}(z, y),  the mean${weight && " by weight"} over the ${step.n_samples} samples of the batch`,
      lines: [`of this sample, with y = ${show(step.y)}${weight && ` and ${weight}`}: ${show(step.loss[0])}`, `of the batch: ${show(step.loss[1])}`],
      note: "",
    };
  }
  const next = layer + 1;
  return {
    title: `Backward: ${name}`,
    formula: isOutput ? "δ = ∂L/∂z" : "δ = (Σ w δ of the next layer) · g′(z)",
    lines: step.deltas[layer].map((delta, j) => {
      if (isOutput) return `δ${j + 1} = ${show(delta)}${weight && `, with ${weight}`}`;
      const terms = step.deltas[next].map((d, k) => `${signed(frame.coefs[next][j][k])}·${signed(d)}`);
      const sum = step.deltas[next].reduce((all, d, k) => all + frame.coefs[next][j][k] * d, 0);
      const slope = sum ? delta / sum : 0;
      return `δ${j + 1} = (${sumOf(terms)}) · ${signed(slope)} = ${show(delta)}`;
    }),
    note: `Gradients, means over the batch${weight && " by weight"}: ∂L/∂w = mean of a δ, ∂L/∂b = mean of δ: ` +
      step.bias_gradients[layer].map((g, j) => `∂L/∂b${j + 1} = ${show(g)}`).join(", ") +
      `. Point at a link for its own. ${solver}${rate === null ? "" : ` with a rate of ${rate}`} makes the step of them.`,
  };
}

// the numbers on the units of a stage: [layer, number] -> text
export function numbersOf(stage, step) {
  const texts = new Map();
  step.z.forEach((z, layer) => z.forEach((_, i) => {
    const forward = stage.kind !== "forward" || layer <= stage.layer;
    const backward = stage.kind === "backward" && layer >= stage.layer;
    if (backward) texts.set(`${layer}-${i}`, `δ ${show(step.deltas[layer][i])}`);
    else if (forward) texts.set(`${layer}-${i}`, `${layer === step.z.length - 1 ? "z" : "a"} ${show(step.a[layer][i])}`);
  }));
  return texts;
}
