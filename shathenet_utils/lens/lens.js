// Built from js/ by `make lens-script`: change the modules there, not this file.

function workerModules() {
// Numbers as payload.py's `encode` writes them.

/** @typedef {import("./types.d.ts").Encoded} Encoded */

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
const DIGITS = new Uint8Array(128);
for (let digit = 0; digit < 85; digit++) DIGITS[LETTERS.charCodeAt(digit)] = digit;

/** Bytes of a text in base 85, as payload.py's `encode` writes it.
 * @param {string} text */
function bytesOf(text) {
  const many = Math.floor((text.length * 4) / 5), bytes = new Uint8Array(many + 4);
  for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
    let word = 0;
    for (let at = from; at < from + 5; at++) word = word * 85 + (at < text.length ? DIGITS[text.charCodeAt(at)] : 84);
    bytes.set([word / 2 ** 24, word >>> 16, word >>> 8, word], to);
  }
  return bytes.slice(0, many);
}

/** The bytes of an array of dtype "u1".
 * @param {Encoded} encoded */
const decodeBytes = ({ data }) => bytesOf(data);

/** The numbers of an array that payload.py's `encode` wrote. One of dtype "i1" has a scale per filter, or, where `scale`
 *  has as many as the epochs have filters, per epoch and filter.
 * @param {Encoded} encoded
 * @returns {Float32Array} */
function decode({ dtype, data, scale, shape }) {
  const bytes = bytesOf(data);
  if (dtype === "u1") return Float32Array.from(bytes);
  if (dtype === "i1") {
    const scales = decode(/** @type {Encoded} */ (scale)), filters = /** @type {number} */ (shape.at(-1));
    const each = bytes.length / (scales.length / filters);
    return Float32Array.from(new Int8Array(bytes.buffer),
      (number, at) => number * scales[Math.floor(at / each) * filters + (at % filters)]);
  }
  const view = new DataView(bytes.buffer), numbers = new Float32Array(bytes.length / (dtype === "f4" ? 4 : 2));
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = dtype === "f4" ? view.getFloat32(4 * i, true) : half(view.getUint16(2 * i, true));
  }
  return numbers;
}

/** A number of 16 bits.
 * @param {number} bits */
function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// Filters: their norms, which are alike, what they respond to, and kernels to try.

/** @typedef {import("./types.d.ts").Layer} Layer
 *  @typedef {import("./types.d.ts").Strongest} Strongest
 *  @typedef {import("./types.d.ts").Tensor} Tensor
 *  @typedef {{ filter: number, numbers: Float32Array, norm: number }} Filter */

const ALIKE = 0.95;

/** The first filters of a convolution: for each its numbers, by row, column and input channel, and their norm.
 * @param {Tensor} kernel
 * @returns {Filter[]} */
function filtersOf({ shape: [rows, columns, inner, filters], data }) {
  return Array.from({ length: filters }, (_, filter) => {
    const numbers = Float32Array.from({ length: rows * columns * inner }, (_, at) => data[at * filters + filter]);
    return { filter, numbers, norm: normOf(numbers) };
  });
}

/** @param {Float32Array} numbers */
const normOf = (numbers) => Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0));

/** @param {Filter} one
 *  @param {Filter} two */
function cosine(one, two) {
  let sum = 0;
  for (let at = 0; at < one.numbers.length; at++) sum += one.numbers[at] * two.numbers[at];
  return sum / (one.norm * two.norm || 1);
}

/** How many pairs of filters point the same way, nearly.
 * @param {Filter[]} filters */
function nearTwins(filters) {
  let found = 0;
  for (let one = 0; one < filters.length; one++) {
    for (let two = 0; two < one; two++) found += Number(cosine(filters[one], filters[two]) > ALIKE);
  }
  return found;
}

/** Kernels to try, for any side: how much the pixel at (a, b) of `rows` × `columns` counts; old: what it counted.
 * @type {Record<string, (a: number, b: number, rows: number, columns: number, old: number) => number>} */
const PRESETS = {
  zero: () => 0,
  negative: (a, b, rows, columns, old) => -old,
  identity: (a, b, rows, columns) => Number(a === Math.floor(rows / 2) && b === Math.floor(columns / 2)),
  blur: (a, b, rows, columns) => 1 / (rows * columns),
  "Sobel, upright": (a, b, rows, columns) => Math.sign(b - (columns - 1) / 2) * (1 + Number(2 * a === rows - 1)) / rows,
  "Sobel, level": (a, b, rows, columns) => Math.sign(a - (rows - 1) / 2) * (1 + Number(2 * b === columns - 1)) / columns,
};

/** The batch norm and the activation that a layer's numbers go through next, where nothing else uses them.
 * @param {Layer[]} layers
 * @param {number} place
 * @returns {number[]} */
function following(layers, place) {
  const users = layers.flatMap((layer, at) => (layer.inputs.includes(place) ? [at] : [])), [next] = users;
  if (users.length !== 1 || !["norm", "activation"].includes(layers[next].kind)) return [];
  return [next, ...following(layers, next)];
}

/** The largest number of every channel of a map, and where it is, the first of equal ones; of a channel that is NaN,
 *  NaN.
 * @param {Tensor} map
 * @returns {Strongest[]} */
function strongest({ data, shape: [, width, channels] }) {
  const found = Array.from({ length: channels }, () => ({ most: NaN, row: 0, column: 0 }));
  data.forEach((value, at) => {
    const place = Math.floor(at / channels);
    if (!(value <= found[at % channels].most)) {
      found[at % channels] = { most: value, row: Math.floor(place / width), column: place % width };
    }
  });
  return found;
}

/** The spot of a map of shape `to` that lies where another does in one of shape `from`; where one is no map, the first.
 * @type {(spot: { row: number, column: number }, from: number[], to: number[]) => { row: number, column: number }} */
function sameSpot({ row, column }, from, to) {
  const maps = from.length === 3 && to.length === 3;
  const [down, right] = [row, column].map((at, side) => (maps ? Math.floor(((at + 0.5) / from[side]) * to[side]) : 0));
  return { row: down, column: right };
}

// Activations, by Keras's names.

/** The error function, to some 1e-15: a series near zero, a continued fraction beyond.
 * @param {number} x */
function erf(x) {
  const t = Math.abs(x);
  let value;
  if (t < 2.5) {
    let term = t, sum = t;
    for (let n = 1; n < 60; n++) {
      term *= (-t * t) / n;
      sum += term / (2 * n + 1);
    }
    value = (2 / Math.sqrt(Math.PI)) * sum;
  } else {
    let rest = 0;
    for (let n = 60; n > 0; n--) rest = n / 2 / (t + rest);
    value = 1 - Math.exp(-t * t) / Math.sqrt(Math.PI) / (t + rest);
  }
  return x < 0 ? -value : value;
}

/** @type {(x: number) => number} */
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
/** @type {(x: number) => number} */
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
/** @type {(x: number, low: number, high: number) => number} */
const clip = (x, low, high) => Math.min(Math.max(x, low), high);

/** Functions of one number, by Keras's names, and their parameters; softmax, of all channels, is apart.
 * @type {Record<string, (x: number, ...parameters: any[]) => number>} */
const ACTIVATIONS = {
  linear: (x) => x,
  relu: (x) => (x > 0 ? x : x === x ? 0 : x),
  relu6: (x) => clip(x, 0, 6),
  leaky_relu: (x, slope = 0.2) => (x >= 0 ? x : slope * x),
  elu: (x, alpha = 1) => (x > 0 ? x : alpha * Math.expm1(x)),
  selu: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  celu: (x, alpha = 1) => Math.max(x, 0) + Math.min(alpha * Math.expm1(x / alpha), 0),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x * sigmoid(x),
  sigmoid,
  tanh: Math.tanh,
  softplus,
  softsign: (x) => x / (1 + Math.abs(x)),
  exponential: Math.exp,
  hard_sigmoid: (x) => clip(x + 3, 0, 6) / 6,
  hard_silu: (x) => (x * clip(x + 3, 0, 6)) / 6,
  hard_tanh: (x) => clip(x, -1, 1),
  hard_shrink: (x, threshold = 0.5) => (Math.abs(x) > threshold ? x : 0),
  soft_shrink: (x, threshold = 0.5) => (x > threshold ? x - threshold : x < -threshold ? x + threshold : 0),
  tanh_shrink: (x) => x - Math.tanh(x),
  log_sigmoid: (x) => -softplus(-x),
  mish: (x) => x * Math.tanh(softplus(x)),
  squareplus: (x, b = 4) => (x + Math.sqrt(x * x + b)) / 2,
  sparse_plus: (x) => (x <= -1 ? 0 : x >= 1 ? x : (x + 1) ** 2 / 4),
  sparse_sigmoid: (x) => clip((x + 1) / 2, 0, 1),
  threshold: (x, least, otherwise) => (x > least ? x : otherwise),
  clip,
  exp2: (x) => 2 ** x,
  expm1: Math.expm1,
  log: Math.log,
  log2: Math.log2,
  log10: Math.log10,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  cbrt: Math.cbrt,
  square: (x) => x * x,
  abs: Math.abs,
  negative: (x) => -x,
  reciprocal: (x) => 1 / x,
  sign: Math.sign,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  arctan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  arcsinh: Math.asinh,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  erf,
  logical_not: (x) => Number(!x),
};

/** The function of one number that a layer applies last; null for none, and for those that need more than one.
 * @param {import("./types.d.ts").Layer} layer
 * @returns {((x: number) => number) | null} */
function activationOf(layer) {
  const name = layer.activation ?? "linear", parameters = layer.parameters ?? [];
  if (["linear", "softmax", "log_softmax", "prelu"].includes(name)) return null;
  if (name === "general_relu") {
    const { slope, threshold, largest } = layer;
    return (x) => (x >= threshold ? Math.min(x, largest ?? Infinity) : slope * (x - threshold));
  }
  const known = ACTIVATIONS[name];
  return parameters.length ? (x) => known(x, ...parameters) : (x) => known(x);
}

// Operations on arrays of any rank: joined with broadcasting, moved, cut, reduced, normalised.

/** @typedef {import("./types.d.ts").Layer} Layer */
/** @typedef {import("./types.d.ts").Tensor} Tensor */
/** @typedef {import("./types.d.ts").Weights} Weights */

/** @param {number[]} shape */
const size = (shape) => shape.reduce((product, side) => product * side, 1);

/** How far apart an array's neighbours along each axis lie, in the order of a result's axes: the last ones of the result
 *  are the array's, and along a side of one, or a missing one, the same number is read again, as NumPy broadcasts.
 *  @param {number[]} shape @param {number} rank */
function stridesIn(shape, rank) {
  const strides = Array(rank).fill(0);
  for (let axis = shape.length - 1, stride = 1; axis >= 0; stride *= shape[axis--]) {
    if (shape[axis] !== 1) strides[axis + rank - shape.length] = stride;
  }
  return strides;
}

/** Go through all numbers of a shape in order: visit(which, places), places being those that some strides lead to.
 *  @param {number[]} shape @param {number[][]} strides @param {(which: number, at: number[]) => void} visit */
