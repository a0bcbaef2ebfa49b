// Built from js/ by `make lens-script`: change the modules there, not this file.

// Numbers as payload.py's `encode` writes them.

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
const DIGITS = new Uint8Array(128);
for (let digit = 0; digit < 85; digit++) DIGITS[LETTERS.charCodeAt(digit)] = digit;

/** Bytes of a text in base 85, as payload.py's `encode` writes it. */
function bytesOf(text) {
  const many = Math.floor((text.length * 4) / 5), bytes = new Uint8Array(many + 4);
  for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
    let word = 0;
    for (let at = from; at < from + 5; at++) word = word * 85 + (at < text.length ? DIGITS[text.charCodeAt(at)] : 84);
    bytes.set([word / 2 ** 24, word >>> 16, word >>> 8, word], to);
  }
  return bytes.slice(0, many);
}

/** The numbers of an array that payload.py's `encode` wrote: Float32Array, or Uint8Array of bytes. */
function decode({ dtype, data, scale, shape }) {
  const bytes = bytesOf(data);
  if (dtype === "u1") return bytes;
  if (dtype === "i1") {
    const scales = decode(scale), filters = shape.at(-1), each = bytes.length / shape[0];
    return Float32Array.from(new Int8Array(bytes.buffer),
      (number, at) => number * scales[Math.floor(at / each) * filters + (at % filters)]);
  }
  const view = new DataView(bytes.buffer), numbers = new Float32Array(bytes.length / (dtype === "f4" ? 4 : 2));
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = dtype === "f4" ? view.getFloat32(4 * i, true) : half(view.getUint16(2 * i, true));
  }
  return numbers;
}

function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// Activations, by Keras's names.

/** The error function, to some 1e-15: a series near zero, a continued fraction beyond. */
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

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const clip = (x, low, high) => Math.min(Math.max(x, low), high);

/** Functions of one number, by Keras's names, and their parameters; softmax, of all channels, is apart. */
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

