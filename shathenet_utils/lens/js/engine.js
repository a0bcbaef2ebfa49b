// The operations: what a layer computes of its inputs.
//
// A network is a list of layers as payload.py describes them. Maps are Float32Arrays in Keras's order, height × width ×
// channels; sums are kept in double precision, so that results agree with Keras's up to its own rounding.

import { activationOf } from "./activations.js";
import {
  concatenate, einsum, framed, join, prelu, reduce, size, softmaxOver, standardise, take, transpose,
} from "./engine_arrays.js";
import { blocksOf, multiply, roomFor } from "./product.js";

/** @typedef {import("./types.d.ts").Layer} Layer */
/** @typedef {import("./types.d.ts").Geometry} Geometry */
/** @typedef {import("./types.d.ts").Tensor} Tensor */
/** @typedef {import("./types.d.ts").Weights} Weights */

/** The padding before the first pixel, for a window of `side` pixels, `dilation` apart: TensorFlow's SAME puts the odd
 *  one at the end.
 * @type {(padding: string, input: number, output: number, side: number, stride: number, dilation: number) => number} */
function padBefore(padding, input, output, side, stride, dilation) {
  if (padding !== "same") return 0;
  const reach = (side - 1) * dilation + 1;
  return Math.floor(Math.max((output - 1) * stride + reach - input, 0) / 2);
}

/** How a convolution's or a pool's window moves: rows and columns of the output, height and width of the window, steps
 *  down and to the right, distances within it, the padding above and to the left, and how far apart the input's pixels
 *  lie, with zeros between: 1, but for a transposed convolution.
 * @param {Layer} layer
 * @param {number[]} input
 * @param {number[]} kernel
 * @returns {import("./types.d.ts").Geometry} */
export function geometry(layer, input, kernel) {
  const [rows, columns] = layer.shape, [dilateRows, dilateColumns] = layer.dilation ?? [1, 1];
  const [spreadRows, spreadColumns] = layer.spread ?? [1, 1];
  const [top, left] = layer.top_left ?? [
    padBefore(layer.padding, input[0], rows, kernel[0], layer.strides[0], dilateRows),
    padBefore(layer.padding, input[1], columns, kernel[1], layer.strides[1], dilateColumns),
  ];
  return {
    rows, columns, height: kernel[0], width: kernel[1], down: layer.strides[0], right: layer.strides[1], dilateRows,
    dilateColumns, top, left, spreadRows, spreadColumns,
  };
}

/** Which row of the input lies under a row of a window, or column; below zero for none: padding, or a zero between.
 * @type {(place: number, input: number, spread: number) => number} */
export function under(place, input, spread) {
  return place >= 0 && place % spread === 0 && place < input * spread ? place / spread : -1;
}

/** One row of a convolution's output, written into `out`.
 * @type {(layer: Layer, x: Tensor, weights: Weights, g: Geometry, row: number, out: Float32Array) => void} */
function convRow(layer, x, { kernel, bias }, g, row, out) {
  const [kernelRows, kernelColumns, inner, filters] = kernel.shape, [height, width, channels] = x.shape;
  const sums = new Float64Array(filters), perGroup = filters / layer.groups;
  for (let column = 0, at = row * g.columns * filters; column < g.columns; column++, at += filters) {
    if (bias) sums.set(bias.data);
    else sums.fill(0);
    for (let a = 0; a < kernelRows; a++) {
      const y = under(row * g.down - g.top + a * g.dilateRows, height, g.spreadRows);
      if (y < 0) continue;
      for (let b = 0; b < kernelColumns; b++) {
        const z = under(column * g.right - g.left + b * g.dilateColumns, width, g.spreadColumns);
        if (z < 0) continue;
        const from = (y * width + z) * channels, start = (a * kernelColumns + b) * inner * filters;
        if (inner === 1 && perGroup === 1) {
          for (let c = 0; c < channels; c++) sums[c] += x.data[from + c] * kernel.data[start + c];
          continue;
        }
        for (let group = 0; group < layer.groups; group++) {
          const first = group * perGroup, last = first + perGroup;
          for (let c = 0; c < inner; c++) {
            const value = x.data[from + group * inner + c];
            if (value === 0) continue;
            const w = start + c * filters;
            for (let f = first; f < last; f++) sums[f] += value * kernel.data[w + f];
          }
        }
      }
    }
    out.set(sums, at);
  }
}

/** A function that writes one row of a convolution's output into `out`: all windows of the row, as the rows of a matrix,
 *  times the filters, which is quicker than `convRow` where a group has several filters.
 * @type {(layer: Layer, x: Tensor, weights: Weights, g: Geometry, out: Float32Array) => (row: number) => void} */
