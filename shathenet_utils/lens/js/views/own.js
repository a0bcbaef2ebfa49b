// The reader's own image: drawn with a pen, or from a file.

import { make, makeButton, paintImage } from "../draw.js";
import { clamp } from "../field.js";
import { MOVES } from "../grid.js";
import { inChannels, readImage } from "../image.js";
import { RANGES } from "../runner.js";

/** @typedef {import("../types.d.ts").Lens} Lens */

/** Whether a network changes its input's range before any weight sees it.
 * @param {import("../types.d.ts").Layer[]} layers */
function scalesFirst(layers) {
  const kept = new Set([0]);  // the input, and what passes it on
  let scaled = false, weighed = false;
  layers.forEach((layer, place) => {
    if (!layer.inputs.some((from) => kept.has(from))) return;
    if (["scale", "norm", "standardise", "reduce", "join"].includes(layer.kind)) scaled = true;
    else if (Object.keys(layer.weights).length) weighed = true;
    else kept.add(place);
  });
  return scaled || !weighed;
}

/** @param {Lens} lens */
export function makeOwn(lens) {
  const { own } = lens, [height, width, channels] = own.shape;
  const thick = Math.max(1, Math.floor(Math.min(height, width) / 32));
  const canvas = make("canvas", {
    className: "pen", tabIndex: 0, role: "application",
    ariaLabel: "Your own image. Arrow keys move the pen, Space draws a dot.",
  });
  const colour = make("input", { type: "color", value: "#000000" });
  const file = make("input", { type: "file", accept: "image/*" });
  const fit = make("select", { ariaLabel: "Take" }, make("option", {}, "the whole image"), make("option", {}, "its middle"));
  const range = make("select", { ariaLabel: "Pixel values" }, ...RANGES.map(({ name }) => make("option", {}, name)));
  const message = make("p", { role: "status" });
  const pen = { row: 0, column: 0 };
  /** @type {Blob | null} */
  let taken = null;

  /** @type {(row: number, column: number) => void} */
  function dot(row, column) {
    const rgb = [1, 3, 5].map((at) => parseInt(colour.value.slice(at, at + 2), 16)), drawn = inChannels(rgb, channels);
    const first = Math.floor((thick - 1) / 2);
    for (let y = row - first; y < row - first + thick; y++) {
      for (let x = column - first; x < column - first + thick; x++) {
        if (y >= 0 && y < height && x >= 0 && x < width) own.data.set(drawn, (y * width + x) * channels);
      }
    }
  }

  /** Dots from where the pen was to where it is.
   * @type {(row: number, column: number) => void} */
  function stroke(row, column) {
    const steps = Math.max(Math.abs(row - pen.row), Math.abs(column - pen.column), 1);
    for (let step = 1; step <= steps; step++) {
      dot(Math.round(pen.row + ((row - pen.row) * step) / steps), Math.round(pen.column + ((column - pen.column) * step) / steps));
    }
    Object.assign(pen, { row, column });
  }

  /** @param {PointerEvent} event */
  function placeOf(event) {
    const box = canvas.getBoundingClientRect();
    return /** @type {const} */ ([
      clamp(Math.floor(((event.clientY - box.top) / box.height) * height), 0, height - 1),
      clamp(Math.floor(((event.clientX - box.left) / box.width) * width), 0, width - 1),
    ]);
  }

  async function take() {
    if (!taken) return;
    try {
      const [before] = [taken], numbers = await readImage(taken, own.shape, fit.selectedIndex === 1);
      if (before !== taken) return;
      own.data.set(numbers);
      message.textContent = `Your file, made ${width}×${height} here; it has not left this page.`;
      lens.ownChanged();
    } catch {
      message.textContent = "This file is not an image that the browser can read.";
    }
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const [row, column] = placeOf(event);
    Object.assign(pen, { row, column });
    dot(row, column);
    lens.ownChanged();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) stroke(...placeOf(each));
    lens.ownChanged();
  });
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    if (move) {
      pen.row = clamp(pen.row + move[0], 0, height - 1);
      pen.column = clamp(pen.column + move[1], 0, width - 1);
      message.textContent = `pen at row ${pen.row}, column ${pen.column}`;
    } else {
      dot(pen.row, pen.column);
      lens.ownChanged();
    }
  });
  file.addEventListener("change", () => {
    taken = file.files?.[0] ?? taken;
    void take();
  });
  fit.addEventListener("change", () => void take());
  range.addEventListener("change", () => void lens.set({ range: range.selectedIndex }));
  lens.root.addEventListener("dragover", (event) => event.preventDefault());
  lens.root.addEventListener("drop", (event) => {
    const dropped = /** @type {DragEvent} */ (event).dataTransfer?.files[0];
    if (!dropped) return;
    event.preventDefault();
    taken = dropped;
    void take();
  });
  const clear = makeButton("clear", () => {
    own.data.fill(255);
    lens.ownChanged();
  });
  const words = "Choose what this network was trained on. Nothing in it changes the range of its input.";
  return {
    element: make("details", { className: "own" }, make("summary", {}, "Your own image"),
      make("div", { className: "controls" }, canvas,
        make("div", { className: "stacked" }, make("span", { className: "controls" }, make("label", {}, "Colour", colour), clear), make("label", {}, "Or a file", file),
          make("label", {}, "Take", fit), message))),
    /** The range of pixel values, where the network doesn't set it itself. */
    range: scalesFirst(lens.layers) ? null : make("label", { title: words }, "Pixel values", range),
    draw: () => {
      paintImage(canvas, own);
      range.selectedIndex = lens.state.range;
    },
  };
}
