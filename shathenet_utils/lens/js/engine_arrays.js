// Operations on arrays of any rank: joined with broadcasting, moved, cut, reduced, normalised.

/** @typedef {import("./types.d.ts").Layer} Layer */
/** @typedef {import("./types.d.ts").Tensor} Tensor */
/** @typedef {import("./types.d.ts").Weights} Weights */

/** @param {number[]} shape */
export const size = (shape) => shape.reduce((product, side) => product * side, 1);

/** How far apart an array's neighbours along each axis lie, in the order of a result's axes: the last ones of the result
 *  are the array's, and along a side of one, or a missing one, the same number is read again, as NumPy broadcasts.
 *  @param {number[]} shape @param {number} rank */
export function stridesIn(shape, rank) {
  const strides = Array(rank).fill(0);
  for (let axis = shape.length - 1, stride = 1; axis >= 0; stride *= shape[axis--]) {
    if (shape[axis] !== 1) strides[axis + rank - shape.length] = stride;
  }
  return strides;
}

/** Go through all numbers of a shape in order: visit(which, places), places being those that some strides lead to.
 *  @param {number[]} shape @param {number[][]} strides @param {(which: number, at: number[]) => void} visit */
export function walk(shape, strides, visit) {
  const index = shape.map(() => 0), at = strides.map(() => 0), many = size(shape);
  for (let which = 0; which < many; which++) {
    visit(which, at);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const back = ++index[axis] === shape[axis];
      for (let k = 0; k < at.length; k++) at[k] += strides[k][axis] * (back ? 1 - shape[axis] : 1);
      if (!back) break;
      index[axis] = 0;
    }
  }
}

/** @type {Record<string, (values: number[]) => number>} */
const JOINS = {
  add: (values) => values.reduce((sum, value) => sum + value, 0),
  subtract: ([first, second]) => first - second,
  multiply: (values) => values.reduce((product, value) => product * value, 1),
  divide: ([first, second]) => first / second,
  divide_no_nan: ([first, second]) => (second === 0 ? 0 : first / second),
  average: (values) => values.reduce((sum, value) => sum + value, 0) / values.length,
  maximum: (values) => Math.max(...values),
  minimum: (values) => Math.min(...values),
  power: ([first, second]) => first ** second,
  mod: ([first, second]) => first - second * Math.floor(first / second),
  floor_divide: ([first, second]) => Math.floor(first / second),
  hypot: ([first, second]) => Math.hypot(first, second),
  arctan2: ([first, second]) => Math.atan2(first, second),
  logaddexp: ([first, second]) => Math.max(first, second) + Math.log1p(Math.exp(-Math.abs(first - second))),
  greater: ([first, second]) => Number(first > second),
  greater_equal: ([first, second]) => Number(first >= second),
  less: ([first, second]) => Number(first < second),
  less_equal: ([first, second]) => Number(first <= second),
  equal: ([first, second]) => Number(first === second),
  not_equal: ([first, second]) => Number(first !== second),
  where: ([condition, first, second]) => (condition ? first : second),
};

/** A step's operands as arrays: inputs, weights, and numbers.
 *  @param {Layer} layer @param {Tensor[]} inputs @param {Weights} weights @returns {Tensor[]} */
export function operandsOf(layer, inputs, weights) {
  if (!layer.operands) return inputs;
  return layer.operands.map((/** @type {{ input?: number, weight?: string, value: number }} */ { input, weight, value }) =>
    input !== undefined ? inputs[input] : weight !== undefined ? weights[weight] : { shape: [], data: Float32Array.of(value) });
}

/** Several arrays joined number by number.
 *  @param {Layer} layer @param {Tensor[]} inputs @param {Weights} weights */
export function join(layer, inputs, weights) {
  const how = JOINS[layer.how], operands = operandsOf(layer, inputs, weights), out = new Float32Array(size(layer.shape));
  const values = operands.map(() => 0), rank = layer.shape.length;
  walk(layer.shape, operands.map(({ shape }) => stridesIn(shape, rank)), (which, at) => {
    for (let k = 0; k < values.length; k++) values[k] = operands[k].data[at[k]];
    out[which] = how(values);
  });
  return out;
}

/** An array times, or as the slope of, another, number by number.
 *  @param {Tensor} x @param {Tensor} alpha */
export function prelu(x, alpha) {
  const out = new Float32Array(x.data.length), rank = x.shape.length;
  walk(x.shape, [stridesIn(alpha.shape, rank)], (which, [at]) => {
    const value = x.data[which];
    out[which] = value < 0 ? alpha.data[at] * value : value;
  });
  return out;
}

/** Arrays one after another along an axis, the last unless it is named.
 *  @param {Layer} layer @param {Tensor[]} inputs */
