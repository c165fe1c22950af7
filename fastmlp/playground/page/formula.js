// Formulas of the tables, which are in LaTeX, as MathML: as much of it as they use.

const SYMBOLS = {
  Phi: "Φ", beta: "β", delta: "δ", epsilon: "ε", eta: "η", gamma: "γ", lambda: "λ", mu: "μ",
  sum: "∑", leftarrow: "←", le: "≤", lvert: "|", rvert: "|",
};
const SKIPPED = ["left", "right"];

const element = (name, ...content) => {
  const made = document.createElementNS("http://www.w3.org/1998/Math/MathML", name);
  made.append(...content);
  if (name === "mo") made.setAttribute("stretchy", false); // not all fonts have tall brackets
  if (name === "mspace") made.setAttribute("width", "0.17em");
  return made;
};

// a row of nodes, up to the end of the tokens or of a group
function row(tokens) {
  const nodes = [];
  while (tokens.length && tokens[0] !== "}") {
    if (tokens[0] === "_" || tokens[0] === "^") {
      const kind = tokens.shift(), base = nodes.pop() ?? element("mrow"), script = argument(tokens);
      const isBoth = (kind === "^" && base.localName === "msub") || (kind === "_" && base.localName === "msup");
      if (!isBoth) nodes.push(element(kind === "_" ? "msub" : "msup", base, script));
      else {
        const [inner, other] = [...base.children];
        nodes.push(element("msubsup", inner, ...(kind === "^" ? [other, script] : [script, other])));
      }
    } else nodes.push(one(tokens));
  }
  tokens.shift();
  return element("mrow", ...nodes);
}

// a group in braces, or a single token
function argument(tokens) {
  if (tokens[0] !== "{") return one(tokens);
  tokens.shift();
  return row(tokens);
}

function one(tokens) {
  const token = tokens.shift();
  if (token === "{") return row(tokens);
  if (token === "\\,") return element("mspace");
  if (!token.startsWith("\\")) return element(/[a-zA-Z]/.test(token) ? "mi" : /\d/.test(token) ? "mn" : "mo", token === "-" ? "−" : token);
  const name = token.slice(1);
  if (SKIPPED.includes(name)) return element("mrow");
  if (name === "frac") return element("mfrac", argument(tokens), argument(tokens));
  if (name === "sqrt") return element("msqrt", argument(tokens));
  if (name === "operatorname") return element("mi", argument(tokens).textContent);
  const symbol = SYMBOLS[name] ?? name; // max, log, tanh are names
  return element(/^[\p{L}]/u.test(symbol) ? "mi" : "mo", symbol);
}

// text with formulas between dollars, lines between <br>
export function formulaOf(text) {
  return text.split("<br>").map((line) => {
    const made = document.createElement("span");
    line.trim().split("$").forEach((part, i) => {
      if (i % 2 === 0) made.append(part);
      else made.append(element("math", row(part.match(/\\[a-zA-Z]+|\\.|\d+(\.\d+)?|\S/g) ?? [])));
    });
    return made;
  });
}
