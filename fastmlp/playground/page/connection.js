// The WebSocket: messages out, and frames in, of which only the newest is drawn.

export function connect({ onMessage, onFrame, onClose }) {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/session`);
  socket.binaryType = "arraybuffer";
  const send = (type, content = {}) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ...content }));
  };
  const waiting = [];
  const draw = () => {
    const frames = waiting.splice(0);
    try {
      onFrame(frames.map(parse));
    } finally {
      frames.forEach(() => send("drawn"));
    }
  };
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") return onMessage(JSON.parse(data));
    if (waiting.push(data) === 1) requestAnimationFrame(draw);
  };
  socket.onclose = onClose;
  send.close = () => socket.close();
  return send;
}

function parse(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { ...header, pictures: new Uint8Array(buffer, 4 + length) };
}
