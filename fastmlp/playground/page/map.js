// The picture of the output over the plane, with the samples as dots, and its legend.

import { css, isDark, mix, ofClass, paint, paintPoints, sharp, signed } from "./pictures.js";

export class OutputMap {
  // changed: called when it must be drawn again
  constructor(canvas, legend, changed) {
    Object.assign(this, { canvas, legend, ground: document.createElement("canvas"), dots: document.createElement("canvas") });
    sharp(canvas, () => {
      this.forget();
      changed();
    });
  }

  // the dots and the legend are drawn again with the next frame
  forget() {
    this.drawn = null;
  }

  // picture: n * n bytes, and if there are several classes, that of each point.
  // data: the samples. nameOf: of a class
  draw({ bytes, n, discrete, classes }, { data, radius, showTest, several, nameOf }) {
    paint(this.ground, bytes, n, { discrete, classes });
    const key = `${showTest} ${several}`;
    if (this.drawn?.data !== data || this.drawn.key !== key) {
      this.drawn = { data, key };
      this.#drawDots({ data, radius, showTest, several });
      this.#drawLegend({ data, several, nameOf });
    }
    const { width, height } = this.canvas, context = this.canvas.getContext("2d");
    context.drawImage(this.ground, 0, 0, width, height);
    context.drawImage(this.dots, 0, 0);
  }

  #drawDots({ data, radius, showTest, several }) {
    const size = (this.dots.width = this.dots.height = this.canvas.width);
    const isClass = data.task === "classification", context = this.dots.getContext("2d");
    const ink = isDark() ? [255, 255, 255] : [0, 0, 0]; // so that dots show on their own colour
    const colour = (target) => css(mix(several ? ofClass(target) : signed(isClass ? 2 * target - 1 : target ?? -1), ink, 0.25));
    paintPoints(context, size, radius, data.train, colour, isDark() ? "#14181e" : "#fff");
    if (showTest) paintPoints(context, size, radius, data.test, colour, isDark() ? "#fff" : "#1f2933");
  }

  #drawLegend({ data, several, nameOf }) {
    const classes = several ? [...new Set(data.train[2])].sort((a, b) => a - b) : null;
    const entries = classes ? classes.map((c) => [css(ofClass(c)), nameOf(c)])
      : data.task === "classification" ? [[css(signed(-1)), nameOf(0)], [css(signed(1)), nameOf(1)]]
      : data.legend.map((text, i) => [css(signed(i - 1)), text]);
    this.legend.replaceChildren(...entries.map(([background, text]) => {
      const entry = document.createElement("span"), dot = entry.appendChild(document.createElement("i"));
      dot.style.background = background;
      entry.append(text);
      return entry;
    }));
  }
}
