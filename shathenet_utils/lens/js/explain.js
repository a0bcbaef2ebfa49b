// The arithmetic behind a number, in words.

import { format } from "./draw.js";
import { between, geometry, sources } from "./engine.js";
import { arithmetic, clamp, windowOf } from "./field.js";
import { following } from "./filters.js";

/** @typedef {import("./types.d.ts").Explanation} Explanation
 *  @typedef {import("./types.d.ts").Layer} Layer
 *  @typedef {import("./types.d.ts").Part} Part
 *  @typedef {import("./types.d.ts").Spot} Spot
 *  @typedef {import("./types.d.ts").Tensor} Tensor
 *  @typedef {import("./types.d.ts").Weights} Weights */

const FEW = 3;  // the largest parts of a sum that are shown
const AXES = ["rows", "columns", "channels"];

/** Where in an output the number is that the state points at.
 * @type {(x: { shape: number[] }, spot: Spot) => number} */
export const indexOf = ({ shape }, { row, column, channel }) =>
  shape.length === 3 ? (row * shape[1] + column) * shape[2] + channel : channel;

/** The place of a number along each axis, from its place among all.
 * @type {(shape: number[], at: number) => number[]} */
function alongAxes(shape, at) {
  /** @type {number[]} */
  const index = [];
  for (let axis = shape.length - 1; axis >= 0; at = Math.floor(at / shape[axis--])) index.unshift(at % shape[axis]);
  return index;
}

/** A number by its place along each axis; a side of one is repeated, and sides that lack are added in front, as NumPy
 *  broadcasts.
 * @type {(x: Tensor, index: number[]) => number} */
function numberAt({ shape, data }, index) {
  const more = index.length - shape.length;
  return data[shape.reduce((at, side, axis) => at * side + (side === 1 ? 0 : index[axis + more]), 0)];
}

/** Where a layer that only moves numbers has one from: which input, and the place along each axis; "padding" of one
 *  that is not from an input; null of layers that do more.
 * @type {(layer: Layer, inputs: Tensor[], at: number) => { which: number, index: number[] } | "padding" | null} */
function origin(layer, inputs, at) {
  const index = alongAxes(layer.shape, at), [x] = inputs;
  if (layer.kind === "flatten") return { which: 0, index: alongAxes(x.shape, at) };
  if (layer.kind === "concatenate") {
    const axis = layer.axis ?? layer.shape.length - 1;
    let which = 0;
    for (; index[axis] >= inputs[which].shape[axis]; which++) index[axis] -= inputs[which].shape[axis];
    return { which, index };
  }
  if (layer.kind === "transpose") {
    const from = index.slice();
    layer.order.forEach((/** @type {number} */ axis, /** @type {number} */ to) => { from[axis] = index[to]; });
    return { which: 0, index: from };
  }
  if (layer.kind === "take") return { which: 0, index: index.map((place, axis) => layer.indices[axis]?.[place] ?? place) };
  if (layer.kind === "pad" || layer.kind === "crop") {
    const sides = layer.padding ?? layer.cropping, sign = layer.padding ? -1 : 1;
    const from = index.map((place, axis) => place + sign * (sides[axis]?.[0] ?? 0));
    return from.every((place, axis) => place >= 0 && place < x.shape[axis]) ? { which: 0, index: from } : "padding";
  }
  return null;
}

/** @type {(layer: Layer, inputs: Tensor[], names: string[], at: number) => string | null} */
function moved(layer, inputs, names, at) {
  const from = origin(layer, inputs, at);
  if (from === "padding") return `padding: ${format(layer.value ?? 0)}`;
  if (!from) return null;
  const { which, index } = from, value = format(numberAt(inputs[which], index)), of = `of ${names[which]}: ${value}`;
  if (index.length !== 3) return `number ${index.join(", ")} ${of}`;
  const [row, column, channel] = index, spot = `row ${row}, column ${column}`;
  if (layer.kind === "concatenate" && (layer.axis ?? 2) === 2) return `channel ${channel} ${of}`;
  const same = layer.shape.length === 3 && channel === alongAxes(layer.shape, at)[2];
  return same ? `${spot} ${of}` : `channel ${channel} at ${spot} ${of}`;
}

