// Bytes as colours: orange is negative, blue is positive, the ground is zero.

const ORANGE = [238, 119, 51], BLUE = [0, 119, 187];
const CLASSES = [
  [238, 119, 51], [0, 119, 187], [0, 153, 136], [204, 51, 17], [170, 51, 119],
  [221, 204, 119], [51, 34, 136], [136, 204, 238], [153, 153, 51], [110, 110, 110],
];

const scheme = matchMedia("(prefers-color-scheme: dark)");
let dark = scheme.matches; // asking costs more than drawing
export const isDark = () => dark;
const ground = () => (dark ? [42, 50, 60] : [240, 242, 244]);

export function onScheme(callback) {
  scheme.addEventListener("change", () => {
    dark = scheme.matches;
    tables.clear();
    callback();
  });
}

export const mix = (from, to, share) => from.map((value, i) => value + (to[i] - value) * share);
export const css = (colour) => `rgb(${colour.map(Math.round).join(" ")})`;

// a number from -1 to 1
export function signed(value) {
  const size = Math.min(1, Math.abs(value));
  return mix(ground(), value < 0 ? ORANGE : BLUE, size);
}

// more classes than colours: lighter, then darker
const SHADES = [null, [255, 255, 255], [0, 0, 0]];
export function ofClass(number) {
  const colour = CLASSES[number % CLASSES.length], shade = SHADES[Math.floor(number / CLASSES.length) % SHADES.length];
  return shade ? mix(colour, shade, 0.45) : colour;
}

// the pixels that the 256 bytes become: signed, or of a class, the surer, the deeper
const tables = new Map();
function tableOf(discrete, number = null) {
  const key = `${discrete} ${number}`;
  if (!tables.has(key)) {
    const colourOf = (value) => number === null ? signed(discrete ? Math.sign(value) : value)
      : mix(ground(), ofClass(number), discrete ? 1 : value * value);
    const colours = Array.from({ length: 256 }, (_, byte) => [...colourOf((byte - 128) / 127), 255]);
    tables.set(key, new Uint32Array(Uint8ClampedArray.from(colours.flat()).buffer));
  }
  return tables.get(key);
}

// the pixels of a canvas are kept: to make them anew costs more than to fill them
const surfaces = new WeakMap();
function surfaceOf(canvas, n) {
  let surface = surfaces.get(canvas);
  if (surface?.image.width !== n) {
    canvas.width = canvas.height = n;
    const context = canvas.getContext("2d"), image = context.createImageData(n, n);
    surface = { context, image, pixels: new Uint32Array(image.data.buffer) };
    surfaces.set(canvas, surface);
  }
  return surface;
}

// n * n bytes (1 is -1, 128 is 0, 255 is 1) onto a canvas; of several classes, with the
// number of the class at each point
export function paint(canvas, bytes, n, { discrete = false, classes = null } = {}) {
  const { context, image, pixels } = surfaceOf(canvas, n);
  if (classes) {
    const ofClasses = [];
    for (let i = 0; i < pixels.length; i++)
      pixels[i] = (ofClasses[classes[i]] ??= tableOf(discrete, classes[i]))[bytes[i]];
  } else {
    const table = tableOf(discrete);
    for (let i = 0; i < pixels.length; i++) pixels[i] = table[bytes[i]];
  }
  context.putImageData(image, 0, 0);
}

// keeps a canvas as sharp as the screen, and calls back whenever that empties it. Who asks
// for its size in each frame has the whole page laid out again
export function sharp(canvas, changed) {
  new ResizeObserver(() => {
    const density = devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * density));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * density));
    changed();
  }).observe(canvas);
}

// points (x, y, target) over a map whose coordinates go from -radius to radius
export function paintPoints(context, size, radius, [xs, ys, targets], colour, edge) {
  const scale = size / (2 * radius), dot = Math.max(2.5, size / 110);
  context.lineWidth = 1;
  context.strokeStyle = edge;
  for (let i = 0; i < xs.length; i++) {
    context.beginPath();
    context.arc((xs[i] + radius) * scale, (radius - ys[i]) * scale, dot, 0, 7);
    context.fillStyle = colour(targets[i]);
    context.fill();
    context.stroke();
  }
}
