// The arithmetic behind a number, in words.

import { format } from "./draw.js";
import { between, geometry, sources } from "./engine.js";
import { framing } from "./engine_arrays.js";
import { arithmetic, clamp, windowOf } from "./field.js";
import { following } from "./filters.js";

const FEW = 3;  // the largest parts of a sum that are shown

/** Where in a map the number is that the state points at. */
const indexOf = ({ shape }, { row, column, channel }) =>
  shape.length === 3 ? (row * shape[1] + column) * shape[2] + channel : channel;

/** A map's number where the state points; a side of one is repeated. */
function numberAt(x, { row, column, channel }) {
  const [down, right, inner] = [row, column, channel].map((at, side) => (x.shape.at(side - 3) === 1 ? 0 : at));
  return x.data[indexOf(x, { row: down, column: right, channel: inner })];
}

/** Where a layer that moves numbers, or mixes neighbours, has the state's from, in lines of text; null of other layers. */
function origin(layer, inputs, names, { row, column, channel }) {
  const [x] = inputs, number = (place) => format(numberAt(x, place));
  const at = (place) => `row ${place.row}, column ${place.column} of ${names[0]}: ${number(place)}`;
  if (layer.kind === "concatenate") {
    let which = 0, inner = channel;
    for (; inner >= inputs[which].shape.at(-1); which++) inner -= inputs[which].shape.at(-1);
    return [`channel ${inner} of ${names[which]}: ${format(numberAt(inputs[which], { row, column, channel: inner }))}`];
  }
  if (layer.kind === "flatten" && x.shape.length === 3) {
    const [, width, channels] = x.shape, place = Math.floor(channel / channels), inner = channel % channels;
    const from = { row: Math.floor(place / width), column: place % width, channel: inner };
    return [`channel ${inner} at ${at(from)}`];
  }
  if (layer.kind === "pad" || layer.kind === "crop") {
    const [rows, columns] = framing(layer), [height, width] = x.shape;
    const from = { row: row - rows, column: column - columns, channel };
    const inside = from.row >= 0 && from.row < height && from.column >= 0 && from.column < width;
    return [inside ? at(from) : `padding: ${format(0)}`];
  }
  if (layer.kind !== "resize") return null;
  const [up, low, v] = sources(x.shape[0], layer.shape[0], layer.how)[row];
  const [near, far, u] = sources(x.shape[1], layer.shape[1], layer.how)[column];
  if (layer.how === "nearest") return [at({ row: up, column: near, channel })];
  const mixed = (first, second, share) => `${format(1 - share)} · ${format(first)} + ${format(share)} · ${format(second)}`;
  const across = [up, low].map((y) => {
    const [first, second] = [near, far].map((z) => numberAt(x, { row: y, column: z, channel }));
    const sum = between(first, second, u);
    return { sum, line: `row ${y}, columns ${near} and ${far} of ${names[0]}: ${mixed(first, second, u)} = ${format(sum)}` };
  });
  const [above, below] = across.map(({ sum }) => sum);
  return [...across.map(({ line }) => line), `${mixed(above, below, v)} = ${format(between(above, below, v))}`];
}

/** What a number of a layer is made of, in lines of text, and a table for a convolution. */
export function explain(network, state, outputs) {
  const { place, row, column, channel } = state, layer = network.layers[place], out = outputs[place];
  const at = indexOf(out, state);
  const value = out.data[at], inputs = layer.inputs.map((from) => outputs[from]), lines = [];
  const weights = network.weights(place, state.epoch), x = inputs[0], parts = [];
  let before = null, most = [];
  if (layer.kind === "conv") {
    const found = arithmetic(layer, x, weights, row, column, channel);
    if (found.parts.length > FEW) {
      most = found.parts.map(({ channel: from, sum }, inner) => ({ channel: from, sum, inner }))
        .sort((one, two) => Math.abs(two.sum) - Math.abs(one.sum)).slice(0, FEW);
    }
    const chosen = found.parts[clamp(state.inner, 0, found.parts.length - 1)];
    parts.push({ ...chosen, rows: found.rows, columns: found.columns });
    lines.push(`input channel ${chosen.channel}: window · kernel = ${format(chosen.sum)}`);
    if (found.parts.length > 1) lines.push(`all ${found.parts.length} input channels: ${format(found.sum - found.bias)}`);
    if (weights.bias) lines.push(`+ bias ${format(found.bias)} = ${format(found.sum)}`);
    before = found.sum;
  } else if (layer.kind === "dense") {
    const units = weights.kernel.shape[1];
    const products = Array.from(x.data, (each, i) => ({ i, each, weight: weights.kernel.data[i * units + channel] }));
    const sum = products.reduce((total, { each, weight }) => total + each * weight, 0);
    const bias = weights.bias ? weights.bias.data[channel] : 0;
    products.sort((one, two) => Math.abs(two.each * two.weight) - Math.abs(one.each * one.weight));
    for (const { i, each, weight } of products.slice(0, FEW)) {
      lines.push(`input ${i}: ${format(each)} · ${format(weight)} = ${format(each * weight)}`);
    }
    lines.push(`all ${products.length} inputs: ${format(sum)}`);
    if (weights.bias) lines.push(`+ bias ${format(bias)} = ${format(sum + bias)}`);
    before = sum + bias;
  } else if (layer.kind === "norm") {
    const mean = weights.mean.data[channel], variance = weights.variance.data[channel];
    const gamma = weights.gamma ? weights.gamma.data[channel] : 1, beta = weights.beta ? weights.beta.data[channel] : 0;
    lines.push(`(${format(x.data[at])} − mean ${format(mean)}) / √(variance ${format(variance)} + ${layer.epsilon})`);
    lines.push(`· γ ${format(gamma)} + β ${format(beta)} = ${format(value)}`);
  } else if (layer.kind === "pool") {
    const g = geometry(layer, x.shape, layer.size), window = windowOf(g, x, row, column, channel);
    parts.push({ channel, window, kernel: null, rows: g.height, columns: g.width });
    lines.push(`${layer.how === "max" ? "largest" : "mean"} of the window: ${format(value)}`);
  } else if (layer.kind === "global_pool") {
    lines.push(`${layer.how === "max" ? "largest" : "mean"} of channel ${channel}: ${format(value)}`);
  } else if (layer.kind === "scale") {
    const factor = layer.factor[channel % layer.factor.length], offset = layer.offset[channel % layer.offset.length];
    lines.push(`${format(x.data[at])} · ${format(factor)} + ${format(offset)} = ${format(value)}`);
  } else if (layer.kind === "join") {
    const each = inputs.map((input) => format(numberAt(input, state)));
    lines.push(`${layer.how} of ${each.join(" and ")} = ${format(value)}`);
  } else if (layer.kind === "activation") {
    before = x.data[at];
  } else {
    const names = layer.inputs.map((from) => network.layers[from].name);
    lines.push(...(origin(layer, inputs, names, state) ?? [`${layer.kind}: ${format(value)}`]));
  }
  if (before !== null && (layer.activation ?? "linear") !== "linear") {
    const name = layer.activation === "general_relu" ? "relu" : layer.activation;
    lines.push(`${name}(${format(before)}) = ${format(value)}`);
  }
  return { value, lines, parts, most };
}

/** What becomes of a convolution's number in the batch norm and the activation after it, a line each. */
export function explainNext(network, state, outputs) {
  const at = indexOf(outputs[state.place], state);
  return following(network.layers, state.place).filter((place) => outputs[place]).map((place) =>
    `then ${network.layers[place].name}: ${format(outputs[place].data[at])}`);
}