export function concatenate(layer, inputs) {
  const out = new Float32Array(size(layer.shape));
  const before = size(layer.shape.slice(0, layer.axis ?? layer.shape.length - 1)), whole = out.length / before;
  let first = 0;
  for (const { data } of inputs) {
    const many = data.length / before;
    for (let place = 0; place < before; place++) {
      out.set(data.subarray(place * many, (place + 1) * many), place * whole + first);
    }
    first += many;
  }
  return out;
}

/** The axes in another order.
 *  @param {Layer} layer @param {Tensor[]} inputs */
export function transpose(layer, [x]) {
  const strides = stridesIn(x.shape, x.shape.length), out = new Float32Array(x.data.length);
  walk(layer.shape, [layer.order.map((/** @type {number} */ axis) => strides[axis])], (which, [at]) => { out[which] = x.data[at]; });
  return out;
}

/** Along each axis the places that are named, or all.
 *  @param {Layer} layer @param {Tensor[]} inputs */
export function take(layer, [x]) {
  const last = x.shape.length - 1, strides = stridesIn(x.shape, x.shape.length);
  const places = x.shape.map((side, axis) => layer.indices[axis] ?? Array.from({ length: side }, (_, place) => place));
  const outer = places.slice(0, last).map(({ length }) => length), each = places[last];
  const out = new Float32Array(size(layer.shape));
  for (let which = 0, to = 0; which < size(outer); which++) {
    let from = 0;
    for (let axis = last - 1, rest = which; axis >= 0; rest = Math.floor(rest / outer[axis--])) {
      from += places[axis][rest % outer[axis]] * strides[axis];
    }
    for (const place of each) out[to++] = x.data[from + place * strides[last]];
  }
  return out;
}

/** How many numbers a layer puts before an array's first one along each axis; below zero where it takes them away.
 *  @param {Layer} layer @returns {number[]} */
export const framing = ({ padding, cropping }) =>
  padding ? padding.map((/** @type {number[]} */ [side]) => side) : cropping.map((/** @type {number[]} */ [side]) => -side);

/** An array moved into a larger or smaller frame, a number around, zero unless it is named.
 *  @param {Layer} layer @param {Tensor[]} inputs */
export function framed(layer, [x]) {
  const out = new Float32Array(size(layer.shape)).fill(layer.value ?? 0), rank = x.shape.length;
  const around = framing(layer), first = x.shape.map((_, axis) => around[axis] ?? 0), last = rank - 1;
  const [from, to] = [Math.max(0, -first[last]), Math.min(x.shape[last], layer.shape[last] - first[last])];
  const strides = stridesIn(layer.shape, rank), outer = x.shape.slice(0, last);
  for (let which = 0; which < size(outer); which++) {
    let at = first[last], rest = which, inside = to > from;
    for (let axis = last - 1; axis >= 0 && inside; axis--) {
      const place = (rest % outer[axis]) + first[axis];
      rest = Math.floor(rest / outer[axis]);
      inside = place >= 0 && place < layer.shape[axis];
      at += place * strides[axis];
    }
    if (inside) out.set(x.data.subarray(which * x.shape[last] + from, which * x.shape[last] + to), at + from);
  }
  return out;
}

/** Products of operands, summed over the letters that the result lacks: "ij,jk->ik".
 *  @param {Layer} layer @param {Tensor[]} inputs @param {Weights} weights */
export function einsum(layer, inputs, weights) {
  const operands = operandsOf(layer, inputs, weights), [terms, result] = layer.equation.split("->");
  /** @type {string[]} */
  const each = terms.split(","), letters = [...new Set([...result, ...each.join("")])];
  /** @type {Record<string, number>} */
  const sides = {};
  each.forEach((term, k) => [...term].forEach((letter, axis) => { sides[letter] = operands[k].shape[axis]; }));
  const shape = letters.map((letter) => sides[letter]), sums = new Float64Array(size(layer.shape));
  const strides = [...each, result].map((term, k) => {
    const own = stridesIn(k < each.length ? operands[k].shape : layer.shape, term.length);
    return letters.map((letter) => [...term].reduce((sum, one, axis) => sum + (one === letter ? own[axis] : 0), 0));
  });
  walk(shape, strides, (_, at) => {
    let product = 1;
    for (let k = 0; k < operands.length; k++) product *= operands[k].data[at[k]];
    sums[at[operands.length]] += product;
  });
  return Float32Array.from(sums);
}

/** Where each number of an array lies in one whose axes are gone: strides, and how many numbers that has.
 *  @param {number[]} shape @param {number[]} axes */
function without(shape, axes) {
  const kept = shape.map((side, axis) => (axes.includes(axis) ? 1 : side));
  return { strides: stridesIn(kept, shape.length), many: size(kept) };
}

