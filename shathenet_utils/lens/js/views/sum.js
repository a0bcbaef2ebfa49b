// How the chosen number comes about.

import { format, make, makeButton } from "../draw.js";
import { explain, explainNext } from "../explain.js";
import { strongest } from "../filters.js";
import { makeGrid } from "../grid.js";
import { respondingPlace } from "./responses.js";

/** @typedef {import("../types.d.ts").Lens} Lens */

const MOST_CELLS = 121;  // of a window that is shown as a table
const QUIET = 700;  // milliseconds after the last change, before it is read out

/** @param {Lens} lens
 *  @param {(inner: number) => void} onInner */
export function makeSum(lens, onInner) {
  const sum = make("div", { className: "sum" }), most = make("div", { className: "controls", role: "group", "aria-label": "Where most comes from" });
  const seen = makeGrid(false), kernel = makeGrid(true), grids = make("div", { className: "grids" }, seen.element, kernel.element);
  const hint = make("p", { className: "hint" }, "When the network is computed, a number of the layer's output is explained here.");
  const spoken = make("p", { className: "spoken", role: "status" });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;

  /** Have a number read out, once the reader has stopped moving.
   * @param {string} text */
  function say(text) {
    clearTimeout(waiting);
    waiting = setTimeout(() => { spoken.textContent = text; }, QUIET);
  }

  /** Why this number is explained, unless the reader has chosen it, and how to choose another. */
  function hintFor() {
    const { state, layers, outputs, placed } = lens, end = respondingPlace(lens), out = outputs[end];
    if (!outputs[state.place]) return "This layer shows no numbers, so there is none to explain. Choose another layer.";
    if (!lens.isMap()) return "Choose another number of the output.";
    if (placed || !out) return "";
    const { most: largest, row, column } = strongest(out)[state.channel], channel = `channel ${state.channel} of ${layers[end].name}`;
    const point = "Point at a pixel of the output to see how its number comes about.";
    if (row !== state.row || column !== state.column) return point;
    return `${largest <= 0 ? `No value of ${channel} is above 0 for this image.` : `Here ${channel} has its largest value for this image.`} ${point}`;
  }

  return {
    element: make("div", {}, hint, sum, most, grids, spoken),
    draw() {
      const { state, layers, outputs } = lens, layer = layers[state.place], out = outputs[state.place];
      sum.hidden = most.hidden = grids.hidden = !out;
      hint.textContent = hintFor();
      hint.hidden = !hint.textContent;
      if (!out) return;
      const found = explain(lens.network, state, outputs);
      const where = lens.isMap() ? ` at row ${state.row}, column ${state.column}` : "";
      const title = `${layer.name}, ${lens.isMap() ? "channel" : "number"} ${state.channel}${where}: `;
      const next = ["conv", "dense"].includes(layer.kind) ? explainNext(lens.network, state, outputs) : [];
      sum.replaceChildren(make("p", { className: "value" }, title, make("strong", {}, format(found.value))),
        ...[...found.lines, ...next].map((text) => make("p", {}, text)));
      say(title + format(found.value));
      most.replaceChildren(...(found.most.length ? ["Most comes from input channels"] : []), ...found.most.map((one) =>
        makeButton(`${one.channel}: ${format(one.sum)}`, () => onInner(one.inner),
          { ariaLabel: `look at input channel ${one.channel}, ${format(one.sum)}` })));
      const [part] = found.parts, shown = part && part.rows * part.columns <= MOST_CELLS;
      seen.element.hidden = !shown;
      kernel.element.hidden = !shown || !part.kernel;
      if (!shown) return;
      const { channel, window, rows, columns } = part;
      seen.update(window, rows, columns, `window, input channel ${channel}`);
      if (!part.kernel) return;
      const [, , channels, filters] = layer.kernel_shape, inner = channel % channels, filter = state.channel;
      kernel.update(part.kernel, rows, columns, `kernel, filter ${filter}`, (at, value) =>
        lens.edit((numbers) => { numbers[(at * channels + inner) * filters + filter] = value; }));
    },
  };
}