function rowByBlocks(layer, x, { kernel, bias }, g, out) {
  const [, , inner, filters] = kernel.shape, [height, width, channels] = x.shape, many = filters / layer.groups;
  const depth = g.height * g.width * inner, windows = roomFor(g.columns, depth);
  const blocks = Array.from({ length: layer.groups }, (_, group) => blocksOf(kernel.data, depth, many, filters, group * many));
  return (row) => {
    for (let group = 0; group < layer.groups; group++) {
      for (let column = 0, to = 0; column < g.columns; column++) {
        for (let a = 0; a < g.height; a++) {
          const y = under(row * g.down - g.top + a * g.dilateRows, height, g.spreadRows);
          for (let b = 0; b < g.width; b++) {
            const z = under(column * g.right - g.left + b * g.dilateColumns, width, g.spreadColumns);
            const from = (y * width + z) * channels + group * inner, inside = y >= 0 && z >= 0;
            for (let c = 0; c < inner; c++, to++) windows[to] = inside ? x.data[from + c] : 0;
          }
        }
      }
      const first = group * many, offsets = bias?.data.subarray(first, first + many);
      multiply(windows, g.columns, depth, blocks[group], many, offsets, out, row * g.columns * filters + first, filters);
    }
  };
}

/** A convolution, row by row: yields after each.
 * @param {Layer} layer
 * @param {Tensor[]} inputs
 * @param {Weights} weights
 * @returns {Generator<number, Float32Array>} */
function* conv(layer, [x], weights) {
  const g = geometry(layer, x.shape, weights.kernel.shape), out = new Float32Array(size(layer.shape));
  const several = weights.kernel.shape[3] / layer.groups > 3;
  const writeRow = several ? rowByBlocks(layer, x, weights, g, out)
    : (/** @type {number} */ row) => convRow(layer, x, weights, g, row, out);
  for (let row = 0; row < g.rows; row++) {
    writeRow(row);
    yield (row + 1) / g.rows;
  }
  return out;
}

/** @param {Layer} layer @param {Tensor[]} inputs */
function pool(layer, [x]) {
  const [height, width, channels] = x.shape, g = geometry(layer, x.shape, layer.size);
  const out = new Float32Array(size(layer.shape)), mean = layer.how === "average";
  for (let row = 0, at = 0; row < g.rows; row++) {
    for (let column = 0; column < g.columns; column++) {
      for (let c = 0; c < channels; c++, at++) {
        let found = mean ? 0 : -Infinity, count = 0;
        for (let a = 0; a < g.height; a++) {
          const y = row * g.down - g.top + a;
          if (y < 0 || y >= height) continue;
          for (let b = 0; b < g.width; b++) {
            const z = column * g.right - g.left + b;
            if (z < 0 || z >= width) continue;
            const value = x.data[(y * width + z) * channels + c];
            found = mean ? found + value : value > found || value !== value ? value : found;
            count++;
          }
        }
        out[at] = mean ? found / count : found;
      }
    }
  }
  return out;
}

/** @param {Layer} layer @param {Tensor[]} inputs */
function globalPool(layer, [x]) {
  const channels = x.shape[2], places = x.data.length / channels, mean = layer.how === "average";
  return Float32Array.from({ length: channels }, (_, c) => {
    let found = mean ? 0 : -Infinity;
    for (let at = c; at < x.data.length; at += channels) {
      const value = x.data[at];
      found = mean ? found + value : value > found || value !== value ? value : found;
    }
    return mean ? found / places : found;
  });
}

/** @param {Layer} layer @param {Tensor[]} inputs @param {Weights} weights */
function dense(layer, [x], weights) {
  const [inputs, units] = weights.kernel.shape, places = x.data.length / inputs;
  const out = new Float32Array(places * units), sums = new Float64Array(units);
  if (places > 3) {  // fewer are not worth putting the kernel in order
    const rows = roomFor(places, inputs);
    rows.set(x.data);
    multiply(rows, places, inputs, blocksOf(weights.kernel.data, inputs, units), units, weights.bias?.data, out, 0);
    return out;
  }
  for (let place = 0; place < places; place++) {
    if (weights.bias) sums.set(weights.bias.data);
    else sums.fill(0);
    for (let i = 0; i < inputs; i++) {
      const value = x.data[place * inputs + i];
      if (value === 0) continue;
      for (let u = 0, w = i * units; u < units; u++, w++) sums[u] += value * weights.kernel.data[w];
    }
    out.set(sums, place * units);
  }
  return out;
}

/** A batch norm as y = factor · x + offset, by channel: {factor, offset}.
 * @param {Layer} layer @param {Weights} weights */
function normAsLine(layer, weights) {
  const channels = weights.mean.data.length;
  const factor = Float64Array.from({ length: channels }, (_, c) =>
    (weights.gamma ? weights.gamma.data[c] : 1) / Math.sqrt(weights.variance.data[c] + layer.epsilon));
  const offset = factor.map((each, c) => (weights.beta ? weights.beta.data[c] : 0) - each * weights.mean.data[c]);
  return { factor, offset };
}

/** @param {Tensor} x @param {ArrayLike<number>} factor @param {ArrayLike<number>} offset */
function line(x, factor, offset) {
  const many = factor.length, more = offset.length;
  return x.data.map((value, i) => value * factor[i % many] + offset[i % more]);
}

