// What the page and the race both know of settings.

// the table that a data set is, if it is one
export const tableOf = (choices, data) => (data === "own" ? choices.own : choices.images[data]) ?? null;

export const lossesOf = (choices, data) => choices.loss[choices.data[data]] ?? [];

export const nameOfClass = (choices, data, number) => tableOf(choices, data)?.labels[number] ?? `class ${number}`;

// defaults of a data set: its loss, and of a table its columns
export function defaultsOf(choices, data) {
  const table = tableOf(choices, data);
  const axes = table?.image.length ? choices.components : table?.names.slice(0, 2);
  const columns = table ? { features: table.names, axes } : {};
  return { ...choices.defaults, loss: lossesOf(choices, data)[0] ?? "", ...columns };
}

// what another data set left, or nothing at all, gives way to the defaults
export function settled(experiment, choices) {
  const { data, loss } = experiment, usual = defaultsOf(choices, data);
  const found = { ...experiment, loss: lossesOf(choices, data).includes(loss) ? loss : usual.loss };
  const names = tableOf(choices, data)?.names;
  if (names && !found.features.some((name) => names.includes(name))) found.features = usual.features;
  if (!found.axes.length) found.axes = usual.axes;
  return found;
}

// disables an input without effect, and says why
export function disableUnused(input, name, solver, choices) {
  if (!choices.unused[solver]?.includes(name)) return;
  input.disabled = true;
  input.before(Object.assign(document.createElement("small"), { textContent: `not used by ${solver}` }));
}