/** The function of one number that a layer applies last; null for none, and for those that need more than one. */
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
  return layer.operands.map(({ input, weight, value }) =>
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

// The operations: what a layer computes of its inputs.
//
// A network is a list of layers as payload.py describes them. Maps are Float32Arrays in Keras's order, height × width ×
// channels; sums are kept in double precision, so that results agree with Keras's up to its own rounding.

/** @typedef {import("./types.d.ts").Layer} Layer */
/** @typedef {import("./types.d.ts").Tensor} Tensor */
/** @typedef {import("./types.d.ts").Weights} Weights */

/** The padding before the first pixel, for a window of `side` pixels, `dilation` apart: TensorFlow's SAME puts the odd
 *  one at the end. */
function padBefore(padding, input, output, side, stride, dilation) {
  if (padding !== "same") return 0;
  const reach = (side - 1) * dilation + 1;
  return Math.floor(Math.max((output - 1) * stride + reach - input, 0) / 2);
}

/** How a convolution's or a pool's window moves: rows and columns of the output, height and width of the window, steps
 *  down and to the right, distances within it, the padding above and to the left, and how far apart the input's pixels
 *  lie, with zeros between: 1, but for a transposed convolution. */
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

/** Which row of the input lies under a row of a window, or column; below zero for none: padding, or a zero between. */
function under(place, input, spread) {
  return place >= 0 && place % spread === 0 && place < input * spread ? place / spread : -1;
}

/** One row of a convolution's output, written into `out`. */
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

/** A convolution, row by row: yields after each. */
function* conv(layer, [x], weights) {
  const g = geometry(layer, x.shape, weights.kernel.shape), out = new Float32Array(size(layer.shape));
  for (let row = 0; row < g.rows; row++) {
    convRow(layer, x, weights, g, row, out);
    yield (row + 1) / g.rows;
  }
  return out;
}

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

function dense(layer, [x], weights) {
  const [inputs, units] = weights.kernel.shape, places = x.data.length / inputs;
  const out = new Float32Array(places * units), sums = new Float64Array(units);
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

/** A batch norm as y = factor · x + offset, by channel: {factor, offset}. */
function normAsLine(layer, weights) {
  const channels = weights.mean.data.length;
  const factor = Float64Array.from({ length: channels }, (_, c) =>
    (weights.gamma ? weights.gamma.data[c] : 1) / Math.sqrt(weights.variance.data[c] + layer.epsilon));
  const offset = factor.map((each, c) => (weights.beta ? weights.beta.data[c] : 0) - each * weights.mean.data[c]);
  return { factor, offset };
}

function line(x, factor, offset) {
  const many = factor.length, more = offset.length;
  return x.data.map((value, i) => value * factor[i % many] + offset[i % more]);
}

/** Where the pixels of an enlarged or reduced side come from: [first, second, weight of the second] each. */
function sources(input, output, how) {
  return Array.from({ length: output }, (_, i) => {
    if (how === "nearest") {
      const from = Math.min(Math.floor(((i + 0.5) * input) / output), input - 1);
      return [from, from, 0];
    }
    const place = Math.fround(Math.fround((i + 0.5) * Math.fround(input / output)) - 0.5);
    const from = Math.floor(place), clamp = (at) => Math.min(Math.max(at, 0), input - 1);
    return [clamp(from), clamp(from + 1), place - from];
  });
}

/** A number between two. */
const between = (first, second, share) => first + (second - first) * share;

function resize(layer, [x]) {
  if (layer.how === "weights") return resample(layer, x);
  const [height, width, channels] = x.shape, [rows, columns] = layer.shape;
  const down = sources(height, rows, layer.how), right = sources(width, columns, layer.how);
  const out = new Float32Array(size(layer.shape));
  let at = 0;
  for (const [up, low, v] of down) {
    for (const [near, far, u] of right) {
      for (let c = 0; c < channels; c++, at++) {
        const pick = (y, z) => x.data[(y * width + z) * channels + c];
        out[at] = between(between(pick(up, near), pick(up, far), u), between(pick(low, near), pick(low, far), u), v);
      }
    }
  }
  return out;
}

/** A map whose rows and columns are weighted sums of another's: [first, shares] for each. */
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

/** Of numbers, `channels` at a time, the softmax. */
const softmax = (data, channels) => softmaxOver({ shape: [data.length / channels, channels], data }, [1], false);

const same = (layer, [x]) => x.data.slice();

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

/** A layer's output: {shape, data}. inputs: maps; weights: name → {shape, data}. Tells what share of it is done. */
function* compute(layer, inputs, weights) {
  let data = KINDS[layer.kind](layer, inputs, weights);
  if (layer.kind === "conv") data = yield* data;
  const { shape, activation } = layer, last = shape.length - 1;
  if (activation === "softmax" || activation === "log_softmax") {
    data = softmaxOver({ shape, data }, [last], activation === "log_softmax");
  }
  const each = activationOf(layer);
  if (each) data = data.map((value) => each(value));
  return { shape, data };
}

/** What a layer costs, in multiply-adds or numbers written. */
function costOf(layer, layers) {
  const many = size(layer.shape);
  if (layer.kind === "conv") return many * layer.kernel_shape[0] * layer.kernel_shape[1] * layer.kernel_shape[2];
  if (layer.kind === "dense") return many * layers[layer.inputs[0]].shape.at(-1);
  return layer.kind === "einsum" ? many * layer.summed : many;
}

// Receptive fields, and the sums behind a number of a convolution.

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Kinds of layers whose numbers come from the same place of their inputs, whatever the channel. */
const LOCAL = ["activation", "dense", "identity", "join", "norm", "scale"];

/** Whether a layer that acts along axes, which are then its last one alone, leaves rows and columns apart. */
const alongChannels = ({ kind, axis, axes, groups }) =>
  kind === "concatenate" ? (axis ?? 2) === 2 : ["softmax", "standardise"].includes(kind) && !groups && String(axes) === "2";

/** The part of a layer's input that a part of its output depends on: [top, bottom, left, right], whole pixels, ends
 *  included, clipped where padding begins. A layer that is known to mix rows or columns otherwise depends on all. */
function seenBy(layer, input, [top, bottom, left, right], kernelShape) {
  const [height, width] = input, all = [0, height - 1, 0, width - 1];
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
    const reach = (taps, from, to) => {
      const some = taps.slice(from, to + 1).filter(([, shares]) => shares.length);
      return [Math.min(...some.map(([first]) => first)), Math.max(...some.map(([first, shares]) => first + shares.length - 1))];
    };
    return clipped(...reach(layer.rows, top, bottom), ...reach(layer.columns, left, right));
  }
  if (layer.kind === "resize") {
    const down = sources(height, layer.shape[0], layer.how), across = sources(width, layer.shape[1], layer.how);
    const reach = ([from, to, weight]) => [from, weight ? to : from];
    return clipped(reach(down[top])[0], reach(down[bottom])[1], reach(across[left])[0], reach(across[right])[1]);
  }
  if (layer.kind === "pad" || layer.kind === "crop") {
    const [rows, columns] = framing(layer);
    return clipped(top - rows, bottom - rows, left - columns, right - columns);
  }
  if (layer.kind === "take") {
    const reach = (places, from, to) => {
      const some = places?.slice(from, to + 1) ?? [from, to];
      return [Math.min(...some), Math.max(...some)];
    };
    return clipped(...reach(layer.indices[0], top, bottom), ...reach(layer.indices[1], left, right));
  }
  return LOCAL.includes(layer.kind) || alongChannels(layer) ? clipped(top, bottom, left, right) : all;
}

/** The part of the network's input that the output of `place` at a row and column depends on, as `seenBy`. */
function receptiveField(layers, place, row, column) {
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
 *  where a transposed convolution puts a zero between. */
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

/** A filter's weights for one of its input channels, row by row. */
function cellsOf({ shape: [rows, columns, inner, filters], data }, filter, c) {
  return Array.from({ length: rows * columns }, (_, at) => data[(at * inner + c) * filters + filter]);
}

/** How an output of a convolution comes about: each input channel's window, kernel and sum; bias and whole sum. */
function arithmetic(layer, x, { kernel, bias }, row, column, filter) {
  const [rows, columns, inner, filters] = kernel.shape, g = geometry(layer, x.shape, kernel.shape);
  const first = Math.floor(filter / (filters / layer.groups)) * inner, added = bias ? bias.data[filter] : 0;
  const parts = Array.from({ length: inner }, (_, c) => {
    const window = windowOf(g, x, row, column, first + c), cells = cellsOf(kernel, filter, c);
    return { channel: first + c, window, kernel: cells, sum: cells.reduce((sum, cell, at) => sum + cell * window[at], 0) };
  });
  return { rows, columns, parts, bias: added, sum: parts.reduce((total, part) => total + part.sum, added) };
}

// Colours, canvases and elements.

/** A colour for a number from -1 to 1: blue, white, orange; distinct for colour-blind eyes too. */
function diverging(value) {
  const v = clamp(value, -1, 1), end = v < 0 ? [33, 102, 172] : [214, 96, 4], share = Math.abs(v);
  return end.map((channel) => Math.round(255 + (channel - 255) * share));
}

/** How bright a colour is, from 0 to 1; black is read well on more than 0.179, white on less (WCAG 2). */
function luminance(colour) {
  const [red, green, blue] = colour.map((channel) => channel / 255)
    .map((share) => share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function paint(canvas, height, width, colourOf) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
  for (let at = 0; at < height * width; at++) {
    const [red, green, blue] = colourOf(at);
    pixels.data.set([red, green, blue, 255], 4 * at);
  }
  context.putImageData(pixels, 0, 0);
}

const largestOf = (numbers) => numbers.reduce((most, value) => Math.max(most, Math.abs(value) || 0), 0);

/** A channel of a map as an image. */
function paintChannel(canvas, map, channel, scale) {
  const [height, width, channels] = map.shape;
  paint(canvas, height, width, (at) => diverging(map.data[at * channels + channel] / scale));
}

function paintImage(canvas, { shape: [height, width, channels], data }) {
  paint(canvas, height, width, (at) => [0, 1, 2].map((c) => data[at * channels + Math.min(c, channels - 1)]));
}

/** An element with properties and children; text is never read as HTML. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const format = (value) => {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  return (size >= 1000 || (size && size < 0.001) ? value.toExponential(2) : value.toFixed(3)).replace("-", "−");
};

// Filters: their norms, which are alike, what they respond to, and kernels to try.

const ALIKE = 0.95;

/** The filters of a convolution: for each its numbers, by row, column and input channel, and their norm. */
function filtersOf({ shape: [rows, columns, inner, filters], data }) {
  return Array.from({ length: filters }, (_, filter) => {
    const numbers = Float32Array.from({ length: rows * columns * inner }, (_, at) => data[at * filters + filter]);
    return { filter, numbers, norm: normOf(numbers) };
  });
}

const normOf = (numbers) => Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0));

const cosine = (one, two) =>
  one.numbers.reduce((sum, value, at) => sum + value * two.numbers[at], 0) / (one.norm * two.norm || 1);

/** How many pairs of filters point the same way, nearly. */
function nearTwins(filters) {
  let found = 0;
  for (let one = 0; one < filters.length; one++) {
    for (let two = 0; two < one; two++) found += cosine(filters[one], filters[two]) > ALIKE;
  }
  return found;
}

/** Kernels to try, for any side: how much the pixel at (a, b) of `rows` × `columns` counts. */
const PRESETS = {
  zero: () => 0,
  negative: (a, b, rows, columns, old) => -old,
  identity: (a, b, rows, columns) => Number(a === Math.floor(rows / 2) && b === Math.floor(columns / 2)),
  blur: (a, b, rows, columns) => 1 / (rows * columns),
  "Sobel, upright": (a, b, rows, columns) => Math.sign(b - (columns - 1) / 2) * (1 + Number(2 * a === rows - 1)) / rows,
  "Sobel, level": (a, b, rows, columns) => Math.sign(a - (rows - 1) / 2) * (1 + Number(2 * b === columns - 1)) / columns,
};

/** The batch norm and the activation that a convolution's numbers go through next, where nothing else uses them. */
function following(layers, place) {
  const users = layers.flatMap((layer, at) => (layer.inputs.includes(place) ? [at] : [])), [next] = users;
  if (users.length !== 1 || !["norm", "activation"].includes(layers[next].kind)) return [];
  return [next, ...following(layers, next)];
}

/** The largest number of every channel of a map, and where it is: { most, row, column }, the first of equal ones; of a
 *  channel that is NaN, NaN. */
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

/** The spot of a map of shape `to` that lies where another does in one of shape `from`; where one is no map, the first. */
function sameSpot({ row, column }, from, to) {
  const maps = from.length === 3 && to.length === 3;
  const [down, right] = [row, column].map((at, side) => (maps ? Math.floor(((at + 0.5) / from[side]) * to[side]) : 0));
  return { row: down, column: right };
}

// The arithmetic behind a number, in words.

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
function explain(network, state, outputs) {
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
function explainNext(network, state, outputs) {
  const at = indexOf(outputs[state.place], state);
  return following(network.layers, state.place).filter((place) => outputs[place]).map((place) =>
    `then ${network.layers[place].name}: ${format(outputs[place].data[at])}`);
}

// The forward pass, all at once or in slices of time.

/** The outputs of all layers up to `end`; null where a layer is unknown, lacks its weights, or comes after one that does.
 *
 *  image: {shape, data}. weightsOf: the place of a layer → its weights, or null. before: outputs that still hold, up
 *  to the first layer that has changed. Tells now and then what share of the work is done. */
function* forward(layers, image, weightsOf, { before = [], changed = 0, end = layers.length - 1 } = {}) {
  const outputs = before.slice(0, changed), costs = layers.map((layer) => costOf(layer, layers));
  const all = costs.slice(outputs.length, end + 1).reduce((sum, cost) => sum + cost, 0);
  for (let place = outputs.length, done = 0; place <= end; done += costs[place++]) {
    const layer = layers[place], inputs = layer.inputs.map((from) => outputs[from]);
    const weights = layer.kind === "unknown" || inputs.includes(null) ? null : weightsOf(place);
    if (layer.kind === "input") outputs.push(image);
    else if (!weights) outputs.push(null);
    else {
      const steps = compute(layer, inputs, weights);
      let step = steps.next();
      for (; !step.done; step = steps.next()) yield (done + step.value * costs[place]) / all;
      outputs.push(step.value);
    }
  }
  return outputs;
}

/** What a generator returns, all at once. */
function finish(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

const SLICE = 8;  // milliseconds; a frame has sixteen

/** What a generator returns, given to `then`, a slice of time after another, so that the page stays alive; returns what
 *  gives it up. tell: is called with what the generator yields. */
function inSlices(steps, then, tell = () => {}) {
  let given = false;
  const next = () => {
    if (given) return;
    const begun = performance.now();
    let step = steps.next();
    while (!step.done && performance.now() - begun < SLICE) step = steps.next();
    if (step.done) return then(step.value);
    tell(step.value);
    setTimeout(next);
  };
  setTimeout(next);
  return () => { given = true; };
}

// A network with its weights, by epoch and as edited.

/** data: what payload.py's `payload` wrote. */
class Network {
  constructor(data) {
    this.layers = data.layers;
    this.epochs = data.epochs;
    this.stored = data.arrays;
    this.numbers = new Map();
    this.edits = new Map();
    this.changes = 0;  // how often the reader has edited
  }

  /** A weight at an epoch, {shape, data}; null where it wasn't recorded. */
  array(path, epoch) {
    const stored = this.stored[path], recorded = stored.epochs ?? null;
    const place = recorded ? recorded.indexOf(epoch) : 0;
    if (place < 0) return null;
    if (!this.numbers.has(path)) this.numbers.set(path, decode(stored));
    const shape = recorded ? stored.shape.slice(1) : stored.shape, many = size(shape);
    return { shape, data: this.numbers.get(path).subarray(place * many, (place + 1) * many) };
  }

  /** A layer's weights, name → {shape, data}, with what the reader has edited, or as trained; null where one wasn't
   *  recorded. */
  weights(place, epoch, asTrained = false) {
    const found = {}, edit = asTrained ? null : this.edits.get(place);
    for (const [name, path] of Object.entries(this.layers[place].weights)) {
      const array = this.array(path, epoch);
      if (!array) return null;
      found[name] = edit && edit.epoch === epoch && edit[name] ? { ...array, data: edit[name] } : array;
    }
    return found;
  }

  /** Change a copy of a layer's weights: change(kernel, bias) writes into it. */
  edit(place, epoch, change) {
    const { kernel, bias } = this.weights(place, epoch);
    const copy = { epoch, kernel: kernel.data.slice(), bias: bias?.data.slice() };
    change(copy.kernel, copy.bias);
    this.edits.set(place, copy);
    this.changes++;
  }

  /** Take all edits back. */
  reset() {
    this.edits.clear();
    this.changes++;
  }

  /** All layers' outputs for a image, as `forward`. */
  steps(image, epoch, { asTrained = false, ...options } = {}) {
    return forward(this.layers, image, (place) => this.weights(place, epoch, asTrained), options);
  }

  /** What it costs to compute the layers from a place on. */
  cost(from = 0) {
    return this.layers.slice(from).reduce((sum, layer) => sum + costOf(layer, this.layers), 0);
  }
}

// The lens's style sheet.

const STYLE = `
:host { all: initial; display: block; color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif;
  --paper: light-dark(#fff, #1b1b1b); --ink: light-dark(#1a1a1a, #eee); --line: light-dark(#767676, #9a9a9a);
  --soft: light-dark(#f2f2f2, #2a2a2a); --mark: light-dark(#a3004f, #ff8ac2);
  color: var(--ink); background: var(--paper); }
* { box-sizing: border-box; }
.lens { padding: 12px; max-width: 1280px; }
.title { font-size: 18px; margin: 0 0 8px; } .head { font-size: 14px; margin: 12px 0 4px; }
p { margin: 4px 0; } .row { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start; }
.body[aria-busy=true] { opacity: 0.5; } [hidden] { display: none !important; }
.controls { align-items: center; } label { display: inline-flex; gap: 6px; align-items: center; }
select, button, input { font: inherit; color: inherit; background: var(--soft); border: 1px solid var(--line);
  border-radius: 4px; padding: 3px 8px; } input[type=range] { padding: 0; width: 220px; accent-color: var(--mark); }
button { cursor: pointer; } :focus-visible { outline: 3px solid var(--mark); outline-offset: 1px; }
canvas { image-rendering: pixelated; display: block; background: #fff; }
.tiles { display: flex; flex-wrap: wrap; gap: 4px; } .tiles button { padding: 2px; line-height: 1.1; font-size: 11px; }
.tiles [aria-pressed=true] { outline: 3px solid var(--mark); } .tiles canvas { width: 40px; height: 40px; } canvas.pen { width: 192px; border: 1px solid var(--line); }
.stage { position: relative; width: fit-content; } .stage canvas { width: 256px; outline: 1px solid var(--line); } .stage svg { position: absolute; inset: 0; width: 100%;
  height: 100%; pointer-events: none; filter: drop-shadow(0 0 1px #fff) drop-shadow(0 0 1px #fff); }
.stage rect { fill: none; stroke: #a3004f; stroke-width: 2px; vector-effect: non-scaling-stroke; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 12px; }
td { border: 1px solid var(--line); padding: 1px 4px; min-width: 50px; text-align: right; }
td.out { color: var(--line); } .sum { font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; max-width: 100%; }
td input { width: 42px; padding: 0; font-size: 12px; color: inherit; background: transparent; border: 0;
  text-align: right; appearance: textfield; } td input::-webkit-inner-spin-button { display: none; } .bar { display: grid; grid-template-columns: 90px 120px 56px 50px; gap: 6px; align-items: center; font-size: 12px; }
.bar i { display: block; height: 10px; background: light-dark(#2166ac, #7db4e6); } .note { color: var(--mark); }
`;

// The kernel lens: one module without dependencies, for a notebook (anywidget) and for a page that stands alone.

/** Numbers as a table, coloured; onEdit: called with the place and the new number of a cell that the reader changes. */
function grid(numbers, rows, columns, caption, onEdit = null) {
  const table = make("table", {}, make("caption", {}, caption));
  const scale = largestOf(numbers) || 1;
  for (let row = 0; row < rows; row++) {
    const cells = numbers.slice(row * columns, (row + 1) * columns).map((value, column) => {
      const cell = make("td", { className: value === null ? "out" : "" }, value === null ? "·" : format(value));
      if (onEdit) {
        const field = make("input", { type: "number", step: 0.05, value: value.toFixed(3) });
        field.setAttribute("aria-label", `${caption}, row ${row}, column ${column}`);
        field.addEventListener("change", () => {
          if (Number.isFinite(field.valueAsNumber)) onEdit(row * columns + column, field.valueAsNumber);
        });
        cell.replaceChildren(field);
      }
      if (value !== null) {
        const colour = diverging(value / scale);
        cell.style.background = `rgb(${colour})`;
        cell.style.color = luminance(colour) > 0.179 ? "#000" : "#fff";
      }
      return cell;
    });
    table.append(make("tr", {}, ...cells));
  }
  return table;
}

const MOST_TILES = 256;
const SLOW = 20e6;  // multiply-adds, beyond which a pass is done in slices, under a bar
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Draw the lens into an element; returns what a page may ask of it. Not exported: anywidget would take it for its own
 *  door, below. */
function render(el, data, options = {}) {
  const heading = (text) => make(options.hash ? "h2" : "h3", { className: "head" }, text);
  const network = new Network(data), layers = network.layers;
  const root = el.shadowRoot ?? el.attachShadow({ mode: "open" });
  const [count, height, width, channels] = data.images.shape, bytes = decode(data.images);
  const own = { shape: [height, width, channels], data: new Float32Array(height * width * channels).fill(255) };
  const imageOf = (number) => number === count ? own : ({
    shape: [height, width, channels],
    data: Float32Array.from(bytes.subarray(number * own.data.length, (number + 1) * own.data.length)),
  });
  const nameOf = (number) => number === count ? "your own"
    : data.labels ? data.classes?.[data.labels[number]] ?? `class ${data.labels[number]}` : `image ${number}`;
  const firstConv = Math.max(0, layers.findIndex((layer) => layer.kind === "conv"));
  const epochs = network.epochs ?? [null];
  const state = { place: firstConv, channel: 0, inner: 0, row: 0, column: 0, image: 0, epoch: epochs.at(-1) };
  let outputs = [], trained = null, stale = true;  // trained: the last layer's output without edits, where there are some
  let giveUp = null;  // the pass under way
  let placed = false;  // whether a pixel is chosen

  const parts = {
    body: make("div", { className: "body" }),
    work: make("progress", { max: 1, value: 0, hidden: true, ariaLabel: "Computing" }),
    images: make("div", { className: "tiles", role: "group", "aria-label": "Image" }),
    layer: make("select", { ariaLabel: "Layer" }),
    epoch: make("input", { type: "range", min: 0, max: epochs.length - 1, step: 1, "data-lm-suppress-shortcuts": "true" }),
    epochTold: make("output", {}),
    curve: make("div", {}),
    inputStage: make("div", { className: "stage" }),
    mapStage: make("div", { className: "stage" }),
    channels: make("div", { className: "tiles", role: "group", "aria-label": "Channel" }),
    sum: make("div", { className: "sum", role: "status", "aria-live": "polite" }),
    most: make("div", { className: "row controls", role: "group", "aria-label": "Where most comes from" }),
    grids: make("div", { className: "row wide" }),
    gallery: make("div", {}),
    classes: make("div", {}),
    note: make("p", { className: "note", role: "status" }),
  };
  const gallery = {
    order: make("select", {}, ...["number", "norm", "likeness to the chosen one"].map((name) => make("option", {}, name))),
    own: make("input", { type: "checkbox" }),
    colours: make("input", { type: "checkbox", checked: true }),
    change: make("input", { type: "checkbox" }),
    inner: make("input", { type: "number", min: 0, value: 0 }),
    tiles: make("div", { className: "tiles", role: "group", "aria-label": "Kernel" }),
    message: make("p", {}),
    moved: make("p", {}),
    most: make("div", { className: "tiles", role: "group", "aria-label": "Images to which the filter responds most" }),
    mostTitle: heading("Images to which the filter responds most"),
    dead: make("p", { role: "status" }),
  };
  gallery.coloursLabel = make("label", {}, gallery.colours, "three channels as colours");
  gallery.innerLabel = make("label", {}, "Input channel", gallery.inner);
  gallery.changeLabel = make("label", {}, gallery.change, "minus the initial weights");
  parts.gallery.append(
    heading("Kernels"),
    make("div", { className: "row controls" }, make("label", {}, "Order", gallery.order),
      make("label", {}, gallery.own, "each on its own scale"), gallery.changeLabel, gallery.coloursLabel,
      gallery.innerLabel),
    gallery.tiles, gallery.message, gallery.moved, gallery.dead,
    gallery.mostTitle, gallery.most);
  const editing = {
    box: make("div", { className: "row controls", role: "group", "aria-label": "Edit the kernel" }),
    message: make("p", { role: "status" }),
  };
  const resetButton = make("button", { type: "button" }, "reset");
  const ablateButton = make("button", { type: "button" }, "switch the filter off");
  const inputCanvas = make("canvas", { role: "img" });
  const mapCanvas = make("canvas", { tabIndex: 0, role: "application" });
  const outline = () => {
    const rect = makeSvg("rect", {});
    return { rect, svg: makeSvg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" }, rect) };
  };
  const field = outline(), spot = outline();
  parts.inputStage.append(inputCanvas, field.svg);
  parts.mapStage.append(mapCanvas, spot.svg);
  layers.forEach((layer, place) => {
    const shape = layer.shape.join("×"), kind = layer.kind === "unknown" ? `${layer.type}, unknown to the lens` : layer.kind;
    parts.layer.append(make("option", { value: String(place) }, `${layer.name} (${kind}, ${shape})`));
  });
  for (let number = 0; number < count; number++) {
    const canvas = make("canvas", { ariaHidden: "true" });
    paintImage(canvas, imageOf(number));
    const button = make("button", { type: "button", ariaLabel: `${nameOf(number)}, image ${number}` }, canvas);
    button.addEventListener("click", () => set({ image: number }));
    parts.images.append(button);
  }

  const ownCanvas = make("canvas", { ariaHidden: "true" });
  const ownButton = make("button", { type: "button", ariaLabel: "your own image" }, ownCanvas, "yours");
  ownButton.addEventListener("click", () => set({ image: count }));
  parts.images.append(ownButton);

  /** The own image has changed: show it. */
  function ownChanged(quietly = false) {
    paintImage(ownCanvas, own);
    paintImage(pen.canvas, own);
    stale ||= state.image === count;
    set({ image: count }, quietly);
  }

  const pen = {
    row: 0, column: 0,
    canvas: make("canvas", { tabIndex: 0, role: "application", ariaLabel: "Your own image. Arrow keys move the pen, Space draws a dot." }),
    colour: make("input", { type: "color", value: "#000000" }),
    file: make("input", { type: "file", accept: "image/*" }),
    clear: make("button", { type: "button" }, "clear"),
    message: make("p", { role: "status" }),
  };
  pen.canvas.className = "pen";
  paintImage(ownCanvas, own);
  paintImage(pen.canvas, own);
  const dot = (row, column) => {
    const hex = pen.colour.value, rgb = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const grey = Math.round((rgb[0] + rgb[1] + rgb[2]) / 3);
    for (let c = 0; c < channels; c++) own.data[(row * width + column) * channels + c] = channels === 1 ? grey : rgb[c] ?? 0;
    ownChanged();
  };
  pen.canvas.addEventListener("pointerdown", (event) => pen.canvas.setPointerCapture(event.pointerId));
  for (const kind of ["pointerdown", "pointermove"]) {
    pen.canvas.addEventListener(kind, (event) => {
      if (!event.buttons) return;
      const box = pen.canvas.getBoundingClientRect();
      dot(clamp(Math.floor(((event.clientY - box.top) / box.height) * height), 0, height - 1),
        clamp(Math.floor(((event.clientX - box.left) / box.width) * width), 0, width - 1));
    });
  }
  pen.canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (move) {
      pen.row = clamp(pen.row + move[0], 0, height - 1);
      pen.column = clamp(pen.column + move[1], 0, width - 1);
      pen.message.textContent = `pen at row ${pen.row}, column ${pen.column}`;
    } else dot(pen.row, pen.column);
  });
  pen.clear.addEventListener("click", () => {
    own.data.fill(255);
    ownChanged();
  });
  pen.file.addEventListener("change", async () => {
    try {
      const image = await createImageBitmap(pen.file.files[0]), small = make("canvas", { width, height });
      small.getContext("2d").drawImage(image, 0, 0, width, height);
      const pixels = small.getContext("2d").getImageData(0, 0, width, height).data;
      for (let at = 0; at < width * height; at++) {
        for (let c = 0; c < channels; c++) own.data[at * channels + c] = pixels[4 * at + Math.min(c, 2)];
      }
      pen.message.textContent = `Your file, made ${width}×${height} here; it has not left this page.`;
      ownChanged();
    } catch {
      pen.message.textContent = "This file is not an image that the browser can read.";
    }
  });

  const depth = () => layers[state.place].shape.at(-1);
  const isMap = () => layers[state.place].shape.length === 3;

  /** What has the keyboard, by its label: drawing makes many elements anew, and the keyboard must not fall out of them. */
  const focusedLabel = () => root.activeElement?.getAttribute("aria-label");
  function focusAgain(label) {
    if (label && focusedLabel() !== label) root.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus();
  }

  function drawLayer() {
    const layer = layers[state.place], out = outputs[state.place];
    parts.note.textContent = "";
    parts.channels.replaceChildren();
    parts.mapStage.hidden = saving.png.hidden = !out || !isMap();
    saving.message.textContent = isMap() ? "Save this feature map" : "Save these numbers";
    if (!out) {
      const unknown = layers.find((one, place) => one.kind === "unknown" && place <= state.place);
      parts.note.textContent = unknown
        ? `The lens doesn't know ${unknown.type} (layer ${unknown.name}), so it shows nothing from there on.`
        : `The weights of epoch ${state.epoch} were not kept for every layer up to ${layer.name}; the first, the middle and the last were.`;
      return;
    }
    const scale = largestOf(out.data) || 1, shown = Math.min(depth(), MOST_TILES);
    for (let channel = 0; channel < shown; channel++) {
      const button = make("button", { type: "button", ariaLabel: `channel ${channel}`, title: `channel ${channel}` });
      if (isMap()) {
        const canvas = make("canvas", { ariaHidden: "true" });
        paintChannel(canvas, out, channel, scale);
        button.append(canvas);
      } else {
        button.append(`${channel}: ${format(out.data[channel])}`);
      }
      button.setAttribute("aria-pressed", String(channel === state.channel));
      button.addEventListener("click", () => set({ channel }));
      parts.channels.append(button);
    }
    if (shown < depth()) parts.note.textContent = `${shown} of ${depth().toLocaleString("en")} channels are drawn.`;
    if (out.data.some((value) => value !== value)) parts.note.textContent = `${layer.name} holds numbers that are NaN.`;
    if (isMap()) {
      paintChannel(mapCanvas, out, state.channel, scale);
      spot.svg.setAttribute("viewBox", `0 0 ${out.shape[1]} ${out.shape[0]}`);
    }
  }

  /** The kernels of a convolution, or what changed in them since the start; one symmetric scale around zero; of three
   *  input channels, as colours. */
  function drawKernels() {
    const layer = layers[state.place], weights = network.weights(state.place, state.epoch);
    parts.gallery.hidden = layer.kind !== "conv" || !weights;
    if (parts.gallery.hidden) return;
    const start = network.epochs && network.array(layer.weights.kernel, network.epochs[0]);
    const change = start && weights.kernel.data.map((value, at) => value - start.data[at]);
    const less = change && gallery.change.checked;
    const filters = filtersOf(less ? { ...weights.kernel, data: change } : weights.kernel);
    const [rows, columns, channels] = weights.kernel.shape;
    gallery.changeLabel.hidden = !change;
    const colour = channels === 3 && gallery.colours.checked;
    gallery.coloursLabel.hidden = channels !== 3;
    gallery.innerLabel.hidden = channels === 1;
    gallery.inner.max = channels - 1;
    const chosen = filters[state.channel], scaleOfAll = Math.max(...filters.map((one) => largestOf(one.numbers))) || 1;
    const order = {
      number: (one, two) => one.filter - two.filter,
      norm: (one, two) => two.norm - one.norm,
      "likeness to the chosen one": (one, two) => cosine(two, chosen) - cosine(one, chosen),
    }[gallery.order.value];
    const shown = filters.slice(0, MOST_TILES).sort(order);
    gallery.tiles.replaceChildren(...shown.map((one) => {
      const canvas = make("canvas", { ariaHidden: "true" }), scale = gallery.own.checked ? largestOf(one.numbers) || 1 : scaleOfAll;
      const at = (place, channel) => one.numbers[place * channels + channel] / scale;
      paint(canvas, rows, columns, (place) =>
        colour ? [0, 1, 2].map((channel) => Math.round(127.5 + 127.5 * clamp(at(place, channel), -1, 1)))
          : diverging(at(place, clamp(state.inner, 0, channels - 1))));
      const button = make("button", { type: "button", ariaLabel: `kernel ${one.filter}, norm ${format(one.norm)}`,
        title: `kernel ${one.filter}, norm ${format(one.norm)}` }, canvas);
      button.setAttribute("aria-pressed", String(one.filter === state.channel));
      button.addEventListener("click", () => set({ channel: one.filter }));
      return button;
    }));
    const norms = filters.map((one) => one.norm).sort((a, b) => a - b), pairs = (shown.length * (shown.length - 1)) / 2;
    gallery.moved.textContent = change
      ? `Distance of this layer's kernels from their initial weights: ${(normOf(change) / normOf(start.data)).toFixed(2)} times the norm of the initial weights.` : "";
    gallery.message.textContent =
      `${less ? "The change since the initial weights. " : ""}${colour ? "Red, green and blue are the weights of the three input channels, grey is zero. " : "Blue is negative, white zero, orange positive. "}` +
      `Norms from ${format(norms[0])} to ${format(norms.at(-1))}; ${nearTwins(shown)} of ${pairs.toLocaleString("en")} pairs ` +
      `nearly alike (cosine above ${ALIKE}). ${shown.length < filters.length ? `${shown.length} of ${filters.length.toLocaleString("en")} kernels are drawn.` : ""}`;
  }

  /** A pass for what is shown, and, where there are edits, one as trained. */
  function* passes(options) {
    const image = imageOf(state.image), epoch = state.epoch;
    const found = yield* network.steps(image, epoch, options);
    if (!network.edits.size) trained = null;
    else if (!trained || !options.before) trained = (yield* network.steps(image, epoch, { asTrained: true })).at(-1);
    return found;
  }

  /** Compute the layers anew and draw all that depends on them; a slow network's under a bar, and until it is done what
   *  was drawn stays, pale. options: as `forward`'s. */
  function recompute(options = {}) {
    const focused = focusedLabel(), whole = giveUp ? {} : options;  // a pass given up has left nothing that holds
    giveUp?.();
    const done = (found) => {
      [giveUp, outputs, stale] = [null, found, false];
      parts.work.hidden = true;
      parts.body.ariaBusy = "false";
      drawClasses();
      drawLayer();
      drawKernels();
      drawPoint();
      focusAgain(focused);
      countRight();
      countDead();
    };
    const times = network.edits.size && !whole.before ? 2 : 1;
    if (times * network.cost(whole.changed ?? 0) <= SLOW) {
      giveUp = null;
      done(finish(passes(whole)));
      return;
    }
    parts.work.hidden = false;
    parts.body.ariaBusy = "true";
    judge(null);
    listen(null);
    heard = "";
    giveUp = inSlices(passes(whole), done, (share) => { parts.work.value = share; });
  }

  /** The layer that tells a filter's answer: the one shown, or the last of the batch norm and activation behind it. */
  const answering = () => following(layers, state.place).at(-1) ?? state.place;

  /** Change the weights of the layer shown; outputs before it still hold. */
  function edit(change) {
    if (!giveUp && !network.edits.size) trained = outputs.at(-1);
    if (change) network.edit(state.place, state.epoch, change);
    else network.reset();
    recompute(change ? { before: outputs, changed: state.place } : {});
  }

  /** Where the chosen filter's weight for an input channel lies, by its place in the window. */
  function placeOf(at, inner) {
    const [, , channels, filters] = layers[state.place].kernel_shape;
    return (at * channels + inner) * filters + state.channel;
  }

  /** Give the chosen filter another kernel, the same for all its input channels. */
  function preset(weightAt, kernel) {
    const [rows, columns, channels] = layers[state.place].kernel_shape;
    for (let inner = 0; inner < channels; inner++) {
      for (let at = 0; at < rows * columns; at++) {
        const where = placeOf(at, inner);
        kernel[where] = weightAt(Math.floor(at / columns), at % columns, rows, columns, kernel[where]);
      }
    }
  }

  for (const [name, weightAt] of Object.entries(PRESETS)) {
    const button = make("button", { type: "button" }, name);
    button.addEventListener("click", () => edit((kernel) => preset(weightAt, kernel)));
    editing.box.append(button);
  }
  ablateButton.addEventListener("click", () => edit((kernel, bias) => {
    preset(PRESETS.zero, kernel);
    if (bias) bias[state.channel] = 0;
  }));
  resetButton.addEventListener("click", () => edit(null));
  editing.box.append(ablateButton, resetButton);
  parts.gallery.append(heading("Edit the chosen kernel, all its input channels"), editing.box, editing.message);

  /** A job that goes on while the page is used; starting it again, or with nothing, gives up the last. */
  function job() {
    let stop = () => {};
    return (steps, then) => {
      stop();
      if (steps) stop = inSlices(steps, then);
    };
  }

  /** How many of the images the network gets right, as edited and as trained. */
  function countRight() {
    const epoch = state.epoch, best = (found) => found && found.data.indexOf(Math.max(...found.data));
    editing.message.textContent = "";
    if (!network.edits.size || !data.labels) return judge(null);
    judge((function* () {
      const right = { edited: 0, trained: 0 };
      for (const [number, label] of data.labels.entries()) {
        for (const which of ["edited", "trained"]) {
          const outputs = yield* network.steps(imageOf(number), epoch, { asTrained: which === "trained" });
          right[which] += best(outputs.at(-1)) === label;
        }
      }
      return right;
    })(), (right) => {
      editing.message.textContent =
        `Edited, the network classifies ${right.edited} of these ${count} images correctly; as trained, ${right.trained}.`;
    });
  }

  let answers = [], heard = "";
  /** The images that the chosen filter answers most. */
  function drawAnswers() {
    const ready = answers.length === count && state.channel < answers[0].length;
    gallery.most.replaceChildren();
    gallery.mostTitle.hidden = !ready;
    if (!ready) return;
    const order = answers.map((found, image) => ({ image, ...found[state.channel] })).sort((a, b) => b.most - a.most);
    for (const { image, most, row, column } of order.slice(0, 5)) {
      const canvas = make("canvas", { ariaHidden: "true" });
      paintImage(canvas, imageOf(image));
      const button = make("button", { type: "button", ariaLabel: `image ${image}, largest response ${format(most)}` }, canvas, format(most));
      button.addEventListener("click", () => set({ image, row, column }));
      gallery.most.append(button);
    }
  }

  /** Ask every filter for its largest response to each image; which never answer, and what the chosen one answers most. */
  function countDead() {
    const epoch = state.epoch, end = answering();
    const asked = [state.place, epoch, network.changes].join(" ");
    if (asked === heard) return drawAnswers();
    heard = asked;
    const linear = layers[end].kind === "conv" && (layers[end].activation ?? "linear") === "linear";
    gallery.dead.textContent = "";
    answers = [];
    drawAnswers();
    if (parts.gallery.hidden || !outputs[end]) return listen(null);
    const filters = layers[end].shape.at(-1);
    listen((function* () {
      for (let number = 0; number < count; number++) {
        answers.push(strongest((yield* network.steps(imageOf(number), epoch, { end }))[end]));
      }
    })(), () => {
      const dead = [...answers[0].keys()].filter((filter) => answers.every((found) => found[filter].most <= 0));
      if (!linear) {  // one that isn't has an answer to every image
        gallery.dead.textContent = `${dead.length} of ${filters} filters never respond to these ${count} images` +
          `${dead.length ? `: ${dead.join(", ")}` : ""}.`;
      }
      drawAnswers();
    });
  }

  /** Look at the chosen filter's strongest pixel, unless one is chosen. */
  function lookAtStrongest() {
    const out = outputs[answering()];
    if (placed || !out || !isMap()) return;
    placed = true;
    const { row, column } = strongest(out)[state.channel];
    Object.assign(state, { row, column });
    options.onChange?.(state);
  }

  function drawPoint() {
    lookAtStrongest();
    const layer = layers[state.place], out = outputs[state.place];
    parts.grids.replaceChildren();
    parts.most.replaceChildren();
    parts.sum.replaceChildren();
    field.svg.style.display = out ? "" : "none";
    if (!out) return;
    const seen = receptiveField(layers, state.place, state.row, state.column);
    if (seen) {
      const [top, bottom, left, right] = seen;
      for (const [name, value] of Object.entries({ x: left, y: top, width: right - left + 1, height: bottom - top + 1 })) {
        field.rect.setAttribute(name, value);
      }
    }
    for (const [name, value] of Object.entries({ x: state.column, y: state.row, width: 1, height: 1 })) {
      spot.rect.setAttribute(name, value);
    }
    const found = explain(network, state, outputs), where = isMap() ? ` at row ${state.row}, column ${state.column}` : "";
    parts.sum.append(make("p", {}, `${layer.name}, channel ${state.channel}${where}: `, make("strong", {}, format(found.value))));
    const next = ["conv", "dense"].includes(layer.kind) ? explainNext(network, state, outputs) : [];
    for (const text of [...found.lines, ...next]) parts.sum.append(make("p", {}, text));
    parts.most.replaceChildren(...(found.most.length ? ["Most comes from input channels"] : []), ...found.most.map((one) => {
      const button = make("button", { type: "button", ariaLabel: `look at input channel ${one.channel}, ${format(one.sum)}` },
        `${one.channel}: ${format(one.sum)}`);
      button.addEventListener("click", () => {
        gallery.inner.value = one.inner;
        gallery.colours.checked = false;
        set({ inner: one.inner });
      });
      return button;
    }));
    for (const { channel, window, kernel, rows, columns } of found.parts) {
      if (rows * columns > 121) continue;
      parts.grids.append(grid(window, rows, columns, `window, input channel ${channel}`));
      if (!kernel) continue;
      const inner = channel % layer.kernel_shape[2];
      parts.grids.append(grid(kernel, rows, columns, `kernel, filter ${state.channel}`,
        (at, value) => edit((numbers) => { numbers[placeOf(at, inner)] = value; })));
    }
    mapCanvas.setAttribute("aria-label",
      `Output of ${layer.name}, channel ${state.channel}. Arrow keys move from pixel to pixel.`);
  }

  function drawClasses() {
    parts.classes.replaceChildren();
    const last = outputs.at(-1);
    if (!last || last.shape.length !== 1) return;
    const chancesOf = ({ data: numbers, shape }) =>
      layers.at(-1).activation === "softmax" ? numbers : softmax(numbers, shape[0]);
    const chances = chancesOf(last), before = trained && chancesOf(trained);
    chances.forEach((chance, number) => {
      const bar = make("i", {});
      bar.style.width = `${Math.round(120 * chance)}px`;
      const name = data.classes?.[number] ?? `class ${number}`;
      parts.classes.append(make("div", { className: "bar" }, make("span", {}, name), make("span", {}, bar),
        make("span", {}, `${(100 * chance).toFixed(1)} %`),
        make("span", {}, before ? `${chance < before[number] ? "−" : "+"}${Math.abs(100 * (chance - before[number])).toFixed(1)}` : "")));
    });
  }

  function drawImage() {
    const image = imageOf(state.image);
    paintImage(inputCanvas, image);
    inputCanvas.setAttribute("aria-label", `The image: ${nameOf(state.image)}. The outlined part is the receptive field of the chosen pixel.`);
    field.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    [...parts.images.children].forEach((button, number) =>
      button.setAttribute("aria-pressed", String(number === state.image)));
    parts.epochTold.textContent = state.epoch === null ? "" : `epoch ${state.epoch}`;
    drawCurve();
    parts.epoch.setAttribute("aria-valuetext", parts.epochTold.textContent);
  }

  /** Training loss by epoch, from zero up, with a mark at the epoch shown. */
  function drawCurve() {
    if (!data.curve || state.epoch === null) return;
    const { loss, accuracy } = data.curve, many = loss.length, at = state.epoch, most = Math.max(...loss) || 1;
    const points = loss.map((value, i) => `${((i + 1) / many) * 100},${29 - (28 * value) / most}`).join(" ");
    const here = (at / many) * 100, thin = { "vector-effect": "non-scaling-stroke" };
    const svg = makeSvg("svg", { viewBox: "0 0 100 30", width: 200, height: 60, preserveAspectRatio: "none", "aria-hidden": "true" },
      makeSvg("polyline", { points, fill: "none", stroke: "currentColor", "stroke-width": 1.5, ...thin }),
      makeSvg("line", { x1: here, x2: here, y1: 0, y2: 30, stroke: "var(--mark)", "stroke-width": 2, ...thin }));
    parts.curve.replaceChildren(svg, make("p", {},
      at ? `training loss ${loss[at - 1].toFixed(2)}, accuracy ${(100 * accuracy[at - 1]).toFixed(1)} %` : "before training"));
  }

  const judge = job(), listen = job();

  /** Change some of the state, and draw what depends on it. */
  function set(changes, quietly = false) {
    const before = { ...state }, focused = focusedLabel();
    const layer = layers[changes.place ?? state.place];
    Object.assign(state, sameSpot(before, layers[before.place].shape, layer.shape), changes);
    state.image = clamp(state.image, 0, count);
    state.channel = clamp(state.channel, 0, layer.shape.at(-1) - 1);
    placed = isMap() && (placed || "row" in changes || "column" in changes);
    state.row = clamp(state.row, 0, (isMap() ? layer.shape[0] : 1) - 1);
    state.column = clamp(state.column, 0, (isMap() ? layer.shape[1] : 1) - 1);
    const other = state.image !== before.image || state.epoch !== before.epoch || stale;
    parts.layer.value = String(state.place);
    parts.epoch.value = String(epochs.indexOf(state.epoch));
    if (other) {
      drawImage();
      recompute();
    } else if (!giveUp) {  // else all is drawn when the pass is done
      if (["place", "channel", "inner"].some((name) => state[name] !== before[name])) {
        drawLayer();
        drawKernels();
        drawAnswers();
      }
      if (state.place !== before.place) countDead();
      drawPoint();
      focusAgain(focused);
    }
    if (options.hash) {
      history.replaceState(null, "", `#${new URLSearchParams(Object.entries(state).filter(([, value]) => value !== null))}`);
    }
    if (!quietly) options.onChange?.(state);
  }

  /** Hand the reader a file made here. */
  function save(name, blob) {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  const saving = { message: make("span", {}), png: make("button", { type: "button" }, "PNG"), csv: make("button", { type: "button" }, "CSV") };
  const fileName = () => `${data.title}_${layers[state.place].name}_${state.channel}`.replace(/[^\w.-]+/g, "_");
  saving.png.addEventListener("click", () => mapCanvas.toBlob((blob) => save(`${fileName()}.png`, blob)));
  saving.csv.addEventListener("click", () => {
    const out = outputs[state.place];
    if (!out) return;
    const [rows, columns, many] = isMap() ? out.shape : [1, out.shape[0], 1], channel = isMap() ? state.channel : 0;
    const lines = Array.from({ length: rows }, (_, row) =>
      Array.from({ length: columns }, (_, column) => out.data[(row * columns + column) * many + channel]).join(","));
    save(`${fileName()}.csv`, new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  });

  mapCanvas.addEventListener("pointermove", (event) => {
    const box = mapCanvas.getBoundingClientRect(), [rows, columns] = layers[state.place].shape;
    set({
      row: clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1),
      column: clamp(Math.floor(((event.clientX - box.left) / box.width) * columns), 0, columns - 1),
    });
  });
  mapCanvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    set({ row: state.row + move[0], column: state.column + move[1] });
  });
  gallery.order.addEventListener("change", drawKernels);
  gallery.own.addEventListener("change", drawKernels);
  gallery.colours.addEventListener("change", drawKernels);
  gallery.change.addEventListener("change", drawKernels);
  gallery.inner.addEventListener("input", () => {
    gallery.colours.checked = false;
    set({ inner: Math.trunc(Number(gallery.inner.value)) || 0 });
  });
  parts.layer.addEventListener("change", () => set({ place: Number(parts.layer.value), channel: 0 }));
  parts.epoch.addEventListener("input", () => set({ epoch: epochs[Number(parts.epoch.value)] }));

  parts.body.append(
    make("div", { className: "row" },
      make("div", {}, heading("Image"), parts.inputStage, parts.classes),
      make("div", {}, heading("Output of the layer"), parts.mapStage,
        make("p", { className: "row controls" }, saving.message, saving.png, saving.csv)),
      make("div", { style: "flex: 1 1 280px; min-width: 0" }, heading("How the number comes about"), parts.sum, parts.most,
        parts.grids)),
    heading("Channels"), parts.channels, parts.gallery);
  root.replaceChildren(make("style", {}, STYLE), make("div", { className: "lens" },
    make(options.hash ? "h1" : "h2", { className: "title" }, data.title),
    data.rounded === "8 bits" ? make("p", {}, "So that the page stays small, kernels are rounded to 8 bits.") : null,
    make("div", { className: "row controls" },
      make("label", {}, "Layer", parts.layer),
      network.epochs ? make("label", {}, "Epoch", parts.epoch, parts.epochTold) : null, parts.curve, parts.work),
    parts.note,
    parts.images,
    parts.body,
    make("details", {}, make("summary", {}, "Your own image"),
      make("div", { className: "row controls" }, pen.canvas, make("label", {}, "Colour", pen.colour),
        make("label", {}, "Or a file", pen.file), pen.clear), pen.message)));
  const asked = options.hash ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : {};
  const numbers = Object.entries(asked).filter(([name, value]) => name in state && /^\d+$/.test(value));
  const wanted = Object.fromEntries(numbers.map(([name, value]) => [name, Number(value)]));
  if ("place" in wanted) wanted.place = clamp(wanted.place, 0, layers.length - 1);
  if (!epochs.includes(wanted.epoch)) delete wanted.epoch;
  set(wanted);
  return {
    state, set, outputs: () => outputs, network, count, own,
    /** Take another lens's own image, where it has this one's size. */
    takeOwn: (image) => {
      if (String(image.shape) !== String(own.shape)) return;
      own.data.set(image.data);
      ownChanged(true);
    },
  };
}

/** Two lenses side by side; where one is looked at, the other follows: the same image, the reader's own too, the layer
 *  of the same name, the same part of the map, and the epoch, where both have kept the same ones. */
function compare(el, both) {
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
        const changes = sameSpot({ row, column }, from.shape, to.shape);
        changes.image = image === one.count ? other.count : Math.min(image, other.count - 1);
        if (String(one.network.epochs) === String(other.network.epochs)) changes.epoch = epoch;
        other.set(same < 0 ? changes : { ...changes, place: same, channel }, true);
      },
    }));
  });
  shown[0].set({});  // the other opens where the first does
  el.style.cssText = "display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr));";
  return shown;
}

/** One lens or, of a list, two beside each other. */
function start(el, data, options) {
  return Array.isArray(data) ? compare(el, data) : render(el, data, options);
}

/** What a notebook asks for: anywidget's door. */
export default { render: ({ model, el }) => void start(el.appendChild(make("div")), model.get("data")) };