/** The sum of some function of the numbers over some axes, in double precision.
 *  @param {Tensor} x @param {number[]} axes @param {(value: number, at: number) => number} of */
function sumOver({ shape, data }, axes, of) {
  const { strides, many } = without(shape, axes), sums = new Float64Array(many);
  walk(shape, [strides], (which, [at]) => { sums[at] += of(data[which], at); });
  return sums;
}

/** The largest number over some axes; NaN where there is one.
 *  @param {Tensor} x @param {number[]} axes */
function largestOver({ shape, data }, axes) {
  const { strides, many } = without(shape, axes), found = new Float64Array(many).fill(-Infinity);
  walk(shape, [strides], (which, [at]) => {
    const value = data[which];
    if (value > found[at] || value !== value) found[at] = value;
  });
  return found;
}

/** Mean and variance over some axes. @param {Tensor} x @param {number[]} axes */
function momentsOver(x, axes) {
  const many = size(axes.map((axis) => x.shape[axis]));
  const mean = sumOver(x, axes, (value) => value).map((sum) => sum / many);
  return { many, mean, variance: sumOver(x, axes, (value, at) => (value - mean[at]) ** 2).map((sum) => sum / many) };
}

/** @type {Record<string, (x: Tensor, axes: number[]) => Float64Array>} */
const REDUCTIONS = {
  sum: (x, axes) => sumOver(x, axes, (value) => value),
  mean: (x, axes) => momentsOver(x, axes).mean,
  var: (x, axes) => momentsOver(x, axes).variance,
  std: (x, axes) => momentsOver(x, axes).variance.map(Math.sqrt),
  norm: (x, axes) => sumOver(x, axes, (value) => value * value).map(Math.sqrt),
  max: largestOver,
  min: (x, axes) => largestOver({ shape: x.shape, data: x.data.map((value) => -value) }, axes).map((value) => -value),
  prod: ({ shape, data }, axes) => {
    const { strides, many } = without(shape, axes), products = new Float64Array(many).fill(1);
    walk(shape, [strides], (which, [at]) => { products[at] *= data[which]; });
    return products;
  },
  logsumexp: (x, axes) => {
    const most = largestOver(x, axes);
    return sumOver(x, axes, (value, at) => Math.exp(value - most[at])).map((sum, at) => Math.log(sum) + most[at]);
  },
};

/** @param {Layer} layer @param {Tensor[]} inputs */
export const reduce = (layer, [x]) => Float32Array.from(REDUCTIONS[layer.how](x, layer.axes));

/** Softmax over some axes, or its logarithm. @param {Tensor} x @param {number[]} axes @param {boolean} log */
export function softmaxOver(x, axes, log) {
  const most = largestOver(x, axes), out = new Float32Array(x.data.length), { strides } = without(x.shape, axes);
  const sums = sumOver(x, axes, (value, at) => Math.exp(value - most[at]));
  walk(x.shape, [strides], (which, [at]) => {
    const value = x.data[which] - most[at];
    out[which] = log ? value - Math.log(sums[at]) : Math.exp(value) / sums[at];
  });
  return out;
}

/** Layer, group, RMS and unit normalisation: numbers less their mean, by their spread, times gamma, plus beta.
 *  @param {Layer} layer @param {Tensor[]} inputs @param {Weights} weights */
export function standardise(layer, [{ shape, data }], { gamma, beta }) {
  const groups = layer.groups, channels = shape[shape.length - 1];
  const view = { shape: groups ? [...shape.slice(0, -1), groups, channels / groups] : shape, data };
  const axes = layer.axes, how = layer.how, { strides } = without(view.shape, axes), epsilon = layer.epsilon;
  const { many, mean, variance } = momentsOver(view, axes), centred = how === "standard";
  const squares = how === "rms" || how === "unit" ? sumOver(view, axes, (value) => value * value) : null;
  const factor = variance.map((spread, at) =>
    how === "unit" ? Math.min(1 / Math.sqrt(/** @type {Float64Array} */ (squares)[at]), 1 / epsilon)
      : 1 / Math.sqrt((squares ? squares[at] / many : spread) + epsilon));
  const out = new Float64Array(data.length);
  walk(view.shape, [strides], (which, [at]) => { out[which] = (data[which] - (centred ? mean[at] : 0)) * factor[at]; });
  const rank = shape.length, zero = { shape: [], data: new Float32Array(1) }, one = { shape: [], data: Float32Array.of(1) };
  const [times, plus] = [gamma ?? one, beta ?? zero];
  walk(shape, [stridesIn(times.shape, rank), stridesIn(plus.shape, rank)], (which, [by, add]) => {
    out[which] = out[which] * times.data[by] + plus.data[add];
  });
  return Float32Array.from(out);
}
