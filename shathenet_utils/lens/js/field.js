// Receptive fields, and the sums behind a number of a convolution.

import { geometry, sources, under } from "./engine.js";
import { framing } from "./engine_arrays.js";

/** @typedef {import("./types.d.ts").Layer} Layer
 *  @typedef {import("./types.d.ts").Tensor} Tensor
 *  @typedef {import("./types.d.ts").Geometry} Geometry
 *  @typedef {[number, number, number, number]} Area top, bottom, left, right */

/** @type {(value: number, low: number, high: number) => number} */
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Kinds of layers whose numbers come from the same place of their inputs, whatever the channel. */
const LOCAL = ["activation", "dense", "identity", "join", "norm", "scale"];

/** Whether a layer that acts along axes, which are then its last one alone, leaves rows and columns apart.
 * @param {Layer} layer */
const alongChannels = ({ kind, axis, axes, groups }) =>
  kind === "concatenate" ? (axis ?? 2) === 2 : ["softmax", "standardise"].includes(kind) && !groups && String(axes) === "2";

/** The part of a layer's input that a part of its output depends on: [top, bottom, left, right], whole pixels, ends
 *  included, clipped where padding begins. A layer that is known to mix rows or columns otherwise depends on all.
 * @type {(layer: Layer, input: number[], part: Area, kernelShape: number[]) => Area} */
function seenBy(layer, input, [top, bottom, left, right], kernelShape) {
  const [height, width] = input, all = /** @type {Area} */ ([0, height - 1, 0, width - 1]);
  /** @type {(...part: Area) => Area} */
  const clipped = (a, b, c, d) =>
    [clamp(a, 0, height - 1), clamp(b, 0, height - 1), clamp(c, 0, width - 1), clamp(d, 0, width - 1)];
  if (layer.shape.length < 3 || input.length !== 3) return all;
  if (layer.kind === "conv" || layer.kind === "pool") {
    const g = geometry(layer, input, kernelShape);
    return clipped(
      Math.ceil((top * g.down - g.top) / g.spreadRows),
      Math.floor((bottom * g.down - g.top + (g.height - 1) * g.dilateRows) / g.spreadRows),
      Math.ceil((left * g.right - g.left) / g.spreadColumns),
      Math.floor((right * g.right - g.left + (g.width - 1) * g.dilateColumns) / g.spreadColumns));
  }
  if (layer.kind === "resize" && layer.how === "weights") {
    /** @type {(taps: [number, number[]][], from: number, to: number) => [number, number]} */
    const reach = (taps, from, to) => {
      const some = taps.slice(from, to + 1).filter(([, shares]) => shares.length);
      return [Math.min(...some.map(([first]) => first)), Math.max(...some.map(([first, shares]) => first + shares.length - 1))];
    };
    return clipped(...reach(layer.rows, top, bottom), ...reach(layer.columns, left, right));
  }
  if (layer.kind === "resize") {
    const down = sources(height, layer.shape[0], layer.how), across = sources(width, layer.shape[1], layer.how);
    const reach = (/** @type {number[]} */ [from, to, weight]) => [from, weight ? to : from];
    return clipped(reach(down[top])[0], reach(down[bottom])[1], reach(across[left])[0], reach(across[right])[1]);
  }
  if (layer.kind === "pad" || layer.kind === "crop") {
    const [rows, columns] = framing(layer);
    return clipped(top - rows, bottom - rows, left - columns, right - columns);
  }
  if (layer.kind === "take") {
    /** @type {(places: number[] | null, from: number, to: number) => [number, number]} */
    const reach = (places, from, to) => {
      const some = places?.slice(from, to + 1) ?? [from, to];
      return [Math.min(...some), Math.max(...some)];
    };
    return clipped(...reach(layer.indices[0], top, bottom), ...reach(layer.indices[1], left, right));
  }
  return LOCAL.includes(layer.kind) || alongChannels(layer) ? clipped(top, bottom, left, right) : all;
}

/** The part of the network's input that the output of `place` at a row and column depends on, as `seenBy`.
 * @type {(layers: Layer[], place: number, row: number, column: number) => Area | null} */
export function receptiveField(layers, place, row, column) {
  /** @type {Map<number, Area>} */
  const parts = new Map([[place, layers[place].shape.length === 3 ? [row, row, column, column] : [0, 0, 0, 0]]]);
  for (let at = place; at > 0; at--) {
    const part = parts.get(at), layer = layers[at];
    if (!part) continue;
    for (const from of layer.inputs) {
      if (layers[from].shape.length !== 3) {
        parts.set(from, [0, 0, 0, 0]);
        continue;
      }
      const seen = seenBy(layer, layers[from].shape, part, layer.size ?? layer.kernel_shape), known = parts.get(from);
      parts.set(from, known
        ? [Math.min(seen[0], known[0]), Math.max(seen[1], known[1]), Math.min(seen[2], known[2]), Math.max(seen[3], known[3])]
        : seen);
    }
  }
  return parts.get(0) ?? null;
}

/** The numbers of a channel under the window of an output, row by row; null in the padding, and
 *  where a transposed convolution puts a zero between.
 * @type {(g: Geometry, x: Tensor, row: number, column: number, channel: number) => (number | null)[]} */
export function windowOf(g, x, row, column, channel) {
  const [height, width, channels] = x.shape, found = [];
  for (let a = 0; a < g.height; a++) {
    for (let b = 0; b < g.width; b++) {
      const y = under(row * g.down - g.top + a * g.dilateRows, height, g.spreadRows);
      const z = under(column * g.right - g.left + b * g.dilateColumns, width, g.spreadColumns);
      found.push(y >= 0 && z >= 0 ? x.data[(y * width + z) * channels + channel] : null);
    }
  }
  return found;
}

/** A filter's weights for one of its input channels, row by row.
 * @type {(kernel: Tensor, filter: number, c: number) => number[]} */
function cellsOf({ shape: [rows, columns, inner, filters], data }, filter, c) {
  return Array.from({ length: rows * columns }, (_, at) => data[(at * inner + c) * filters + filter]);
}

/** How an output of a convolution comes about: each input channel's window, kernel and sum; bias and whole sum.
 * @type {(layer: Layer, x: Tensor, weights: import("./types.d.ts").Weights, row: number, column: number, filter: number) => {
 *   rows: number, columns: number, bias: number, sum: number,
 *   parts: { channel: number, window: (number | null)[], kernel: number[], sum: number }[] }} */
export function arithmetic(layer, x, { kernel, bias }, row, column, filter) {
  const [rows, columns, inner, filters] = kernel.shape, g = geometry(layer, x.shape, kernel.shape);
  const first = Math.floor(filter / (filters / layer.groups)) * inner, added = bias ? bias.data[filter] : 0;
  const parts = Array.from({ length: inner }, (_, c) => {
    const window = windowOf(g, x, row, column, first + c), cells = cellsOf(kernel, filter, c);
    return { channel: first + c, window, kernel: cells, sum: cells.reduce((sum, cell, at) => sum + cell * (window[at] ?? 0), 0) };
  });
  return { rows, columns, parts, bias: added, sum: parts.reduce((total, part) => total + part.sum, added) };
}