function walk(shape, strides, visit) {
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
function operandsOf(layer, inputs, weights) {
  if (!layer.operands) return inputs;
  return layer.operands.map((/** @type {{ input?: number, weight?: string, value: number }} */ { input, weight, value }) =>
    input !== undefined ? inputs[input] : weight !== undefined ? weights[weight] : { shape: [], data: Float32Array.of(value) });
}

/** Several arrays joined number by number.
 *  @param {Layer} layer @param {Tensor[]} inputs @param {Weights} weights */
function join(layer, inputs, weights) {
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
function prelu(x, alpha) {
  const out = new Float32Array(x.data.length), rank = x.shape.length;
  walk(x.shape, [stridesIn(alpha.shape, rank)], (which, [at]) => {
    const value = x.data[which];
    out[which] = value < 0 ? alpha.data[at] * value : value;
  });
  return out;
}

/** Arrays one after another along an axis, the last unless it is named.
 *  @param {Layer} layer @param {Tensor[]} inputs */
function concatenate(layer, inputs) {
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
function transpose(layer, [x]) {
  const strides = stridesIn(x.shape, x.shape.length), out = new Float32Array(x.data.length);
  walk(layer.shape, [layer.order.map((/** @type {number} */ axis) => strides[axis])], (which, [at]) => { out[which] = x.data[at]; });
  return out;
}

/** Along each axis the places that are named, or all.
 *  @param {Layer} layer @param {Tensor[]} inputs */
function take(layer, [x]) {
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
const framing = ({ padding, cropping }) =>
  padding ? padding.map((/** @type {number[]} */ [side]) => side) : cropping.map((/** @type {number[]} */ [side]) => -side);

/** An array moved into a larger or smaller frame, a number around, zero unless it is named.
 *  @param {Layer} layer @param {Tensor[]} inputs */
function framed(layer, [x]) {
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
function einsum(layer, inputs, weights) {
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
const reduce = (layer, [x]) => Float32Array.from(REDUCTIONS[layer.how](x, layer.axes));

/** Softmax over some axes, or its logarithm. @param {Tensor} x @param {number[]} axes @param {boolean} log */
function softmaxOver(x, axes, log) {
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
function standardise(layer, [{ shape, data }], { gamma, beta }) {
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

// The inner loops that nearly all time goes into: a product of two matrices, blocked so that numbers stay in registers.

const FILTERS = 4, PIXELS = 3;  // of a block: twelve sums, as many as a processor has registers for

/** Some columns of a matrix of weights, `depth` rows of `all` each, in the order in which `multiply` reads them: four
 *  filters at a time, zeros where the last has fewer.
 * @param {Float32Array} weights
 * @param {number} depth
 * @param {number} filters how many columns
 * @param {number} all
 * @param {number} first
 * @returns {Float64Array} */
function blocksOf(weights, depth, filters, all = filters, first = 0) {
  const many = Math.ceil(filters / FILTERS), blocks = new Float64Array(many * depth * FILTERS);
  for (let block = 0, at = 0; block < many; block++) {
    for (let row = 0; row < depth; row++) {
      for (let f = block * FILTERS; f < (block + 1) * FILTERS; f++, at++) {
        if (f < filters) blocks[at] = weights[row * all + first + f];
      }
    }
  }
  return blocks;
}

/** Room for `many` rows of `depth` numbers each, as `multiply` reads them.
 * @param {number} many
 * @param {number} depth */
const roomFor = (many, depth) => new Float64Array((many + PIXELS - 1) * depth);

/** Write `many` × `filters` sums into `out`, from the place `at` on, one row `stride` after another: of each row of `x`,
 *  `depth` numbers, the product with every filter, and its bias. Sums are kept in double precision.
 * @param {Float64Array} x from `roomFor`
 * @param {number} many
 * @param {number} depth
 * @param {Float64Array} blocks from `blocksOf`
 * @param {number} filters
 * @param {Float32Array | undefined} bias
 * @param {Float32Array} out
 * @param {number} at
 * @param {number} stride */
function multiply(x, many, depth, blocks, filters, bias, out, at, stride = filters) {
  const sums = new Float64Array(PIXELS * FILTERS);
  for (let f = 0, block = 0; f < filters; f += FILTERS, block += FILTERS * depth) {
    const b0 = bias?.[f] ?? 0, b1 = bias?.[f + 1] ?? 0, b2 = bias?.[f + 2] ?? 0, b3 = bias?.[f + 3] ?? 0;
    for (let pixel = 0; pixel < many; pixel += PIXELS) {
      let u0 = b0, u1 = b1, u2 = b2, u3 = b3, v0 = b0, v1 = b1, v2 = b2, v3 = b3, w0 = b0, w1 = b1, w2 = b2, w3 = b3;
      let from = pixel * depth, second = from + depth, third = second + depth, w = block;
      for (const end = second; from < end; from++, second++, third++, w += FILTERS) {
        const u = x[from], v = x[second], t = x[third];
        const k0 = blocks[w], k1 = blocks[w + 1], k2 = blocks[w + 2], k3 = blocks[w + 3];
        u0 += u * k0; u1 += u * k1; u2 += u * k2; u3 += u * k3;
        v0 += v * k0; v1 += v * k1; v2 += v * k2; v3 += v * k3;
        w0 += t * k0; w1 += t * k1; w2 += t * k2; w3 += t * k3;
      }
      sums[0] = u0; sums[1] = u1; sums[2] = u2; sums[3] = u3; sums[4] = v0; sums[5] = v1;
      sums[6] = v2; sums[7] = v3; sums[8] = w0; sums[9] = w1; sums[10] = w2; sums[11] = w3;
      const rows = Math.min(PIXELS, many - pixel), columns = Math.min(FILTERS, filters - f);
      for (let row = 0; row < rows; row++) {
        const to = at + (pixel + row) * stride + f;
        for (let column = 0; column < columns; column++) out[to + column] = sums[row * FILTERS + column];
      }
    }
  }
}

// The operations: what a layer computes of its inputs.
//
// A network is a list of layers as payload.py describes them. Maps are Float32Arrays in Keras's order, height × width ×
// channels; sums are kept in double precision, so that results agree with Keras's up to its own rounding.

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
function geometry(layer, input, kernel) {
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
function under(place, input, spread) {
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
function sources(input, output, how) {
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
const between = (first, second, share) => first + (second - first) * share;

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
const softmax = (data, channels) => softmaxOver({ shape: [data.length / channels, channels], data }, [1], false);

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
function* compute(layer, inputs, weights) {
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
function costOf(layer, layers) {
  const many = size(layer.shape);
  if (layer.kind === "conv") return many * layer.kernel_shape[0] * layer.kernel_shape[1] * layer.kernel_shape[2];
  if (layer.kind === "dense") return many * (layers[layer.inputs[0]].shape.at(-1) ?? 1);
  return layer.kind === "einsum" ? many * layer.summed : many;
}

// What the last layer's numbers mean: probabilities of classes, each on its own, or plain numbers.

/** @typedef {import("./types.d.ts").Head} Head
 *  @typedef {import("./types.d.ts").Tensor} Tensor */

/** The numbers to show, one for each of the head's names; of a head of one probability p, 1 − p and p. None where the
 *  last layer has no list to show, or couldn't be computed.
 * @param {Head} head
 * @param {Tensor | null | undefined} out
 * @returns {number[]} */
function valuesOf(head, out) {
  if (head.kind === "none" || !out) return [];
  const numbers = Array.from(out.data);
  if (head.kind === "numbers") return numbers;
  const found = {
    none: () => numbers,
    exp: () => numbers.map(Math.exp),
    sigmoid: () => numbers.map((x) => 1 / (1 + Math.exp(-x))),
    softmax: () => Array.from(softmax(out.data, numbers.length)),
  }[head.apply ?? "none"]();
  return head.binary ? [1 - found[0], found[0]] : found;
}

/** The class that a network predicts, by its number; null where it predicts none, or where numbers are NaN.
 * @param {Head} head
 * @param {Tensor | null | undefined} out
 * @returns {number | null} */
function predicted(head, out) {
  if (head.kind !== "probabilities" || !head.exclusive) return null;
  const values = valuesOf(head, out);
  if (!values.length || values.some((value) => value !== value)) return null;
  return head.binary ? Number(values[1] > 0.5) : values.indexOf(Math.max(...values));
}

// The forward pass, all at once or step by step.

/** @typedef {import("./types.d.ts").Layer} Layer
 *  @typedef {import("./types.d.ts").Tensor} Tensor
 *  @typedef {import("./types.d.ts").Weights} Weights */

/** The outputs of all layers up to `end`; null where a layer is unknown, lacks its weights, or comes after one that does.
 *
 *  weightsOf: the place of a layer → its weights, or null. before: outputs that still hold, up to the first layer that
 *  has changed. Yields now and then what share of the work is done.
 * @param {Layer[]} layers
 * @param {Tensor} image
 * @param {(place: number) => Weights | null} weightsOf
 * @param {{ before?: (Tensor | null)[], changed?: number, end?: number }} options
 * @returns {Generator<number, (Tensor | null)[]>} */
function* forward(layers, image, weightsOf, { before = [], changed = 0, end = layers.length - 1 } = {}) {
  const outputs = before.slice(0, changed), costs = layers.map((layer) => costOf(layer, layers));
  const all = costs.slice(outputs.length, end + 1).reduce((sum, cost) => sum + cost, 0);
  for (let place = outputs.length, done = 0; place <= end; done += costs[place++]) {
    const layer = layers[place], inputs = layer.inputs.map((from) => outputs[from]);
    const weights = layer.kind === "unknown" || inputs.includes(null) ? null : weightsOf(place);
    if (layer.kind === "input") outputs.push(image);
    else if (!weights) outputs.push(null);
    else {
      const steps = compute(layer, /** @type {Tensor[]} */ (inputs), weights);
      let step = steps.next();
      for (; !step.done; step = steps.next()) yield (done + step.value * costs[place]) / all;
      outputs.push(step.value);
    }
    yield (done + costs[place]) / all;
  }
  return outputs;
}

/** What a generator returns, all at once.
 * @template Value
 * @param {Generator<unknown, Value>} steps
 * @returns {Value} */
function finish(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

// A network with its weights, by epoch and as edited.

/** @typedef {import("./types.d.ts").Tensor} Tensor
 *  @typedef {import("./types.d.ts").Weights} Weights
 *  @typedef {import("./types.d.ts").Edit} Edit */

class Network {
  /** @param {Pick<import("./types.d.ts").Payload, "layers" | "epochs" | "arrays">} data */
  constructor(data) {
    this.layers = data.layers;
    this.epochs = data.epochs;
    this.stored = data.arrays;
    /** @type {Map<string, Float32Array>} */
    this.numbers = new Map();
    /** @type {Map<string, Edit & { place: number, epoch: number | null }>} */
    this.edits = new Map();
    this.changes = 0;  // how often the reader has edited
  }

  /** A weight at an epoch; null where it wasn't recorded.
   * @param {string} path
   * @param {number | null} epoch
   * @returns {Tensor | null} */
  array(path, epoch) {
    const stored = this.stored[path], recorded = stored.epochs ?? null;
    const place = recorded ? recorded.indexOf(/** @type {number} */ (epoch)) : 0;
    if (place < 0) return null;
    let numbers = this.numbers.get(path);
    if (!numbers) this.numbers.set(path, numbers = decode(stored));
    const shape = recorded ? stored.shape.slice(1) : stored.shape, many = size(shape);
    return { shape, data: numbers.subarray(place * many, (place + 1) * many) };
  }

  /** A layer's weights by name, with what the reader has edited at that epoch, or as trained; null where one wasn't
   *  recorded.
   * @param {number} place
   * @param {number | null} epoch
   * @returns {Weights | null} */
  weights(place, epoch, asTrained = false) {
    const edit = asTrained ? undefined : this.edits.get(`${place} ${epoch}`);
    /** @type {Weights} */
    const found = {};
    for (const [name, path] of Object.entries(this.layers[place].weights)) {
      const array = this.array(path, epoch);
      if (!array) return null;
      const edited = name === "kernel" ? edit?.kernel : name === "bias" ? edit?.bias : undefined;
      found[name] = edited ? { ...array, data: edited } : array;
    }
    return found;
  }

  /** Whether the reader has edited a layer at an epoch.
   * @param {number | null} epoch */
  edited(epoch) {
    return [...this.edits.values()].some((edit) => edit.epoch === epoch);
  }

  /** A copy of a layer's weights, changed.
   * @param {number} place
   * @param {number | null} epoch
   * @param {(kernel: Float32Array, bias: Float32Array | undefined) => void} change
   * @returns {Edit} */
  changed(place, epoch, change) {
    const { kernel, bias } = /** @type {Weights} */ (this.weights(place, epoch));
    const copy = { kernel: kernel.data.slice(), bias: bias?.data.slice() };
    change(copy.kernel, copy.bias);
    return copy;
  }

  /** Take an edit of a layer at an epoch in place of what it was trained to.
   * @param {number} place
   * @param {number | null} epoch
   * @param {Edit} edit */
  edit(place, epoch, edit) {
    this.edits.set(`${place} ${epoch}`, { ...edit, place, epoch });
    this.changes++;
  }

  /** Take all edits back. */
  reset() {
    this.edits.clear();
    this.changes++;
  }

  /** All layers' outputs for an image, as `forward`.
   * @param {Tensor} image
   * @param {number | null} epoch
   * @param {{ asTrained?: boolean, before?: (Tensor | null)[], changed?: number, end?: number }} options */
  steps(image, epoch, { asTrained = false, ...options } = {}) {
    return forward(this.layers, image, (place) => this.weights(place, epoch, asTrained), options);
  }
}

// The work on a network, in slices of time: the pass for what is shown first, then counts over all images.
//
// A worker runs this where the browser gives one, else the page itself; nothing here touches the page.

/** @typedef {import("./types.d.ts").Answer} Answer
 *  @typedef {import("./types.d.ts").Payload} Payload
 *  @typedef {import("./types.d.ts").Question} Question
 *  @typedef {import("./types.d.ts").Strongest} Strongest
 *  @typedef {import("./types.d.ts").Tensor} Tensor */

const SLICE = 8;  // milliseconds; a frame has sixteen

/** The ranges of pixel values that a network may have been trained on: what a pixel of 0 to 255 is multiplied with, and
 *  what is added. */
const RANGES = [
  { name: "0 to 255", factor: 1, offset: 0 },
  { name: "0 to 1", factor: 1 / 255, offset: 0 },
  { name: "−1 to 1", factor: 1 / 127.5, offset: -1 },
];

/** An image of pixels from 0 to 255 as the network takes it.
 * @param {ArrayLike<number>} pixels
 * @param {number} range
 * @returns {Float32Array} */
function inRange(pixels, range) {
  const { factor, offset } = RANGES[range];
  return Float32Array.from(pixels, (value) => value * factor + offset);
}

class Runner {
  /** answer: is given what was found; soon: calls a function when other events have had their turn.
   * @param {Payload} data
   * @param {(answer: Answer) => void} answer
   * @param {(next: () => void) => void} soon */
  constructor(data, answer, soon) {
    this.answer = answer;
    this.soon = soon;
    this.network = new Network(data);
    this.head = data.head;
    this.labels = data.labels ?? [];
    this.count = data.images.shape[0];
    this.shape = data.images.shape.slice(1);
    this.bytes = decodeBytes(data.images);
    this.range = 0;
    /** Work under way, by kind, in the order in which it is done.
     * @type {Record<"show" | "judge" | "listen", Generator<number, Answer> | null>} */
    this.jobs = { show: null, judge: null, listen: null };
    this.waiting = false;
    /** @type {(Tensor | null)[]} */
    this.outputs = [];
    this.holding = 0;  // so many of the outputs still hold
    /** @type {Float32Array | null} */
    this.image = null;
    /** @type {number | null | undefined} */
    this.epoch = undefined;
    /** The end of the network without edits. @type {Tensor | null} */
    this.trained = null;
    /** How many images are classified correctly without edits, by epoch. @type {Map<number | null, number>} */
    this.right = new Map();
    answer({ what: "ready" });
  }

  /** @param {Question} question */
  take(question) {
    const { what } = question;
    if (what === "range" || what === "edit" || what === "reset") {
      this.jobs = { show: null, judge: null, listen: null };  // what is half done holds no longer
      this.change(question);
    } else if (what === "stop") this.jobs.judge = this.jobs.listen = null;
    else if (what === "show") this.jobs.show = this.show(question);
    else if (what === "judge") this.jobs.judge = this.judge(question);
    else if (what === "listen") this.jobs.listen = this.listen(question);
    this.goOn();
  }

  /** @param {Extract<Question, { what: "range" | "edit" | "reset" }>} question */
  change(question) {
    if (question.what === "range") {
      this.range = question.range;
      this.image = null;
      this.right.clear();
    } else if (question.what === "edit") {
      this.network.edit(question.place, question.epoch, question.edit);
      if (question.epoch === this.epoch) this.holding = Math.min(this.holding, question.place);
    } else {
      this.network.reset();
      this.holding = 0;
    }
  }

  /** @param {number} number */
  imageOf(number) {
    const many = this.bytes.length / this.count;
    return { shape: this.shape, data: inRange(this.bytes.subarray(number * many, (number + 1) * many), this.range) };
  }

  /** The outputs of all layers, those that have changed since the last time; where there are edits, the end without
   *  them too.
   * @param {Extract<Question, { what: "show" }>} question
   * @returns {Generator<number, Answer>} */
  *show({ id, image, epoch }) {
    const other = this.image === null || this.epoch !== epoch || image.some((value, at) => value !== this.image?.[at]);
    if (other) {
      this.holding = 0;
      this.trained = null;
    }
    [this.image, this.epoch] = [image, epoch];
    const input = { shape: this.shape, data: inRange(image, this.range) }, from = this.holding;
    const edited = this.network.edited(epoch);
    const outputs = yield* this.network.steps(input, epoch, { before: this.outputs, changed: from });
    [this.outputs, this.holding] = [outputs, outputs.length];
    const end = outputs.at(-1) ?? null;
    if (!edited) this.trained = end;
    else this.trained ??= (yield* this.network.steps(input, epoch, { asTrained: true })).at(-1) ?? null;
    return { what: "show", id, from, outputs: outputs.slice(from), trained: edited ? this.trained : null };
  }

  /** How many of the images are classified correctly, as edited and as trained.
   * @param {Extract<Question, { what: "judge" }>} question
   * @returns {Generator<number, Answer>} */
  *judge({ id, epoch }) {
    const right = { edited: 0, trained: this.right.get(epoch) ?? 0 }, known = this.right.has(epoch);
    for (const [number, label] of this.labels.entries()) {
      for (const which of known ? /** @type {const} */ (["edited"]) : /** @type {const} */ (["edited", "trained"])) {
        const outputs = yield* this.network.steps(this.imageOf(number), epoch, { asTrained: which === "trained" });
        right[which] += Number(predicted(this.head, outputs.at(-1)) === label);
      }
    }
    this.right.set(epoch, right.trained);
    return { what: "judge", id, right };
  }

  /** Each filter's largest response to each image.
   * @param {Extract<Question, { what: "listen" }>} question
   * @returns {Generator<number, Answer>} */
  *listen({ id, epoch, end }) {
    /** @type {Strongest[][]} */
    const found = [];
    for (let number = 0; number < this.count; number++) {
      const outputs = yield* this.network.steps(this.imageOf(number), epoch, { end });
      found.push(strongest(/** @type {Tensor} */ (outputs[end])));
    }
    return { what: "listen", id, found };
  }

  /** Work when others have had their turn, and again until all is done. */
  goOn() {
    if (this.waiting || !this.next()) return;
    this.waiting = true;
    this.soon(() => {
      this.waiting = false;
      try {
        this.work();
      } catch (error) {
        this.jobs = { show: null, judge: null, listen: null };
        this.answer({ what: "failed", why: String(error) });
      }
      this.goOn();
    });
  }

  /** Work for a slice of time. */
  work() {
    const begun = performance.now();
    let share = 0;
    for (let name = this.next(); name && performance.now() - begun < SLICE; name = this.next()) {
      const job = /** @type {Generator<number, Answer>} */ (this.jobs[name]), step = job.next();
      if (step.done) {
        this.jobs[name] = null;
        this.answer(step.value);
      } else if (name === "show") share = step.value;
    }
    if (this.jobs.show) this.answer({ what: "share", share });
  }

  /** The work that comes first. */
  next() {
    return /** @type {const} */ (["show", "judge", "listen"]).find((name) => this.jobs[name]);
  }
}

return { ALIKE, Network, PRESETS, RANGES, Runner, activationOf, between, blocksOf, compute, concatenate, cosine, costOf, decode, decodeBytes, einsum, filtersOf, finish, following, forward, framed, framing, geometry, join, multiply, nearTwins, normOf, operandsOf, predicted, prelu, reduce, roomFor, sameSpot, size, softmax, softmaxOver, sources, standardise, stridesIn, strongest, take, transpose, under, valuesOf, walk };
}

const { ALIKE, Network, PRESETS, RANGES, Runner, activationOf, between, blocksOf, compute, concatenate, cosine, costOf, decode, decodeBytes, einsum, filtersOf, finish, following, forward, framed, framing, geometry, join, multiply, nearTwins, normOf, operandsOf, predicted, prelu, reduce, roomFor, sameSpot, size, softmax, softmaxOver, sources, standardise, stridesIn, strongest, take, transpose, under, valuesOf, walk } = workerModules();

// Colours, canvases, elements and numbers as text.

/** @typedef {import("./types.d.ts").Tensor} Tensor */

/** @type {(value: number, low: number, high: number) => number} */
const within = (value, low, high) => Math.min(Math.max(value, low), high);

/** A colour for a number from -1 to 1: blue, white, orange; distinct for colour-blind eyes too.
 * @param {number} value */
function diverging(value) {
  const v = within(value, -1, 1), end = v < 0 ? [33, 102, 172] : [214, 96, 4], share = Math.abs(v);
  return end.map((channel) => Math.round(255 + (channel - 255) * share));
}

/** How bright a colour is, from 0 to 1; black is read well on more than 0.179, white on less (WCAG 2).
 * @param {number[]} colour */
function luminance(colour) {
  const [red, green, blue] = colour.map((channel) => channel / 255)
    .map((share) => share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** A pixel of a canvas as one number, its bytes red, green, blue and opacity.
 * @type {(red: number, green: number, blue: number) => number} */
const pixel = (red, green, blue) => (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;

const SHADES = 255;  // on either side of zero
const PIXELS = Uint32Array.from({ length: 2 * SHADES + 1 }, (_, at) => {
  const [red, green, blue] = diverging((at - SHADES) / SHADES);
  return pixel(red, green, blue);
});

/** The pixel of `diverging`; black for NaN.
 * @param {number} value */
function divergingPixel(value) {
  return value === value ? PIXELS[Math.round(within(value, -1, 1) * SHADES) + SHADES] : pixel(0, 0, 0);
}

/** @type {(canvas: HTMLCanvasElement, height: number, width: number, pixelOf: (at: number) => number) => void} */
function paint(canvas, height, width, pixelOf) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < pixels.length; at++) pixels[at] = pixelOf(at);
  context.putImageData(image, 0, 0);
}

/** @param {ArrayLike<number | null>} numbers */
function largestOf(numbers) {
  let most = 0;
  for (let at = 0; at < numbers.length; at++) {
    const size = Math.abs(numbers[at] ?? 0);
    if (size > most) most = size;
  }
  return most;
}

/** A channel of a map as an image.
 * @type {(canvas: HTMLCanvasElement, map: Tensor, channel: number, scale: number) => void} */
function paintChannel(canvas, { shape: [height, width, channels], data }, channel, scale) {
  paint(canvas, height, width, (at) => divergingPixel(data[at * channels + channel] / scale));
}

/** An image of pixels from 0 to 255, of any number of channels: the first three are its colours.
 * @type {(canvas: HTMLCanvasElement, image: Tensor) => void} */
function paintImage(canvas, { shape: [height, width, channels], data }) {
  const green = channels < 3 ? 0 : 1, blue = channels < 3 ? 0 : 2;
  paint(canvas, height, width, (at) =>
    pixel(data[at * channels], data[at * channels + green], data[at * channels + blue]));
}

/** An element with properties and children; text is never read as HTML.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} properties
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[Tag]} */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.includes("-")) /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** @param {string} text
 *  @param {() => void} onClick
 *  @param {Record<string, any>} properties */
function makeButton(text, onClick, properties = {}) {
  const button = make("button", { type: "button", ...properties }, text);
  button.addEventListener("click", onClick);
  return button;
}

/** @template {keyof SVGElementTagNameMap} Tag
 *  @param {Tag} tag
 *  @param {Record<string, any>} attributes
 *  @param {...Node} children
 *  @returns {SVGElementTagNameMap[Tag]} */
function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** @param {number} value */
function format(value) {
  if (!Number.isFinite(value)) return String(value).replace("-", "−");
  const most = Math.abs(value);
  return (most >= 1000 || (most && most < 0.001) ? value.toExponential(2) : value.toFixed(3)).replace("-", "−");
}

/** A share of one as per cent.
 * @param {number} share */
const percent = (share) => `${(100 * share).toFixed(1)} %`;

// Receptive fields, and the sums behind a number of a convolution.

/** @typedef {import("./types.d.ts").Layer} Layer
 *  @typedef {import("./types.d.ts").Tensor} Tensor
 *  @typedef {import("./types.d.ts").Geometry} Geometry
 *  @typedef {[number, number, number, number]} Area top, bottom, left, right */

/** @type {(value: number, low: number, high: number) => number} */
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

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
function receptiveField(layers, place, row, column) {
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
function windowOf(g, x, row, column, channel) {
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
function arithmetic(layer, x, { kernel, bias }, row, column, filter) {
  const [rows, columns, inner, filters] = kernel.shape, g = geometry(layer, x.shape, kernel.shape);
  const first = Math.floor(filter / (filters / layer.groups)) * inner, added = bias ? bias.data[filter] : 0;
  const parts = Array.from({ length: inner }, (_, c) => {
    const window = windowOf(g, x, row, column, first + c), cells = cellsOf(kernel, filter, c);
    return { channel: first + c, window, kernel: cells, sum: cells.reduce((sum, cell, at) => sum + cell * (window[at] ?? 0), 0) };
  });
  return { rows, columns, parts, bias: added, sum: parts.reduce((total, part) => total + part.sum, added) };
}

// What is looked at, and the page's address that holds it.

/** @typedef {import("./types.d.ts").Layer} Layer
 *  @typedef {import("./types.d.ts").Payload} Payload
 *  @typedef {import("./types.d.ts").State} State */

const LATE = 300;  // milliseconds after the last change; browsers refuse an address that changes a hundred times a second

/** How many channels a layer has; of one that is no map, how many numbers.
 * @param {Layer} layer */
const depthOf = ({ shape }) => shape.length === 3 ? shape[2] : shape.reduce((many, side) => many * side, 1);

/** Where a lens opens: the first convolution, the first image, the last epoch.
 * @param {Payload} data
 * @returns {State} */
function firstState({ layers, epochs }) {
  const place = Math.max(0, layers.findIndex((layer) => layer.kind === "conv"));
  return { place, channel: 0, inner: 0, row: 0, column: 0, image: 0, epoch: epochs?.at(-1) ?? null, range: 0 };
}

/** A state within what a network has.
 * @param {State} state
 * @param {Layer[]} layers
 * @param {number} count the number of the reader's own image, which is the last */
function keepWithin(state, layers, count) {
  state.place = clamp(state.place, 0, layers.length - 1);
  const layer = layers[state.place], [rows, columns] = layer.shape.length === 3 ? layer.shape : [1, 1];
  state.image = clamp(state.image, 0, count);
  state.channel = clamp(state.channel, 0, depthOf(layer) - 1);
  state.row = clamp(state.row, 0, rows - 1);
  state.column = clamp(state.column, 0, columns - 1);
  state.range = clamp(state.range, 0, RANGES.length - 1);
}

/** What an address asks for, of what a state has: whole numbers alone.
 * @param {State} state
 * @param {string} hash
 * @returns {Partial<State>} */
function fromAddress(state, hash) {
  const asked = [...new URLSearchParams(hash.slice(1))].filter(([name, value]) => name in state && /^\d+$/.test(value));
  return Object.fromEntries(asked.map(([name, value]) => [name, Number(value)]));
}

/** A function that writes a state into the page's address, some time after the last change; a browser or a host that
 *  refuses is left alone. */
function addressWriter() {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  return (/** @type {State} */ state) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const told = Object.entries(state).filter(([, value]) => value !== null).map(([name, value]) => [name, String(value)]);
      try {
        history.replaceState(null, "", `#${new URLSearchParams(told)}`);
      } catch {
        // the address is a convenience
      }
    }, LATE);
  };
}

// The lens's style sheet. It follows the width of its own element, not the window's: two lenses share a window.

const STYLE = `
:host { all: initial; display: block; color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif;
  --paper: light-dark(#fff, #1b1b1b); --ink: light-dark(#1a1a1a, #eee); --dim: light-dark(#595959, #b0b0b0);
  --line: light-dark(#767676, #9a9a9a); --edge: light-dark(#dcdcdc, #3d3d3d); --soft: light-dark(#f4f4f4, #2a2a2a);
  --mark: light-dark(#a3004f, #ff8ac2); --bar: light-dark(#2166ac, #7db4e6);
  color: var(--ink); background: var(--paper); }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
.lens { container-type: inline-size; padding: 12px; max-width: 1680px; margin: 0 auto; }
.title { font-size: 20px; line-height: 1.2; margin: 0 0 8px; }
.head { font-size: 14px; margin: 0 0 8px; } .head:not(:first-child) { margin-top: 16px; }
p { margin: 4px 0; } .hint, .legend { color: var(--dim); font-size: 12px; } .note, .failure { color: var(--mark); }
.panel { border: 1px solid var(--edge); border-radius: 8px; padding: 12px; min-width: 0; margin: 0 0 10px; }
.panel > :last-child { margin-bottom: 0; }
.body { transition: opacity 0.15s; } .body[aria-busy=true] { opacity: 0.5; }
.spoken { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }

.looking { display: grid; gap: 0 10px; grid-template-columns: minmax(0, 1fr); }
.pair { display: grid; gap: 0 10px; grid-template-columns: minmax(0, 1fr); }
@container (min-width: 540px) { .looking { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  .looking > :last-child { grid-column: 1 / -1; } }
@container (min-width: 900px) { .pair { grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); } }
@container (min-width: 1060px) { .looking { grid-template-columns: minmax(0, 5fr) minmax(0, 6fr) minmax(0, 8fr); }
  .looking > :last-child { grid-column: auto; } }

.controls { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; margin: 4px 0 8px; }
.stacked { display: grid; gap: 8px; justify-items: start; min-width: 0; }
@container (max-width: 539px) { .looking > :first-child .stage { max-width: 240px; } }
label { display: inline-flex; white-space: nowrap; gap: 6px; align-items: center; max-width: 100%; }
select, button, input { font: inherit; color: inherit; background: var(--soft); border: 1px solid var(--line);
  border-radius: 5px; padding: 4px 9px; min-width: 0; max-width: 100%; }
input[type=range] { padding: 0; width: 200px; accent-color: var(--mark); } input[type=checkbox] { accent-color: var(--mark); }
input[type=color] { padding: 2px; width: 44px; height: 28px; } input[type=number] { width: 72px; }
button { cursor: pointer; touch-action: manipulation; } button:disabled { cursor: default; color: var(--dim); border-style: dashed; }
button:not(:disabled):hover { border-color: var(--ink); }
:focus-visible { outline: 3px solid var(--mark); outline-offset: 1px; }
summary { cursor: pointer; width: fit-content; } .own { margin-top: 8px; }
canvas { image-rendering: pixelated; display: block; background: #fff; }
canvas.pen { width: 192px; border: 1px solid var(--line); touch-action: none; }

.tiles { display: flex; flex-wrap: wrap; gap: 5px; position: relative; }
.tiles button { padding: 3px; line-height: 1.15; font-size: 11px; background: none; border-color: transparent; }
.tiles button:hover { border-color: var(--line); } .tiles canvas { width: 44px; height: 44px; border-radius: 2px; }
.tiles [aria-checked=true] { border-color: var(--mark); box-shadow: 0 0 0 2px var(--mark); }
.tiles.channels, .tiles.kernels { max-height: 262px; overflow-y: auto; padding: 3px; }
.tiles.channels canvas, .tiles.kernels canvas, .tiles.images canvas { outline: 1px solid var(--edge); }
.tiles.numbers button { border-color: var(--edge); padding: 4px 8px; font-variant-numeric: tabular-nums; font-size: 12px; }
.tiles.images button:last-child { display: flex; gap: 4px; align-items: center; }
.tiles.strip { flex-wrap: nowrap; overflow-x: auto; padding: 3px 3px 8px; gap: 12px; align-items: stretch; scrollbar-width: thin; }
.tiles.strip button { flex: none; width: 108px; display: grid; justify-items: center; gap: 4px; position: relative;
  align-content: start; color: var(--dim); }
.tiles.strip span { width: 100%; white-space: pre-line; overflow-wrap: break-word; }
.tiles.strip button span::first-line { color: var(--ink); font-weight: 600; }
.tiles.strip button + button::before { content: "›"; position: absolute; left: -11px; top: 14px; color: var(--dim); font-size: 16px; }
.tiles.strip .pale canvas { visibility: hidden; } .tiles.strip canvas { width: 40px; height: 40px; outline: 1px solid var(--edge); }

.stage { position: relative; width: 100%; max-width: 420px; } .stage canvas { width: 100%; outline: 1px solid var(--line); }
.stage canvas[role=application] { cursor: crosshair; touch-action: manipulation; }
.stage svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none;
  filter: drop-shadow(0 0 1px #fff) drop-shadow(0 0 1px #fff); }
.stage rect { fill: none; stroke: #a3004f; stroke-width: 2px; vector-effect: non-scaling-stroke; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 8px; align-items: center; font-variant-numeric: tabular-nums; }
.legend i { width: 80px; height: 9px; border: 1px solid var(--edge);
  background: linear-gradient(90deg, rgb(33 102 172), #fff, rgb(214 96 4)); }

table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 12px; }
.classes table { width: 100%; max-width: 420px; margin-top: 10px; } .classes th, .classes td { padding: 2px 4px; font-weight: 400; }
.classes thead th { color: var(--dim); text-align: right; } .classes th:first-child { text-align: left; min-width: 76px; overflow-wrap: break-word; }
.classes td { text-align: right; white-space: nowrap; } .classes .predicted th, .classes .predicted td { font-weight: 700; }
.classes .track { width: 36%; } .classes i { display: block; height: 10px; background: var(--bar); border-radius: 0 2px 2px 0; }
.classes em { margin-left: 6px; padding: 0 5px; border: 1px solid currentColor; border-radius: 8px; font-style: normal;
  font-weight: 400; font-size: 11px; color: var(--mark); white-space: nowrap; }

.sum { font-variant-numeric: tabular-nums; } .sum .value { font-size: 15px; } .sum strong { white-space: nowrap; }
.grids { display: flex; flex-wrap: wrap; gap: 12px; overflow-x: auto; padding: 2px; }
.curve { display: flex; gap: 8px; align-items: center; }
.grid caption { text-align: left; white-space: nowrap; color: var(--dim); padding: 4px 0; }
.grid th { color: var(--dim); font-weight: 400; font-size: 11px; padding: 0 4px; }
.grid tbody td { border: 1px solid var(--edge); padding: 1px 3px; min-width: 46px; height: 20px; text-align: right; }
.grid input { width: 46px; padding: 0; font-size: 12px; line-height: 1.3; color: inherit; background: transparent; border: 0;
  border-radius: 0; text-align: right; }
`;

// What the network predicts: its last layer's numbers, the largest first.

/** @typedef {import("../types.d.ts").Lens} Lens */

const FEW_CLASSES = 10;

/** A change with its sign; in points, of probabilities.
 * @type {(gain: number, points: boolean) => string} */
function signed(gain, points) {
  const text = points ? Math.abs(100 * gain).toFixed(1) : format(Math.abs(gain));
  return (gain < 0 && Number(text) !== 0 ? "−" : "+") + text;
}

/** @param {Lens} lens */
function makeClasses(lens) {
  const element = make("div", { className: "classes" });
  let all = false;

  /** The label of the image shown, where the network's classes are what it is a number of. */
  function labelShown() {
    return lens.data.head.exclusive ? lens.data.labels?.[lens.state.image] ?? null : null;
  }

  function draw() {
    const { head } = lens.data, last = lens.outputs.at(-1), values = valuesOf(head, last), names = head.names ?? [];
    element.replaceChildren();
    if (!values.length) return;
    const chances = head.kind === "probabilities", label = labelShown(), chosen = predicted(head, last);
    const before = lens.trained ? valuesOf(head, lens.trained) : null, print = chances ? percent : format;
    const order = values.map((value, number) => ({ value, number }));
    if (chances && head.exclusive) order.sort((one, two) => two.value - one.value);
    const shown = all ? order : order.slice(0, FEW_CLASSES);
    shown.push(...order.slice(shown.length).filter(({ number }) => number === label));
    const lines = shown.map(({ value, number }) => {
      const bar = make("i", {}), gain = before ? value - before[number] : 0;
      bar.style.width = chances ? `${(100 * value).toFixed(1)}%` : "0";
      const mark = number === label ? make("em", { className: "true" }, "true class") : null;
      return make("tr", { className: number === chosen ? "bar predicted" : "bar" },
        make("th", { scope: "row" }, names[number] ?? `output ${number}`, mark),
        chances ? make("td", { className: "track", ariaHidden: "true" }, bar) : null, make("td", {}, print(value)),
        before ? make("td", {}, signed(gain, chances)) : null);
    });
    const titles = [chances ? "Class" : "Output", chances ? "" : null, chances ? "Probability" : "Number", before ? "By your edits" : null];
    element.append(make("table", {}, make("thead", {}, make("tr", {}, ...titles.filter((one) => one !== null).map((title) =>
      title ? make("th", { scope: "col" }, title) : make("td", {})))), make("tbody", {}, ...lines)));
    if (order.length > shown.length || (all && order.length > FEW_CLASSES)) {
      element.append(makeButton(all ? `show the first ${FEW_CLASSES}` : `show all ${order.length}`, () => {
        all = !all;
        draw();
      }));
    }
  }
  return { element, draw };
}

// Changing a kernel, and what that does to the images that are classified correctly.

/** @typedef {import("../types.d.ts").Lens} Lens */

/** @param {Lens} lens */
function makeEdit(lens) {
  const message = make("p", { role: "status" }), which = make("p", {});

  /** Give the chosen filter another kernel, the same for all its input channels.
   * @type {(name: string, kernel: Float32Array) => void} */
  function preset(name, kernel) {
    const [rows, columns, channels, filters] = lens.layers[lens.state.place].kernel_shape;
    for (let inner = 0; inner < channels; inner++) {
      for (let at = 0; at < rows * columns; at++) {
        const where = (at * channels + inner) * filters + lens.state.channel;
        kernel[where] = PRESETS[name](Math.floor(at / columns), at % columns, rows, columns, kernel[where]);
      }
    }
  }

  const buttons = Object.keys(PRESETS).map((name) => makeButton(name, () => lens.edit((kernel) => preset(name, kernel))));
  const ablate = makeButton("switch the filter off", () => lens.edit((kernel, bias) => {
    preset("zero", kernel);
    if (bias) bias[lens.state.channel] = 0;
  }));
  const reset = makeButton("reset", () => lens.edit(null));
  return {
    element: make("div", {}, make("div", { className: "controls", role: "group", "aria-label": "Edit the kernel" },
      ...buttons, ablate, reset), which, message),
    /** Which layers are edited, at which epochs. */
    draw() {
      const edits = [...lens.network.edits.values()];
      reset.disabled = !edits.length;
      const told = edits.map(({ place, epoch }) => lens.layers[place].name + (epoch === null ? "" : ` at epoch ${epoch}`));
      which.textContent = told.length ? `You have edited ${told.join(", ")}. “reset” takes all edits back.` : "";
    },
    /** @param {{ edited: number, trained: number } | null} right how many images are classified correctly */
    judge(right) {
      message.textContent = right
        ? `Edited, the network classifies ${right.edited} of these ${lens.count} images correctly; as trained, ${right.trained}.` : "";
    },
  };
}

// Training: the epoch that is shown, and the loss up to it.

/** @typedef {import("../types.d.ts").Lens} Lens */

/** @param {Lens} lens */
function makeEpochs(lens) {
  const { epochs } = lens, { curve } = lens.data;
  const slider = make("input", { type: "range", min: 0, max: epochs.length - 1, step: 1 });
  const told = make("span", {}), drawn = make("div", { className: "curve" });
  slider.addEventListener("input", () => void lens.set({ epoch: epochs[Number(slider.value)] }));
  return {
    element: lens.network.epochs
      ? make("div", { className: "controls" }, make("label", {}, "Epoch", slider, told), drawn) : null,
    draw() {
      const { epoch } = lens.state;
      slider.value = String(epochs.indexOf(epoch));
      told.textContent = epoch === null ? "" : `epoch ${epoch}`;
      slider.setAttribute("aria-valuetext", told.textContent);
      if (!curve || epoch === null) return;
      const { loss, accuracy } = curve, many = loss.length, most = Math.max(...loss) || 1;
      const points = loss.map((value, i) => `${((i + 1) / many) * 100},${29 - (28 * value) / most}`).join(" ");
      const here = (epoch / many) * 100, thin = { "vector-effect": "non-scaling-stroke" };
      drawn.replaceChildren(
        makeSvg("svg", { viewBox: "0 0 100 30", width: 160, height: 40, preserveAspectRatio: "none", "aria-hidden": "true" },
          makeSvg("polyline", { points, fill: "none", stroke: "currentColor", "stroke-width": 1.5, ...thin }),
          makeSvg("line", { x1: here, x2: here, y1: 0, y2: 30, stroke: "var(--mark)", "stroke-width": 2, ...thin })),
        make("span", {}, epoch
          ? `training loss ${loss[epoch - 1].toFixed(2)}, accuracy ${(100 * accuracy[epoch - 1]).toFixed(1)} %` : "before training"));
    },
  };
}

// A row of things to choose from: one tab stop, arrow keys move and choose.

/** What one tile shows: its name, a canvas to paint or text, whether it is pale.
 * @typedef {{ label: string, text?: string, title?: string, pale?: boolean, paint?: (canvas: HTMLCanvasElement) => void }} Tile */

/** How far the arrow keys go: to the next tile, or to the one in the next row.
 * @type {Record<string, "next" | "last" | "below" | "above" | "first" | "end">} */
const KEYS = {
  ArrowRight: "next", ArrowLeft: "last", ArrowDown: "below", ArrowUp: "above", Home: "first", End: "end",
};

/** @param {string} label
 *  @param {(at: number) => void} onChoose
 *  @param {string} className */
function makeTiles(label, onChoose, className = "") {
  const element = make("div", { className: `tiles ${className}`, role: "radiogroup", "aria-label": label });
  /** @type {HTMLButtonElement[]} */
  const buttons = [];
  let shown = 0, chosen = 0;

  /** @param {number} at */
  function add(at) {
    const canvas = make("canvas", { ariaHidden: "true" }), text = make("span", {});
    const button = make("button", { type: "button", role: "radio" }, canvas, text);
    button.addEventListener("click", () => onChoose(at));
    buttons.push(button);
    element.append(button);
  }

  /** The tile that a key leads to.
   * @param {"next" | "last" | "below" | "above" | "first" | "end"} way */
  function target(way) {
    if (way === "next" || way === "last") return Math.min(Math.max(chosen + (way === "next" ? 1 : -1), 0), shown - 1);
    if (way === "first" || way === "end") return way === "first" ? 0 : shown - 1;
    const here = buttons[chosen].offsetLeft, top = buttons[chosen].offsetTop, down = way === "below" ? 1 : -1;
    for (let at = chosen + down, row = top; at >= 0 && at < shown; at += down) {
      const { offsetTop, offsetLeft } = buttons[at];
      if (row === top && offsetTop !== top) row = offsetTop;
      else if (row !== top && offsetTop !== row) break;
      if (row !== top && down * (offsetLeft - here) >= 0) return at;
    }
    return chosen;
  }

  element.addEventListener("keydown", (event) => {
    const way = KEYS[event.key];
    if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const at = target(way);
    buttons[at].focus();
    if (at !== chosen) onChoose(at);
  });

  return {
    element,
    /** Show these tiles, one of them chosen; elements stay what they were, and so does the keyboard.
     * @param {Tile[]} tiles
     * @param {number} at */
    update(tiles, at) {
      while (buttons.length < tiles.length) add(buttons.length);
      for (const one of buttons.splice(Math.max(tiles.length, 1))) one.remove();
      shown = tiles.length;
      element.hidden = !shown;
      tiles.forEach((tile, number) => {
        const button = buttons[number], canvas = /** @type {HTMLCanvasElement} */ (button.firstChild);
        button.setAttribute("aria-label", tile.label);
        button.title = tile.title ?? tile.label;
        button.classList.toggle("pale", Boolean(tile.pale));
        canvas.hidden = !tile.paint;
        tile.paint?.(canvas);
        /** @type {HTMLElement} */ (button.lastChild).textContent = tile.text ?? "";
      });
      this.choose(at);
    },
    /** @param {number} at */
    choose(at) {
      chosen = at;
      buttons.forEach((button, number) => {
        button.setAttribute("aria-checked", String(number === at));
        button.tabIndex = number === at || (at < 0 && number === 0) ? 0 : -1;
      });
    },
    /** Bring the chosen tile into sight, where the row scrolls. */
    reveal() {
      const button = buttons[chosen];
      if (!button || element.scrollWidth <= element.clientWidth) return;
      const left = button.offsetLeft - element.offsetLeft;
      if (left < element.scrollLeft || left + button.offsetWidth > element.scrollLeft + element.clientWidth) {
        element.scrollLeft = left - (element.clientWidth - button.offsetWidth) / 2;
      }
    },
  };
}

// A table of numbers with colours; its cells are edited as in a spreadsheet.

/** @type {Record<string, [number, number]>} */
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** @type {(cell: HTMLElement, value: number | null, scale: number) => void} */
function colour(cell, value, scale) {
  const shade = value === null || value !== value ? null : diverging(value / scale);
  cell.style.background = shade ? `rgb(${shade})` : "";
  cell.style.color = shade ? (luminance(shade) > 0.179 ? "#000" : "#fff") : "";
}

/** The field of a cell. Arrow keys move from cell to cell until the reader types; Enter takes the number and goes down,
 *  Escape puts the old one back.
 * @type {(label: string, change: (value: number) => void, move: (rows: number, columns: number) => void) => HTMLInputElement} */
function makeField(label, change, move) {
  const field = make("input", { type: "text", inputMode: "decimal", ariaLabel: label, autocomplete: "off" });
  let kept = "", typing = false;
  field.addEventListener("focus", () => {
    [kept, typing] = [field.value, false];
    field.select();
  });
  field.addEventListener("input", () => { typing = true; });
  field.addEventListener("pointerdown", () => { typing = field.matches(":focus"); });  // a second click puts the caret
  field.addEventListener("change", () => {
    const value = Number(field.value.replace("−", "-").replace(",", "."));
    if (field.value.trim() && Number.isFinite(value)) change(value);
    else field.value = kept;
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      [field.value, typing] = [kept, false];
      field.select();
    } else if (event.key === "F2") typing = true;
    else if (MOVES[event.key] && (!typing || event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      move(...MOVES[event.key]);
    } else if (event.key === "Enter") typing = false;
    else if (!typing && event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
      kept = field.value;
      field.select();  // what is typed replaces it
    }
  });
  return field;
}

/** @param {boolean} edited whether cells can be edited */
function makeGrid(edited) {
  const caption = make("caption", {}), head = make("thead", {}), body = make("tbody", {});
  const element = make("table", { className: "grid" }, caption, head, body);
  /** @type {HTMLTableCellElement[]} */
  let cells = [];
  /** @type {HTMLInputElement[]} */
  let fields = [];
  let sides = "", current = 0;
  /** @type {((at: number, value: number) => void) | null} */
  let onEdit = null;

  /** @param {number} at */
  function stopAt(at) {
    current = at;
    fields.forEach((field, number) => { field.tabIndex = number === at ? 0 : -1; });
  }

  /** @type {(rows: number, columns: number) => void} */
  function build(rows, columns) {
    [cells, fields] = [[], []];
    const numbers = Array.from({ length: columns }, (_, column) => make("th", { scope: "col" }, String(column)));
    head.replaceChildren(make("tr", {}, make("td", { className: "corner" }), ...numbers));
    body.replaceChildren(...Array.from({ length: rows }, (_, row) => {
      const line = Array.from({ length: columns }, (_, column) => {
        const at = row * columns + column, cell = make("td", {});
        if (edited) {
          const field = makeField("", (value) => onEdit?.(at, value), (down, right) => {
            const [y, z] = [row + down, column + right];
            if (y >= 0 && y < rows && z >= 0 && z < columns) fields[y * columns + z].focus();
          });
          field.addEventListener("focus", () => stopAt(at));
          fields.push(field);
          cell.append(field);
        }
        cells.push(cell);
        return cell;
      });
      return make("tr", {}, make("th", { scope: "row" }, String(row)), ...line);
    }));
    stopAt(Math.min(current, Math.max(fields.length - 1, 0)));
  }

  return {
    element,
    /** Show numbers, null where there is none; change: is given the place and the new number of a cell that was edited.
     * @type {(numbers: (number | null)[], rows: number, columns: number, words: string, change?: (at: number, value: number) => void) => void} */
    update(numbers, rows, columns, words, change) {
      if (sides !== `${rows} ${columns}`) build(rows, columns);
      sides = `${rows} ${columns}`;
      onEdit = change ?? null;
      caption.textContent = words;
      const scale = largestOf(numbers) || 1;
      numbers.forEach((value, at) => {
        colour(cells[at], value, scale);
        if (!edited) {
          cells[at].textContent = value === null ? "·" : format(value);
          return;
        }
        const field = fields[at], label = `${words}, row ${Math.floor(at / columns)}, column ${at % columns}`;
        if (field.ariaLabel !== label) field.ariaLabel = label;
        field.value = format(/** @type {number} */ (value));
      });
    },
  };
}

// The image that is shown, with the receptive field of the chosen number, and the choice among images.

/** @typedef {import("../types.d.ts").Lens} Lens */

/** A rectangle over a canvas, in the canvas's pixels. */
function makeOutline() {
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
function makeSeen(lens) {
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
function makeChoice(lens) {
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

// The network as a strip of layers to click, and as a list.

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
function kindOf(layer) {
  if (layer.kind === "unknown") return `${layer.type}, unknown to the lens`;
  if (layer.kind === "conv") return `convolution ${layer.kernel_shape[0]}×${layer.kernel_shape[1]}`;
  if (layer.kind === "pool") return `${layer.how} pooling ${layer.size[0]}×${layer.size[1]}`;
  if (layer.kind === "join") return layer.how;
  if (layer.kind === "activation") return layer.activation === "general_relu" ? "relu" : String(layer.activation);
  return NAMES[layer.kind] ?? layer.kind;
}

/** @param {Layer} layer */
const sidesOf = (layer) => layer.shape.join("×") || "one number";

const MOST_PIXELS = 40;  // along a side of a layer's small image
const MOST_LOOKED_AT = 100_000;  // numbers of a layer, in search of a large one

/** @param {Lens} lens */
function makeStrip(lens) {
  const { layers } = lens;
  const go = (/** @type {number} */ place) => void lens.set({ place, channel: place === lens.state.place ? lens.state.channel : 0 });
  const tiles = makeTiles("The network, from its input to its output", go, "strip");
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
function noteOn(lens, drawn) {
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
const legend = (scale) => make("p", { className: "legend" }, `−${format(scale)}`,
  make("i", { ariaHidden: "true" }), `+${format(scale)}`, make("span", {}, "blue is negative, white zero, orange positive"));

// The output of the layer: a map large, all its channels small, and both as files.

/** @typedef {import("../types.d.ts").Lens} Lens */

const MOST_TILES = 256;

/** Hand the reader a file made here.
 * @type {(name: string, blob: Blob) => void} */
function save(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** @param {Lens} lens */
function makeMap(lens) {
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

// The kernels of a convolution, how they are alike, and what training changed in them.

/** @typedef {import("../filters.js").Filter} Filter
 *  @typedef {import("../types.d.ts").Lens} Lens
 *  @typedef {import("../types.d.ts").Tensor} Tensor */

/** @param {Lens} lens */
function makeKernels(lens) {
  const order = make("select", {}, ...["number", "norm", "likeness to the chosen one"].map((name) => make("option", {}, name)));
  const [ownScale, colours, less] = [false, true, false].map((checked) => make("input", { type: "checkbox", checked }));
  const inner = make("input", { type: "number", min: 0, value: 0 });
  const tiles = makeTiles("Kernel", (at) => void lens.set({ channel: shown[at].filter }), "kernels");
  const message = make("p", {}), distance = make("p", {});
  const coloursLabel = make("label", {}, colours, "three channels as colours");
  const innerLabel = make("label", {}, "Input channel", inner), lessLabel = make("label", {}, less, "minus the initial weights");
  /** @type {Filter[]} */
  let shown = [];
  /** What is known of the kernels last drawn, and of which ones they were. @type {{ of: string, filters: Filter[], twins: number }} */
  let known = { of: "", filters: [], twins: 0 };
  for (const control of [order, ownScale, colours, less]) control.addEventListener("change", draw);
  inner.addEventListener("input", () => lookAt(Math.trunc(Number(inner.value)) || 0));

  /** Show one of a kernel's input channels.
   * @param {number} channel */
  function lookAt(channel) {
    inner.value = String(channel);
    colours.checked = false;
    void lens.set({ inner: channel });
    draw();
  }

  /** @type {(kernel: Tensor, of: string) => typeof known} */
  function learn(kernel, of) {
    if (known.of !== of) {
      const filters = filtersOf(kernel);
      known = { of, filters, twins: nearTwins(filters.slice(0, MOST_TILES)) };
    }
    return known;
  }

  function draw() {
    const { state, network } = lens, layer = lens.layers[state.place];
    if (layer.kind !== "conv") return;
    const weights = network.weights(state.place, state.epoch);
    if (!weights) return;
    const start = network.epochs && network.array(layer.weights.kernel, network.epochs[0]), { kernel } = weights;
    const change = start && kernel.data.map((value, at) => value - start.data[at]), changed = change && less.checked;
    const of = [state.place, state.epoch, network.changes, changed].join(" ");
    const { filters, twins } = learn(changed ? { ...kernel, data: change } : kernel, of);
    const [rows, columns, channels] = kernel.shape, colour = channels === 3 && colours.checked;
    lessLabel.hidden = !change;
    coloursLabel.hidden = channels !== 3;
    innerLabel.hidden = channels === 1;
    inner.max = String(channels - 1);
    const chosen = filters[state.channel], scaleOfAll = Math.max(...filters.map((one) => largestOf(one.numbers))) || 1;
    const channel = clamp(state.inner, 0, channels - 1);
    const likeness = order.selectedIndex === 2 ? filters.map((one) => cosine(one, chosen)) : [];
    shown = filters.slice(0, MOST_TILES);
    if (order.selectedIndex === 1) shown.sort((one, two) => two.norm - one.norm);
    if (order.selectedIndex === 2) shown.sort((one, two) => likeness[two.filter] - likeness[one.filter]);
    tiles.update(shown.map(({ filter, numbers, norm }) => {
      const scale = ownScale.checked ? largestOf(numbers) || 1 : scaleOfAll;
      const shade = (/** @type {number} */ at) => Math.round(127.5 + 127.5 * clamp(numbers[at] / scale, -1, 1));
      return {
        label: `kernel ${filter}, norm ${format(norm)}`,
        paint: (canvas) => paint(canvas, rows, columns, (place) => colour
          ? pixel(shade(3 * place), shade(3 * place + 1), shade(3 * place + 2))
          : divergingPixel(numbers[place * channels + channel] / scale)),
      };
    }), shown.findIndex(({ filter }) => filter === state.channel));
    tell(filters, twins, { changed: Boolean(changed), colour });
    distance.textContent = change && start
      ? `Distance of this layer's kernels from their initial weights: ${(normOf(change) / normOf(start.data)).toFixed(2)} times the norm of the initial weights.` : "";
  }

  /** @type {(filters: Filter[], twins: number, how: { changed: boolean, colour: boolean }) => void} */
  function tell(filters, twins, { changed, colour }) {
    const norms = filters.map((one) => one.norm).sort((a, b) => a - b), pairs = (shown.length * (shown.length - 1)) / 2;
    message.textContent = [
      changed ? "The change since the initial weights." : "",
      colour ? "Red, green and blue are the weights of the three input channels, grey is zero." : "Blue is negative, white zero, orange positive.",
      `Norms from ${format(norms[0])} to ${format(norms[norms.length - 1])}; ${twins} of ${pairs.toLocaleString("en")} pairs nearly alike (cosine above ${ALIKE}).`,
      shown.length < filters.length ? `${shown.length} of ${filters.length.toLocaleString("en")} kernels are drawn.` : "",
    ].filter(Boolean).join(" ");
  }

  return {
    element: make("div", {}, make("div", { className: "controls" }, make("label", {}, "Order", order),
      make("label", {}, ownScale, "each on its own scale"), lessLabel, coloursLabel, innerLabel), tiles.element, message, distance),
    draw,
    lookAt,
  };
}

// The reader's own images, made what the network takes: in this page, and sent nowhere.

/** How bright a colour is as grey, as ITU-R 601 and Pillow's "L" have it: 76 for pure red, 29 for pure blue.
 * @type {(red: number, green: number, blue: number) => number} */
const luma = (red, green, blue) => (19595 * red + 38470 * green + 7471 * blue) / 65536;

/** A colour as the channels of a network: grey for one, red, green and blue for three. Of other numbers, those that
 *  there are in that order, and 255 for what is left (opaque, where it is opacity).
 * @type {(rgb: number[], channels: number) => number[]} */
function inChannels([red, green, blue], channels) {
  const colours = channels < 3 ? [luma(red, green, blue)] : [red, green, blue];
  return Array.from({ length: channels }, (_, c) => Math.round(colours[c] ?? 255));
}

/** The pixels that make up each of `output` pixels along a side of `input`, [first, end) each: those whose centres lie
 *  in it, as Pillow's BOX has them.
 * @type {(input: number, output: number) => [number, number][]} */
function boxes(input, output) {
  const scale = input / output, reach = Math.max(scale, 1) / 2;
  return Array.from({ length: output }, (_, at) => {
    const centre = (at + 0.5) * scale;
    const first = Math.max(Math.floor(centre - reach + 0.5), 0), end = Math.min(Math.floor(centre + reach + 0.5), input);
    return [first, Math.max(end, first + 1)];
  });
}

/** The mean colours of an image's areas, 0 to 255, height × width × 3. Transparent parts lie on white. Works from band
 *  to band, so that a photograph of any size needs little memory and leaves the page alive.
 * @type {(image: ImageBitmap, height: number, width: number, middle: boolean) => Promise<Float32Array>} */
async function averaged(image, height, width, middle) {
  const fit = Math.min(image.width / width, image.height / height);
  const [wide, high] = middle ? [Math.round(fit * width), Math.round(fit * height)] : [image.width, image.height];
  const left = Math.floor((image.width - wide) / 2), top = Math.floor((image.height - high) / 2);
  const columns = boxes(wide, width), found = new Float32Array(height * width * 3), canvas = make("canvas");
  let begun = performance.now();
  for (const [row, [first, end]] of boxes(high, height).entries()) {
    const rows = end - first;
    Object.assign(canvas, { width: wide, height: rows });  // which empties it
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
    context.fillStyle = "#fff";
    context.fillRect(0, 0, wide, rows);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, left, top + first, wide, rows, 0, 0, wide, rows);
    const { data } = context.getImageData(0, 0, wide, rows);
    columns.forEach(([from, to], column) => {
      const sums = [0, 0, 0];
      for (let y = 0; y < rows; y++) {
        for (let at = 4 * (y * wide + from), last = 4 * (y * wide + to); at < last; at += 4) {
          sums[0] += data[at];
          sums[1] += data[at + 1];
          sums[2] += data[at + 2];
        }
      }
      found.set(sums.map((sum) => sum / (rows * (to - from))), 3 * (row * width + column));
    });
    if (performance.now() - begun > 12) {
      await new Promise((then) => setTimeout(then));
      begun = performance.now();
    }
  }
  return found;
}

/** A file as the network's image, numbers from 0 to 255 in its shape. middle: take the middle of the image in the
 *  network's proportions, not all of it. An image is turned as its camera says; of several, such as a GIF's, the first
 *  is taken. Rejects where the browser can't read the file.
 * @type {(file: Blob, shape: number[], middle: boolean) => Promise<Float32Array>} */
async function readImage(file, [height, width, channels], middle) {
  const image = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  try {
    const colours = await averaged(image, height, width, middle), found = new Float32Array(height * width * channels);
    for (let at = 0; at < height * width; at++) {
      found.set(inChannels(Array.from(colours.subarray(3 * at, 3 * at + 3)), channels), at * channels);
    }
    return found;
  } finally {
    image.close();
  }
}

// The reader's own image: drawn with a pen, or from a file.

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
function makeOwn(lens) {
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

// Which images a filter responds to most, and which filters never respond.

/** @typedef {import("../types.d.ts").Lens} Lens */

const FEW_IMAGES = 5;

/** The layer whose numbers are a filter's response: the one shown, or the last of the batch norm and activation after it.
 * @param {Lens} lens */
const respondingPlace = ({ layers, state }) => following(layers, state.place).at(-1) ?? state.place;

/** @param {Lens} lens */
function makeResponses(lens) {
  const title = lens.heading("Images to which the filter responds most"), dead = make("p", {});
  const most = make("div", { className: "tiles", role: "group", "aria-label": "Images to which the filter responds most" });
  return {
    element: make("div", {}, title, most, dead),
    draw() {
      const { responses, state, layers } = lens, ready = responses.length > 0 && state.channel < responses[0].length;
      title.hidden = most.hidden = layers[state.place].kind !== "conv" || !lens.count;
      most.replaceChildren();
      dead.textContent = title.hidden || ready || !lens.outputs[respondingPlace(lens)] ? "" : `Computing all ${lens.count} images …`;
      if (!ready) return;
      const order = responses.map((found, image) => ({ image, ...found[state.channel] })).sort((a, b) => b.most - a.most);
      for (const { image, most: value, row, column } of order.slice(0, FEW_IMAGES)) {
        const canvas = make("canvas", { ariaHidden: "true" });
        paintImage(canvas, lens.imageOf(image));
        const button = makeButton(format(value), () => void lens.set({ image, row, column }),
          { ariaLabel: `image ${image}, largest response ${format(value)}` });
        button.prepend(canvas);
        most.append(button);
      }
      const end = layers[respondingPlace(lens)];
      if (end.kind === "conv" && (end.activation ?? "linear") === "linear") return;  // it responds to every image, up or down
      const never = [...responses[0].keys()].filter((filter) => responses.every((found) => found[filter].most <= 0));
      dead.textContent = `${never.length} of ${responses[0].length} filters never respond to these ${lens.count} images` +
        `${never.length ? `: ${never.join(", ")}` : ""}.`;
    },
  };
}

// The arithmetic behind a number, in words.

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
const indexOf = ({ shape }, { row, column, channel }) =>
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
function explain(network, state, outputs) {
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
function explainNext(network, state, outputs) {
  const at = indexOf(/** @type {Tensor} */ (outputs[state.place]), state);
  return following(network.layers, state.place).flatMap((place) => {
    const out = outputs[place];
    return out ? [`then ${network.layers[place].name}: ${format(out.data[at])}`] : [];
  });
}

// How the chosen number comes about.

/** @typedef {import("../types.d.ts").Lens} Lens */

const MOST_CELLS = 121;  // of a window that is shown as a table
const QUIET = 700;  // milliseconds after the last change, before it is read out

/** @param {Lens} lens
 *  @param {(inner: number) => void} onInner */
function makeSum(lens, onInner) {
  const sum = make("div", { className: "sum" }), most = make("div", { className: "controls", role: "group", "aria-label": "Where most comes from" });
  const seen = makeGrid(false), kernel = makeGrid(true), grids = make("div", { className: "grids" }, seen.element, kernel.element);
  const spoken = make("p", { className: "spoken", role: "status" });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;

  /** Have a number read out, once the reader has stopped moving.
   * @param {string} text */
  function say(text) {
    clearTimeout(waiting);
    waiting = setTimeout(() => { spoken.textContent = text; }, QUIET);
  }

  return {
    element: make("div", {}, sum, most, grids, spoken),
    draw() {
      const { state, layers, outputs } = lens, layer = layers[state.place], out = outputs[state.place];
      sum.hidden = most.hidden = grids.hidden = !out;
      if (!out) {
        sum.replaceChildren();
        return;
      }
      const found = explain(lens.network, state, outputs);
      const where = lens.isMap() ? ` at row ${state.row}, column ${state.column}` : "";
      const title = `${layer.name}, channel ${state.channel}${where}: `;
      const next = ["conv", "dense"].includes(layer.kind) ? explainNext(lens.network, state, outputs) : [];
      sum.replaceChildren(make("p", { className: "value" }, title, make("strong", {}, format(found.value))),
        ...[...found.lines, ...next].map((text) => make("p", {}, text)));
      say(title + format(found.value));
      most.replaceChildren(...(found.most.length ? ["Most comes from input channels"] : []), ...found.most.map((one) =>
        makeButton(`${one.channel}: ${format(one.sum)}`, () => onInner(one.inner),
          { ariaLabel: `look at input channel ${one.channel}, ${format(one.sum)}` })));
      const [part] = found.parts, shown = part && part.rows * part.columns <= MOST_CELLS;
      seen.element.hidden = !shown;
      kernel.element.hidden = !shown || !part.kernel;
      if (!shown) return;
      const { channel, window, rows, columns } = part;
      seen.update(window, rows, columns, `window, input channel ${channel}`);
      if (!part.kernel) return;
      const [, , channels, filters] = layer.kernel_shape, inner = channel % channels, filter = state.channel;
      kernel.update(part.kernel, rows, columns, `kernel, filter ${filter}`, (at, value) =>
        lens.edit((numbers) => { numbers[(at * channels + inner) * filters + filter] = value; }));
    },
  };
}

// Where the work is done: in a worker, or, where the browser or its host gives none, in the page, in slices.

/** @typedef {import("./types.d.ts").Answer} Answer
 *  @typedef {import("./types.d.ts").Question} Question */

/** What a worker does; it is given the modules that it needs, since it can import none.
 * @param {{ Runner: typeof Runner }} modules */
function work(modules) {
  const { port1, port2 } = new MessageChannel();  // unlike setTimeout's, its turns have no shortest time
  /** @type {(() => void)[]} */
  const turns = [];
  port1.onmessage = () => turns.shift()?.();
  const soon = (/** @type {() => void} */ next) => {
    turns.push(next);
    port2.postMessage(null);
  };
  /** @type {Runner} */
  let runner;
  onmessage = ({ data: question }) => {
    if (question.what === "open") runner = new modules.Runner(question.data, (answer) => postMessage(answer), soon);
    else runner.take(question);
  };
}

/** Start the work on a network; answer is given what it finds. Returns what questions go to, what ends it, and where it
 *  is done: a worker that fails before it has said that it is ready is replaced by the page.
 * @param {import("./types.d.ts").Payload} data
 * @param {(answer: Answer) => void} answer
 * @param {boolean} mayUseWorker */
function startWork(data, answer, mayUseWorker) {
  /** Questions that no worker has taken yet. @type {Question[] | null} */
  let unheard = [];
  /** @type {Worker | null} */
  let worker = null;
  const found = { post, stop: () => worker?.terminate(), where: "page" };
  const inPage = () => {
    const runner = new Runner(data, answer, (next) => setTimeout(next));
    found.post = (question) => runner.take(question);
    found.where = "page";
    unheard?.forEach(found.post);
    unheard = null;
  };
  /** @param {Question} question */
  function post(question) {
    unheard?.push(question);
    worker?.postMessage(question);
  }
  if (!mayUseWorker) {
    inPage();
    return found;
  }
  try {
    const address = URL.createObjectURL(new Blob([`(${work})((${workerModules})());`], { type: "text/javascript" }));
    worker = new Worker(address);
    found.where = "worker";
    worker.onmessage = ({ data: answered }) => {
      if (answered.what === "ready") {
        unheard = null;
        URL.revokeObjectURL(address);
      }
      answer(answered);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      if (unheard) inPage();
    };
    worker.postMessage({ what: "open", data });
  } catch {
    inPage();
  }
  return found;
}

// One lens: its state, the work it asks for, and when which view is drawn.

/** @typedef {import("./types.d.ts").Lens} Lens
 *  @typedef {import("./types.d.ts").Payload} Payload
 *  @typedef {import("./types.d.ts").State} State
 *  @typedef {import("./types.d.ts").Tensor} Tensor */

const PATIENCE = 80;  // milliseconds of a pass, after which a bar tells of it

/** Draw the lens into an element; returns what a page may ask of it.
 * @param {HTMLElement} el
 * @param {Payload} data
 * @param {import("./types.d.ts").Options} options */
function render(el, data, options = {}) {
  const network = new Network(data), layers = network.layers, [count, ...shape] = data.images.shape;
  const root = el.shadowRoot ?? el.attachShadow({ mode: "open" });
  const bytes = decodeBytes(data.images), many = shape.reduce((product, side) => product * side, 1);
  const state = firstState(data), writeAddress = addressWriter();
  const hash = options.hash ? location.hash : "";

  /** @type {Lens} */
  const lens = {
    data, network, layers, state, count, root, set, edit, ownChanged, redraw,
    epochs: network.epochs ?? [null],
    own: { shape, data: new Float32Array(many).fill(255) },
    outputs: [],
    trained: null,
    responses: [],
    placed: false,
    imageOf: (number) => number === count ? lens.own
      : { shape, data: Float32Array.from(bytes.subarray(number * many, (number + 1) * many)) },
    nameOf: (number) => number === count ? "your own"
      : data.labels ? data.classes?.[data.labels[number]] ?? `class ${data.labels[number]}` : `image ${number}`,
    heading: (text) => make(options.hash ? "h2" : "h3", { className: "head" }, text),
    isMap: () => layers[state.place].shape.length === 3,
  };

  // Work is numbered: what is found for a pass that another has followed is kept but not drawn.
  let asked = 0, busy = false, heard = "", round = 0;
  const work = startWork(data, take, !/[#&]worker=no(&|$)/.test(location.hash));

  /** @param {import("./types.d.ts").Answer} answer */
  function take(answer) {
    if (answer.what === "show") {
      lens.outputs = [...lens.outputs.slice(0, answer.from), ...answer.outputs];
      lens.trained = answer.trained;
      if (answer.id !== asked) return;
      busy = false;
      redraw("strip", "layer", "kernels", "classes", "point", "background");
      flush();
    } else if (answer.what === "share") bar.value = answer.share;
    else if (answer.what === "failed") {
      failure.textContent = `The lens could not compute this network: ${answer.why}.`;
      busy = false;
      tellBusy();
    }
    else if (answer.what === "judge" && answer.id === round) views.edit.judge(answer.right);
    else if (answer.what === "listen" && answer.id === round) {
      lens.responses = answer.found;
      redraw("responses");
    }
  }

  /** Ask for all outputs anew; until they are there what was drawn stays, after a while pale. */
  function pass() {
    if (!busy) setTimeout(tellBusy, PATIENCE);
    busy = true;
    work.post({ what: "show", id: ++asked, image: lens.imageOf(state.image).data.slice(), epoch: state.epoch });
  }

  /** Ask what every filter responds to, and, of an edited network, how many images it classifies correctly. */
  function background() {
    const end = respondingPlace(lens), { place, epoch, range } = state, id = round + 1;
    const about = [place, epoch, range, network.changes].join(" ");
    if (heard === about) return;
    [heard, round] = [about, id];
    lens.responses = [];
    redraw("responses");
    views.edit.judge(null);
    work.post({ what: "stop" });
    if (layers[place].kind === "conv" && lens.outputs[end] && count) work.post({ what: "listen", id, epoch, end });
    if (network.edited(epoch) && data.labels && data.head.exclusive) work.post({ what: "judge", id, epoch });
  }

  // Drawing: once a frame, whatever has changed since the last. A pass is asked for at once, unless one is under way.
  /** @type {Set<string>} */
  const changed = new Set();
  /** @type {(() => void)[]} */
  let waiting = [];
  let due = false;

  /** @param {string[]} parts */
  function redraw(...parts) {
    parts.forEach((part) => changed.add(part));
    if (!busy && changed.delete("pass")) pass();
    if (due) return;
    due = true;
    if (document.hidden) setTimeout(flush);
    else requestAnimationFrame(flush);
  }

  function flush() {
    due = false;
    if (changed.delete("image")) {
      views.seen.draw();
      views.choice.choose();
      views.epochs.draw();
    }
    if (changed.delete("own")) {
      views.own.draw();
      views.choice.draw();
    }
    if (changed.delete("pass")) pass();
    if (!busy) drawFound();
    if (busy || changed.size) return;
    tellBusy(false);
    const done = waiting;
    waiting = [];
    done.forEach((then) => then());
  }

  /** Draw what has changed of what a pass finds. */
  function drawFound() {
    lookAtStrongest();
    if (changed.delete("strip")) views.strip.draw();
    else if (changed.has("layer")) views.strip.choose();
    if (changed.delete("layer")) views.map.draw();
    if (changed.delete("classes")) views.classes.draw();
    if (changed.delete("kernels")) {
      const shown = layers[state.place].kind === "conv" && network.weights(state.place, state.epoch) !== null;
      gallery.hidden = !shown;
      if (shown) {
        views.kernels.draw();
        views.edit.draw();
      }
    }
    if (changed.delete("background")) background();
    if (changed.delete("responses")) views.responses.draw();
    if (changed.delete("point")) {
      views.sum.draw();
      views.seen.drawField();
      views.map.drawSpot();
    }
  }

  function tellBusy(shown = busy) {
    bar.hidden = !shown;
    body.ariaBusy = String(shown);
  }

  /** Look at the chosen channel's strongest pixel, unless one is chosen. */
  function lookAtStrongest() {
    const out = lens.outputs[respondingPlace(lens)];
    if (lens.placed || !out || !lens.isMap()) return;
    lens.placed = true;
    const { row, column } = strongest(out)[state.channel];
    Object.assign(state, { row, column });
    options.onChange?.(state);
  }

  /** Change some of the state; what depends on it is drawn in the next frame. Resolves when it is.
   * @type {Lens["set"]} */
  function set(changes, quietly = false) {
    const before = { ...state }, place = changes.place ?? state.place;
    Object.assign(state, sameSpot(before, layers[before.place].shape, layers[place]?.shape ?? []), changes);
    if (!lens.epochs.includes(state.epoch)) state.epoch = before.epoch;
    keepWithin(state, layers, count);
    lens.placed = lens.isMap() && (lens.placed || "row" in changes || "column" in changes);
    const other = (/** @type {(keyof State)[]} */ ...names) => names.some((name) => state[name] !== before[name]);
    if (other("range")) {
      work.post({ what: "range", range: state.range });
      redraw("own");
    }
    if (other("image", "epoch", "range")) redraw("image", "pass");
    if (other("place", "channel", "inner")) redraw("layer", "kernels", "responses");
    if (other("place")) redraw("background");
    redraw("point");
    if (options.hash) writeAddress(state);
    if (!quietly) options.onChange?.(state);
    return ready();
  }

  /** Resolves when everything asked for so far is computed and drawn. */
  function ready() {
    return new Promise((/** @type {(value: void) => void} */ then) => {
      waiting.push(then);
      redraw();
    });
  }

  /** @type {Lens["edit"]} */
  function edit(change) {
    const { place, epoch } = state;
    if (change) {
      const edited = network.changed(place, epoch, change);
      network.edit(place, epoch, edited);
      work.post({ what: "edit", place, epoch, edit: edited });
    } else {
      network.reset();
      work.post({ what: "reset" });
    }
    redraw("pass", "kernels");
  }

  /** @type {Lens["ownChanged"]} */
  function ownChanged(quietly = false) {
    redraw("own", "image");
    if (state.image === count) redraw("pass");
    void set({ image: count }, quietly);
  }

  const views = {
    strip: makeStrip(lens), choice: makeChoice(lens), own: makeOwn(lens), seen: makeSeen(lens), classes: makeClasses(lens),
    epochs: makeEpochs(lens), map: makeMap(lens), kernels: makeKernels(lens), edit: makeEdit(lens), responses: makeResponses(lens),
    sum: makeSum(lens, (inner) => views.kernels.lookAt(inner)),
  };
  const bar = make("progress", { max: 1, value: 0, hidden: true, ariaLabel: "Computing" });
  const failure = make("p", { className: "failure", role: "alert" });
  const panel = (/** @type {string} */ className, /** @type {(Node | string | null)[]} */ ...children) =>
    make("section", { className: `panel ${className}` }, ...children);
  const { heading } = lens;
  const gallery = make("div", { className: "pair" },
    panel("", heading("Kernels"), views.kernels.element),
    panel("", heading("Edit the chosen kernel, all its input channels"), views.edit.element, views.responses.element));
  const body = make("div", { className: "body" },
    make("div", { className: "looking" },
      panel("", heading("Image"), views.seen.element, views.classes.element),
      panel("", heading("Output of the layer"), views.map.element),
      panel("", heading("How the number comes about"), views.sum.element)),
    panel("", heading("Channels"), views.map.channels), gallery);
  const notes = [...data.notes, ...(data.rounded === "8 bits" ? ["So that the page stays small, kernels are rounded to 8 bits."] : [])];
  const element = make("div", { className: "lens" },
    make(options.hash ? "h1" : "h2", { className: "title" }, data.title), ...notes.map((text) => make("p", { className: "hint" }, text)),
    panel("", make("div", { className: "controls" }, views.strip.list, views.epochs.element, views.own.range, bar), views.strip.element, views.map.note, failure),
    panel("", views.choice.element, views.own.element), body);
  root.replaceChildren(make("style", {}, STYLE), element);
  el.setAttribute("data-lm-suppress-shortcuts", "true");  // JupyterLab's own keys rest while the keyboard is in here
  element.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();  // and so do those of other hosts
  });
  void set(fromAddress(state, hash));
  redraw("image", "own", ...(busy ? [] : ["pass"]));
  return {
    state, set, network, count, ready, own: lens.own, stop: work.stop,
    outputs: () => lens.outputs,
    where: () => work.where,
    /** Draw at once what is due, as the next frame would. */
    flush,
    /** Take another lens's own image, where it has this one's size.
     * @param {Tensor} image */
    takeOwn(image) {
      if (String(image.shape) !== String(shape)) return;
      lens.own.data.set(image.data);
      ownChanged(true);
    },
  };
}

// The kernel lens: one module without dependencies, for a notebook (anywidget) and for a page that stands alone.

/** @typedef {import("./types.d.ts").Payload} Payload
 *  @typedef {ReturnType<typeof render>} Shown */

/** Two lenses side by side; where one is looked at, the other follows: the same image, the reader's own too, the layer
 *  of the same name, the same part of the map, and the epoch, where both have kept the same ones.
 * @param {HTMLElement} el
 * @param {Payload[]} both */
function compare(el, both) {
  /** @type {Shown[]} */
  const shown = [];
  both.forEach((data, number) => {
    const panel = el.appendChild(make("section", { ariaLabel: data.title }));
    shown.push(render(panel, data, {
      onChange: ({ place, row, column, channel, image, epoch }) => {
        const one = shown[number], other = shown[1 - number];
        if (!other || !one) return;
        if (image === one.count && String(one.own.data) !== String(other.own.data)) other.takeOwn(one.own);
        const from = one.network.layers[place], layers = other.network.layers;
        const same = layers.findIndex((layer) => layer.name === from.name), to = layers[same < 0 ? other.state.place : same];
        /** @type {Partial<import("./types.d.ts").State>} */
        const changes = sameSpot({ row, column }, from.shape, to.shape);
        changes.image = image === one.count ? other.count : Math.min(image, Math.max(other.count - 1, 0));
        if (String(one.network.epochs) === String(other.network.epochs)) changes.epoch = epoch;
        void other.set(same < 0 ? changes : { ...changes, place: same, channel }, true);
      },
    }));
  });
  void shown[0].set({});  // the other opens where the first does
  el.style.cssText = "display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr));";
  return shown;
}

/** One lens or, of a list, two beside each other.
 * @param {HTMLElement} el
 * @param {Payload | Payload[]} data
 * @param {import("./types.d.ts").Options} options */
function start(el, data, options) {
  return Array.isArray(data) ? compare(el, data) : render(el, data, options);
}

/** What a notebook asks for: anywidget's door. It is given back what ends the lens. */
export default {
  /** @param {{ model: { get: (name: string) => any }, el: HTMLElement }} asked */
  render({ model, el }) {
    const shown = start(el.appendChild(make("div")), model.get("data"), {});
    return () => [shown].flat().forEach((one) => one.stop());
  },
};
