// The output of the layer: a map large, all its channels small, and both as files.

import { brief, format, largestOf, make, makeButton, paintChannel } from "../draw.js";
import { clamp } from "../field.js";
import { rangesOf } from "../filters.js";
import { MOVES } from "../grid.js";
import { depthOf } from "../state.js";
import { makeTiles } from "../tiles.js";
import { makeOutline } from "./seen.js";
import { legend, noteOn } from "./strip.js";

/** @typedef {import("../types.d.ts").Lens} Lens
 *  @typedef {import("../types.d.ts").Tensor} Tensor */

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
  const title = lens.heading(""), words = make("p", { className: "hint" }), scaleOfAll = make("div", {});
  const numbers = make("div", {}), gallery = make("div", {}, title, channels.element, scaleOfAll, words);
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

  /** A channel's tile: its feature map, its number and its largest value.
   * @type {(out: Tensor, channel: number, scale: number, range: { least: number, most: number }) => import("../tiles.js").Tile} */
  function tileOf(out, channel, scale, { least, most }) {
    return {
      label: `channel ${channel}, largest value ${format(most)}${least < 0 ? `, smallest ${format(least)}` : ""}`,
      text: `${channel}\n${brief(most)}`,
      paint: (canvas) => paintChannel(canvas, out, channel, scale),
    };
  }

  function draw() {
    const { state } = lens, layer = lens.layers[state.place], out = lens.outputs[state.place];
    const map = lens.isMap(), shown = Math.min(depthOf(layer), MOST_TILES);
    note.textContent = noteOn(lens, shown);
    stage.hidden = png.hidden = colours.hidden = held.hidden = !out || !map;
    saved.textContent = map ? "Save this feature map" : "Save these numbers";
    title.textContent = `${map ? "Channels" : "Numbers"} of ${layer.name}`;
    words.hidden = scaleOfAll.hidden = !out || !map;
    const home = map ? gallery : numbers;
    if (title.parentElement !== home) home.prepend(title, channels.element);  // what is moved loses the keyboard
    if (!out) return channels.update([], 0);
    const scale = largestOf(out.data) || 1, ranges = map ? rangesOf(out) : [];
    channels.element.classList.toggle("numbers", !map);
    channels.update(Array.from({ length: shown }, (_, channel) => map ? tileOf(out, channel, scale, ranges[channel])
      : { label: `number ${channel}: ${format(out.data[channel])}`, text: `${channel}: ${format(out.data[channel])}` }), state.channel);
    if (!map) return;
    scaleOfAll.replaceChildren(legend(scale));
    paintChannel(canvas, out, state.channel, scale);
    spot.resize(out.shape[0], out.shape[1]);
    colours.replaceChildren(legend(scale));
    canvas.setAttribute("aria-label", `Output of ${layer.name}, channel ${state.channel}. Arrow keys move from pixel to pixel.`);
  }
  tellHold();
  words.textContent = "Under each feature map: the channel's number, and its largest value for this image. All share one colour scale, " +
    "so a channel of small values looks white beside the others.";
  return {
    element: make("div", {}, numbers, stage, colours, held, make("p", { className: "controls" }, saved, png, csv)),
    channels: gallery,
    note,
    draw,
    drawSpot: () => spot.put(lens.state.row, lens.state.column, 1, 1),
  };
}
