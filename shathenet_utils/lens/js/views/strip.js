// The network as a strip of layers to click, and as a list.

import { format, largestOf, make, paintChannel, paintImage } from "../draw.js";
import { depthOf } from "../state.js";
import { makeTiles } from "../tiles.js";

/** @typedef {import("../types.d.ts").Layer} Layer
 *  @typedef {import("../types.d.ts").Lens} Lens */

/** What a kind of layer is called, where that differs.
 * @type {Record<string, string>} */
const NAMES = {
  conv: "convolution", norm: "batch norm", scale: "rescaling", global_pool: "global pooling", pad: "padding",
  crop: "cropping", resize: "resizing", concatenate: "concatenation", standardise: "normalisation", reduce: "reduction",
};

/** What a layer does, in a word or two.
 * @param {Layer} layer */
export function kindOf(layer) {
  if (layer.kind === "unknown") return `${layer.type}, unknown to the lens`;
  if (layer.kind === "conv") return `convolution ${layer.kernel_shape[0]}×${layer.kernel_shape[1]}`;
  if (layer.kind === "pool") return `${layer.how} pooling ${layer.size[0]}×${layer.size[1]}`;
  if (layer.kind === "join") return layer.how;
  if (layer.kind === "activation") return layer.activation === "general_relu" ? "relu" : String(layer.activation);
  return NAMES[layer.kind] ?? layer.kind;
}

/** @param {Layer} layer */
const sidesOf = (layer) => layer.shape.join("×") || "one number";

const FEW_LAYERS = 24;  // the strip of more is one row that scrolls
const MOST_PIXELS = 40;  // along a side of a layer's small image
const MOST_LOOKED_AT = 100_000;  // numbers of a layer, in search of a large one

/** @param {Lens} lens */
export function makeStrip(lens) {
  const { layers } = lens;
  const go = (/** @type {number} */ place) => void lens.set({ place, channel: place === lens.state.place ? lens.state.channel : 0 });
  const tiles = makeTiles("The network, from its input to its output", go, layers.length > FEW_LAYERS ? "strip" : "strip few");
  const list = make("select", { ariaLabel: "Layer" }, ...layers.map((layer, place) =>
    make("option", { value: String(place) }, `${layer.name} (${kindOf(layer)}, ${sidesOf(layer)})`)));
  list.addEventListener("change", () => go(Number(list.value)));

  /** The layers that a layer's input comes from, where that isn't the one before it.
   * @param {Layer} layer
   * @param {number} place */
  function fromOf(layer, place) {
    if (place === 0 || (layer.inputs.length === 1 && layer.inputs[0] === place - 1)) return "";
    return `from ${layer.inputs.map((from) => layers[from].name).join(", ")}`;
  }

  /** A layer's output as a small image: of the input the image, of a map the channel with the largest number.
   * @type {(canvas: HTMLCanvasElement, place: number) => void} */
  function paintSmall(canvas, place) {
    const out = lens.outputs[place];
    if (!out) return;
    if (place === 0 && layers[0].shape.length === 3) return paintImage(canvas, lens.imageOf(lens.state.image));
    const [height, width, channels] = out.shape.length === 3 ? out.shape : [1, out.data.length, 1];
    let at = 0;
    const step = Math.ceil(out.data.length / MOST_LOOKED_AT) | 1;  // odd, so that no channel is always passed over
    for (let i = 0; i < out.data.length; i += step) if (Math.abs(out.data[i]) > Math.abs(out.data[at])) at = i;
    const rows = Math.min(height, MOST_PIXELS), columns = Math.min(width, MOST_PIXELS), channel = at % channels;
    const data = Float32Array.from({ length: rows * columns }, (_, pixel) => {
      const y = Math.floor((Math.floor(pixel / columns) * height) / rows), x = Math.floor(((pixel % columns) * width) / columns);
      return out.data[(y * width + x) * channels + channel];
    });
    paintChannel(canvas, { shape: [rows, columns, 1], data }, 0, largestOf(data) || 1);
  }

  return {
    element: tiles.element,
    list: make("label", {}, "Layer", list),
    /** Draw every layer's small image anew. */
    draw() {
      tiles.update(layers.map((layer, place) => ({
        label: `${layer.name}, ${kindOf(layer)}, ${sidesOf(layer)}`,
        title: [`${layer.name}: ${kindOf(layer)}`, sidesOf(layer), fromOf(layer, place)].filter(Boolean).join(" · "),
        text: `${layer.name.split("/").at(-1)}\n${kindOf(layer)}\n${sidesOf(layer)}`,
        pale: !lens.outputs[place],
        paint: (canvas) => paintSmall(canvas, place),
      })), lens.state.place);
      this.choose();
    },
    choose() {
      tiles.choose(lens.state.place);
      tiles.reveal();
      list.value = String(lens.state.place);
    },
  };
}

/** The layers that a layer is computed from, itself included, nearest last.
 * @type {(layers: Layer[], place: number) => Layer[]} */
function upstream(layers, place) {
  const needed = new Set([place]);
  for (let at = place; at >= 0; at--) if (needed.has(at)) layers[at].inputs.forEach((from) => needed.add(from));
  return [...needed].sort((one, two) => one - two).map((at) => layers[at]);
}

/** Why a layer shows nothing, or not everything: a sentence, or none.
 * @param {Lens} lens
 * @param {number} drawn how many of its channels are drawn */
export function noteOn(lens, drawn) {
  const { layers, state } = lens, layer = layers[state.place], out = lens.outputs[state.place];
  if (!out) {
    const unknown = upstream(layers, state.place).find((one) => one.kind === "unknown");
    return unknown
      ? `The lens doesn't know ${unknown.type} (layer ${unknown.name}), so it shows nothing that is computed from it.`
      : `The weights of epoch ${state.epoch} were not kept for every layer up to ${layer.name}; the first, the middle and the last were.`;
  }
  if (out.data.some((value) => value !== value)) return `${layer.name} holds numbers that are NaN.`;
  const many = depthOf(layer);
  return drawn < many ? `${drawn} of ${many.toLocaleString("en")} channels are drawn.` : "";
}

/** The least and the largest of some numbers, as a legend of their colours.
 * @param {number} scale */
export const legend = (scale) => make("p", { className: "legend" }, `−${format(scale)}`,
  make("i", { ariaHidden: "true" }), `+${format(scale)}`, make("span", {}, "blue is negative, white zero, orange positive"));
