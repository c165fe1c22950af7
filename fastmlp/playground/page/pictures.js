// Bytes as colours: orange is negative, blue is positive, the ground is zero.

const ORANGE = [238, 119, 51], BLUE = [0, 119, 187];
const CLASSES = [
  [238, 119, 51], [0, 119, 187], [0, 153, 136], [204, 51, 17], [170, 51, 119],
  [221, 204, 119], [51, 34, 136], [136, 204, 238], [153, 153, 51], [110, 110, 110],
];

export const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const ground = () => (isDark() ? [42, 50, 60] : [240, 242, 244]);

export const mix = (from, to, share) => from.map((value, i) => value + (to[i] - value) * share);
export const css = (colour) => `rgb(${colour.map(Math.round).join(" ")})`;

// a number from -1 to 1
export function signed(value) {
  const size = Math.min(1, Math.abs(value));
  return mix(ground(), value < 0 ? ORANGE : BLUE, size);
}

export const ofClass = (number) => CLASSES[number % CLASSES.length];

// n * n bytes (1 is -1, 128 is 0, 255 is 1) onto a canvas; of several classes, with the
// number of the class at each point
export function paint(canvas, bytes, n, { discrete = false, classes = null } = {}) {
  canvas.width = canvas.height = n;
  const context = canvas.getContext("2d"), image = context.createImageData(n, n);
  const table = Array.from({ length: 256 }, (_, byte) => {
    const value = (byte - 128) / 127;
    return signed(discrete ? Math.sign(value) : value);
  });
  for (let i = 0; i < n * n; i++) {
    let colour = table[bytes[i]];
    if (classes) {
      const share = discrete ? 1 : (bytes[i] - 128) / 127;
      colour = mix(ground(), ofClass(classes[i]), share * share);
    }
    image.data.set([colour[0], colour[1], colour[2], 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
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
