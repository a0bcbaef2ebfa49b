// The image that is shown, with the receptive field of the chosen number, and the choice among images.

import { make, makeSvg, paintImage } from "../draw.js";
import { receptiveField } from "../field.js";
import { makeTiles } from "../tiles.js";

/** @typedef {import("../types.d.ts").Lens} Lens */

/** A rectangle over a canvas, in the canvas's pixels. */
export function makeOutline() {
  const rect = makeSvg("rect", {}), element = makeSvg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" }, rect);
  return {
    element,
    /** @type {(height: number, width: number) => void} */
    resize: (height, width) => element.setAttribute("viewBox", `0 0 ${width} ${height}`),
    /** @type {(top: number, left: number, height: number, width: number) => void} */
    put(top, left, height, width) {
      const sides = { x: left, y: top, width, height };
      for (const [name, value] of Object.entries(sides)) rect.setAttribute(name, String(value));
    },
  };
}

/** @param {Lens} lens */
export function makeSeen(lens) {
  const canvas = make("canvas", { role: "img" }), field = makeOutline();
  const [height, width] = lens.own.shape;
  field.resize(height, width);
  return {
    element: make("div", { className: "stage" }, canvas, field.element),
    draw() {
      paintImage(canvas, lens.imageOf(lens.state.image));
      canvas.setAttribute("aria-label", `The image: ${lens.nameOf(lens.state.image)}. The outlined part is the receptive field of the chosen number.`);
    },
    drawField() {
      const { place, row, column } = lens.state;
      const part = lens.outputs[place] && receptiveField(lens.layers, place, row, column);
      field.element.style.display = part ? "" : "none";
      if (!part) return;
      const [top, bottom, left, right] = part;
      field.put(top, left, bottom - top + 1, right - left + 1);
    },
  };
}

/** @param {Lens} lens */
export function makeChoice(lens) {
  const tiles = makeTiles("Image", (image) => void lens.set({ image }), "images");
  return {
    element: tiles.element,
    draw() {
      tiles.update(Array.from({ length: lens.count + 1 }, (_, number) => ({
        label: number === lens.count ? "your own image" : `${lens.nameOf(number)}, image ${number}`,
        text: number === lens.count ? "yours" : "",
        paint: (canvas) => paintImage(canvas, lens.imageOf(number)),
      })), lens.state.image);
    },
    choose: () => tiles.choose(lens.state.image),
  };
}