/** Where the pixels of an enlarged or reduced side come from: [first, second, weight of the second] each.
 * @type {(input: number, output: number, how: string) => [number, number, number][]} */
export function sources(input, output, how) {
  return Array.from({ length: output }, (_, i) => {
    if (how === "nearest") {
      const from = Math.min(Math.floor(((i + 0.5) * input) / output), input - 1);
      return [from, from, 0];
    }
    const place = Math.fround(Math.fround((i + 0.5) * Math.fround(input / output)) - 0.5);
    const from = Math.floor(place), clamp = (/** @type {number} */ at) => Math.min(Math.max(at, 0), input - 1);
    return [clamp(from), clamp(from + 1), place - from];
  });
}

/** A number between two. @type {(first: number, second: number, share: number) => number} */
export const between = (first, second, share) => first + (second - first) * share;

/** @param {Layer} layer @param {Tensor[]} inputs */
function resize(layer, [x]) {
  if (layer.how === "weights") return resample(layer, x);
  const [height, width, channels] = x.shape, [rows, columns] = layer.shape;
  const down = sources(height, rows, layer.how), right = sources(width, columns, layer.how);
  const out = new Float32Array(size(layer.shape));
  let at = 0;
  for (const [up, low, v] of down) {
    for (const [near, far, u] of right) {
      for (let c = 0; c < channels; c++, at++) {
        const pick = (/** @type {number} */ y, /** @type {number} */ z) => x.data[(y * width + z) * channels + c];
        out[at] = between(between(pick(up, near), pick(up, far), u), between(pick(low, near), pick(low, far), u), v);
      }
    }
  }
  return out;
}

/** A map whose rows and columns are weighted sums of another's: [first, shares] for each. @param {Layer} layer @param {Tensor} x */
function resample(layer, { shape: [height, width, channels], data }) {
  const [rows, columns] = layer.shape, across = new Float64Array(height * columns * channels);
  for (let y = 0; y < height; y++) {
    for (let z = 0; z < columns; z++) {
      const [first, shares] = layer.columns[z];
      for (let i = 0; i < shares.length; i++) {
        const from = (y * width + first + i) * channels, to = (y * columns + z) * channels;
        for (let c = 0; c < channels; c++) across[to + c] += shares[i] * data[from + c];
      }
    }
  }
  const each = columns * channels, sums = new Float64Array(rows * each);
  for (let y = 0; y < rows; y++) {
    const [first, shares] = layer.rows[y];
    for (let i = 0; i < shares.length; i++) {
      for (let at = 0; at < each; at++) sums[y * each + at] += shares[i] * across[(first + i) * each + at];
    }
  }
  return Float32Array.from(sums);
}

/** Of numbers, `channels` at a time, the softmax. @type {(data: Float32Array, channels: number) => Float32Array} */
export const softmax = (data, channels) => softmaxOver({ shape: [data.length / channels, channels], data }, [1], false);

/** @param {Layer} layer @param {Tensor[]} inputs */
const same = (layer, [x]) => x.data.slice();

/** @type {Record<string, (layer: Layer, inputs: Tensor[], weights: Weights) => any>} */
const KINDS = {
  conv, dense, pool, resize, join, concatenate, transpose, take, reduce, standardise, einsum,
  global_pool: globalPool,
  norm: (layer, [x], weights) => {
    const { factor, offset } = normAsLine(layer, weights);
    return line(x, factor, offset);
  },
  scale: (layer, [x]) => line(x, layer.factor, layer.offset),
  softmax: (layer, [x]) => softmaxOver(x, layer.axes, layer.log),
  pad: framed, crop: framed,
  flatten: same, identity: same,
  activation: (layer, [x], weights) => (layer.activation === "prelu" ? prelu(x, weights.alpha) : x.data.slice()),
};

/** A layer's output: {shape, data}. inputs: maps; weights: name → {shape, data}. Tells what share of it is done.
 * @param {Layer} layer
 * @param {Tensor[]} inputs
 * @param {Weights} weights
 * @returns {Generator<number, Tensor>} */
export function* compute(layer, inputs, weights) {
  let data = KINDS[layer.kind](layer, inputs, weights);
  if (layer.kind === "conv") data = yield* data;
  const { shape, activation } = layer, last = shape.length - 1;
  if (activation === "softmax" || activation === "log_softmax") {
    data = softmaxOver({ shape, data }, [last], activation === "log_softmax");
  }
  const each = activationOf(layer);
  if (each) data = data.map((/** @type {number} */ value) => each(value));
  return { shape, data };
}

/** What a layer costs, in multiply-adds or numbers written.
 * @param {Layer} layer
 * @param {Layer[]} layers
 * @returns {number} */
export function costOf(layer, layers) {
  const many = size(layer.shape);
  if (layer.kind === "conv") return many * layer.kernel_shape[0] * layer.kernel_shape[1] * layer.kernel_shape[2];
  if (layer.kind === "dense") return many * (layers[layer.inputs[0]].shape.at(-1) ?? 1);
  return layer.kind === "einsum" ? many * layer.summed : many;
}
