// Curves of the losses, training and test, up to now; a mark at the epoch that is shown.

export function drawCurve(canvas, losses, epoch, colours) {
  const density = devicePixelRatio || 1, { width, height } = canvas;
  const context = canvas.getContext("2d");
  context.globalAlpha = 1;
  context.clearRect(0, 0, width, height);
  const highest = 1.2 * Math.max(...(losses[0] ?? [])) || 1; // spikes are cut
  const last = Math.max(1, losses.length - 1), pad = 4 * density;
  const x = (i) => pad + (i / last) * (width - 2 * pad);
  const y = (loss) => height - pad - (loss / highest) * (height - 2 * pad);
  context.lineWidth = 1.5 * density;
  const every = Math.max(1, Math.floor((2 * losses.length) / width));
  for (const which of [1, 0]) {
    context.beginPath();
    for (let i = 0; i < losses.length; i += every)
      if (losses[i][which] !== null) context.lineTo(x(i), y(losses[i][which]));
    context.strokeStyle = colours[which];
    context.stroke();
  }
  context.beginPath();
  context.moveTo(x(epoch), 0);
  context.lineTo(x(epoch), height);
  context.globalAlpha = 0.4;
  context.stroke();
}
