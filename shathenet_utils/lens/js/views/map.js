// The output of the layer: a map large, all its channels small, and both as files.

import { format, largestOf, make, makeButton, paintChannel } from "../draw.js";
import { clamp } from "../field.js";
import { MOVES } from "../grid.js";
import { depthOf } from "../state.js";
import { makeTiles } from "../tiles.js";
import { makeOutline } from "./seen.js";
import { legend, noteOn } from "./strip.js";

/** @typedef {import("../types.d.ts").Lens} Lens */

export const MOST_TILES = 256;

/** Hand the reader a file made here.
 * @type {(name: string, blob: Blob) => void} */
function save(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** @param {Lens} lens */
export function makeMap(lens) {
  const canvas = make("canvas", { tabIndex: 0, role: "application" }), spot = makeOutline();
  const stage = make("div", { className: "stage" }, canvas, spot.element), colours = make("div", {});
  const channels = makeTiles("Channel", (channel) => void lens.set({ channel }), "channels");
  const note = make("p", { className: "note", role: "status" });
  const saved = make("span", {}), held = make("p", { className: "hint" });
  let hold = false;  // whether the pointer no longer chooses the pixel

  const fileName = () => `${lens.data.title}_${lens.layers[lens.state.place].name}_${lens.state.channel}`.replace(/[^\w.-]+/g, "_");
  const png = makeButton("PNG", () => canvas.toBlob((blob) => blob && save(`${fileName()}.png`, blob)));
  const csv = makeButton("CSV", () => {
    const out = lens.outputs[lens.state.place];
    if (!out) return;
    const [rows, columns, many] = lens.isMap() ? out.shape : [1, out.data.length, 1], channel = lens.isMap() ? lens.state.channel : 0;
    const lines = Array.from({ length: rows }, (_, row) =>
      Array.from({ length: columns }, (_, column) => out.data[(row * columns + column) * many + channel]).join(","));
    save(`${fileName()}.csv`, new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  });

  /** @param {MouseEvent} event */
  function look(event) {
    const box = canvas.getBoundingClientRect(), [rows, columns] = lens.layers[lens.state.place].shape;
    void lens.set({
      row: clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1),
      column: clamp(Math.floor(((event.clientX - box.left) / box.width) * columns), 0, columns - 1),
    });
  }
  function tellHold() {
    held.textContent = hold ? "The pixel is held. Click again to let it follow the pointer."
      : "Point at a pixel, or use the arrow keys. A click holds it.";
  }
  canvas.addEventListener("pointermove", (event) => {
    if (!hold && event.pointerType !== "touch") look(event);
  });
  canvas.addEventListener("click", (event) => {
    hold = !hold && /** @type {PointerEvent} */ (event).pointerType !== "touch";
    look(event);
    tellHold();
  });
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    void lens.set({ row: lens.state.row + move[0], column: lens.state.column + move[1] });
  });

  function draw() {
    const { state } = lens, layer = lens.layers[state.place], out = lens.outputs[state.place];
    const map = lens.isMap(), shown = Math.min(depthOf(layer), MOST_TILES);
    note.textContent = noteOn(lens, shown);
    stage.hidden = png.hidden = colours.hidden = held.hidden = !out || !map;
    saved.textContent = map ? "Save this feature map" : "Save these numbers";
    if (!out) return channels.update([], 0);
    const scale = largestOf(out.data) || 1;
    channels.element.classList.toggle("numbers", !map);
    channels.update(Array.from({ length: shown }, (_, channel) => ({
      label: `channel ${channel}`,
      ...(map ? { paint: (canvas) => paintChannel(canvas, out, channel, scale) }
        : { text: `${channel}: ${format(out.data[channel])}` }),
    })), state.channel);
    if (!map) return;
    paintChannel(canvas, out, state.channel, scale);
    spot.resize(out.shape[0], out.shape[1]);
    colours.replaceChildren(legend(scale));
    canvas.setAttribute("aria-label", `Output of ${layer.name}, channel ${state.channel}. Arrow keys move from pixel to pixel.`);
  }
  tellHold();
  return {
    element: make("div", {}, stage, colours, held, make("p", { className: "controls" }, saved, png, csv)),
    channels: channels.element,
    note,
    draw,
    drawSpot: () => spot.put(lens.state.row, lens.state.column, 1, 1),
  };
}