/** The mean of neighbours that an enlarged or reduced map has at a spot.
 * @type {(layer: Layer, x: Tensor, name: string, spot: Spot) => string[]} */
function resized(layer, x, name, { row, column, channel }) {
  const [up, low, v] = sources(x.shape[0], layer.shape[0], layer.how)[row];
  const [near, far, u] = sources(x.shape[1], layer.shape[1], layer.how)[column];
  /** @type {(y: number, z: number) => number} */
  const number = (y, z) => numberAt(x, [y, z, channel]);
  if (layer.how === "nearest") return [`row ${up}, column ${near} of ${name}: ${format(number(up, near))}`];
  /** @type {(first: number, second: number, share: number) => string} */
  const mixed = (first, second, share) => `${format(1 - share)} · ${format(first)} + ${format(share)} · ${format(second)}`;
  const across = [up, low].map((y) => {
    const first = number(y, near), second = number(y, far), sum = between(first, second, u);
    const line = `row ${y}, columns ${near} and ${far} of ${name}: ${mixed(first, second, u)} = ${format(sum)}`;
    return { sum, line };
  });
  const [above, below] = across.map(({ sum }) => sum);
  return [...across.map(({ line }) => line), `${mixed(above, below, v)} = ${format(between(above, below, v))}`];
}

/** @type {(layer: Layer, x: Tensor, weights: Weights, state: Spot & { inner: number }) => Explanation & { before: number }} */
function convolved(layer, x, weights, { row, column, channel, inner }) {
  const found = arithmetic(layer, x, /** @type {any} */ (weights), row, column, channel), lines = [];
  const chosen = found.parts[clamp(inner, 0, found.parts.length - 1)];
  const order = found.parts.map(({ channel: from, sum }, at) => ({ channel: from, sum, inner: at }))
    .sort((one, two) => Math.abs(two.sum) - Math.abs(one.sum));
  lines.push(`input channel ${chosen.channel}: window · kernel = ${format(chosen.sum)}`);
  if (found.parts.length > 1) lines.push(`all ${found.parts.length} input channels: ${format(found.sum - found.bias)}`);
  if (weights.bias) lines.push(`+ bias ${format(found.bias)} = ${format(found.sum)}`);
  const parts = [{ ...chosen, rows: found.rows, columns: found.columns }];
  return { value: found.sum, before: found.sum, lines, parts, most: found.parts.length > FEW ? order.slice(0, FEW) : [] };
}

/** The sum behind a number of a dense layer; on a map, of the channels at its spot.
 * @type {(x: Tensor, weights: Weights, at: number) => { lines: string[], before: number }} */
function weighed(x, { kernel, bias }, at) {
  const [many, units] = kernel.shape, unit = at % units, first = Math.floor(at / units) * many, lines = [];
  const products = Array.from({ length: many }, (_, i) => ({ i, each: x.data[first + i], weight: kernel.data[i * units + unit] }));
  const sum = products.reduce((total, { each, weight }) => total + each * weight, 0);
  products.sort((one, two) => Math.abs(two.each * two.weight) - Math.abs(one.each * one.weight));
  for (const { i, each, weight } of products.slice(0, FEW)) {
    lines.push(`input ${i}: ${format(each)} · ${format(weight)} = ${format(each * weight)}`);
  }
  lines.push(`all ${many} inputs: ${format(sum)}`);
  const before = sum + (bias ? bias.data[unit] : 0);
  if (bias) lines.push(`+ bias ${format(bias.data[unit])} = ${format(before)}`);
  return { lines, before };
}

/** @type {(layer: Layer, inputs: Tensor[], weights: Weights, at: number) => string} */
function joined(layer, inputs, weights, at) {
  const index = alongAxes(layer.shape, at);
  /** @type {{ input?: number, value?: number, weight?: string }[]} */
  const operands = layer.operands ?? inputs.map((_, input) => ({ input }));
  const each = operands.map(({ input, value, weight }) => value !== undefined ? value
    : numberAt(weight === undefined ? inputs[/** @type {number} */ (input)] : weights[weight], index));
  return `${layer.how} of ${each.map(format).join(" and ")}`;
}

