// The experiment in the address: what differs from the defaults, as #name=value&...

// What is read is only drawn if it fits: the server checks the rest.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // the server says what is wrong with it
  }
}

export function read({ defaults, most_layers, most_units }) {
  const found = {};
  const fits = (n) => Number.isInteger(n) && n >= 1 && n <= most_units;
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    if (!Object.hasOwn(defaults, name)) continue;
    const usual = defaults[name];
    if (Array.isArray(usual)) {
      const parts = text === "" ? [] : text.split(",");
      found[name] = name === "hidden_layer_sizes"
        ? parts.map(Number).filter(fits).slice(0, most_layers)
        : parts.map(typeof usual[0] === "number" ? Number : decoded);
    } else if (typeof usual === "boolean") found[name] = text === "true";
    else found[name] = typeof usual === "number" ? Number(text) : text;
  }
  return { ...defaults, ...found };
}

// Lists of names: what is hidden, for a lecture (#hide=settings,data), and what is shown beside
// the experiment (#show=by-hand,test-samples).
const listOf = (name) => (new URLSearchParams(location.hash.slice(1)).get(name) ?? "").split(",").filter(Boolean);
export const hidden = () => listOf("hide");
export const shown = () => listOf("show");

export function write(experiment, defaults, show) {
  const parts = new URLSearchParams();
  if (hidden().length) parts.set("hide", hidden().join(","));
  for (const [name, value] of Object.entries(experiment))
    if (String(value) !== String(defaults[name]))
      parts.set(name, Array.isArray(value) ? value.map(encodeURIComponent).join(",") : value);
  if (show.length) parts.set("show", show.join(","));
  history.replaceState(null, "", "#" + parts.toString().replaceAll("%2C", ","));
}