/** @type {(how: string) => string} */
const wordFor = (how) => ({ max: "largest", min: "smallest", average: "mean", prod: "product", var: "variance", std: "standard deviation" }[how] ?? how);

/** What a number of a layer is made of, in lines of text, and a table for a convolution.
 * @type {(network: import("./network.js").Network, state: import("./types.d.ts").State, outputs: (Tensor | null)[]) => Explanation} */
export function explain(network, state, outputs) {
  const { place, row, column, channel } = state, layer = network.layers[place], out = /** @type {Tensor} */ (outputs[place]);
  const at = indexOf(out, state), value = out.data[at], shown = format(value);
  const inputs = layer.inputs.map((from) => /** @type {Tensor} */ (outputs[from])), [x] = inputs;
  const names = layer.inputs.map((from) => network.layers[from].name);
  const weights = /** @type {Weights} */ (network.weights(place, state.epoch));
  /** @type {{ lines: string[], parts?: Part[], most?: Explanation["most"], before?: number }} */
  let found;
  if (layer.kind === "input") found = { lines: [`the image's number, as the network takes it: ${shown}`] };
  else if (layer.kind === "conv") found = convolved(layer, x, weights, state);
  else if (layer.kind === "dense") found = weighed(x, weights, at);
  else if (layer.kind === "norm") {
    const { mean, variance, gamma, beta } = weights, c = at % mean.data.length;
    found = { lines: [
      `(${format(x.data[at])} − mean ${format(mean.data[c])}) / √(variance ${format(variance.data[c])} + ${layer.epsilon})`,
      `· γ ${format(gamma ? gamma.data[c] : 1)} + β ${format(beta ? beta.data[c] : 0)} = ${shown}`] };
  } else if (layer.kind === "pool" && layer.shape.length === 3) {
    const g = geometry(layer, x.shape, layer.size), window = windowOf(g, x, row, column, channel);
    const parts = [{ channel, window, kernel: null, rows: g.height, columns: g.width }];
    found = { lines: [`${wordFor(layer.how)} of the window: ${shown}`], parts };
  } else if (layer.kind === "global_pool") found = { lines: [`${wordFor(layer.how)} of channel ${channel} of ${names[0]}: ${shown}`] };
  else if (layer.kind === "reduce") {
    const axes = x.shape.length === 3 ? layer.axes.map((/** @type {number} */ axis) => AXES[axis]).join(" and ") : `axes ${layer.axes}`;
    found = { lines: [`${wordFor(layer.how)} of ${names[0]} over ${axes}: ${shown}`] };
  } else if (layer.kind === "scale") {
    const factor = layer.factor[at % layer.factor.length], offset = layer.offset[at % layer.offset.length];
    found = { lines: [`${format(x.data[at])} · ${format(factor)} + ${format(offset)} = ${shown}`] };
  } else if (layer.kind === "join") found = { lines: [`${joined(layer, inputs, weights, at)} = ${shown}`] };
  else if (layer.kind === "activation") found = { lines: [], before: x.data[at] };
  else if (layer.kind === "resize" && ["nearest", "bilinear"].includes(layer.how)) found = { lines: resized(layer, x, names[0], state) };
  else found = { lines: [moved(layer, inputs, names, at) ?? `${layer.type ?? layer.kind} of ${names.join(" and ")}: ${shown}`] };
  if ((layer.activation ?? "linear") !== "linear") {
    const name = layer.activation === "general_relu" ? "relu" : layer.activation;
    if (found.before !== undefined) found.lines.push(`${name}(${format(found.before)}) = ${shown}`);
    else found.lines.push(`after the activation ${name}: ${shown}`);
  }
  return { value, lines: found.lines, parts: found.parts ?? [], most: found.most ?? [] };
}

/** What becomes of a layer's number in the batch norm and the activation after it, a line each.
 * @type {(network: import("./network.js").Network, state: import("./types.d.ts").State, outputs: (Tensor | null)[]) => string[]} */
export function explainNext(network, state, outputs) {
  const at = indexOf(/** @type {Tensor} */ (outputs[state.place]), state);
  return following(network.layers, state.place).flatMap((place) => {
    const out = outputs[place];
    return out ? [`then ${network.layers[place].name}: ${format(out.data[at])}`] : [];
  });
}
