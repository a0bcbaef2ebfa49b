// The kernel lens: one module without dependencies, for a notebook (anywidget) and for a page that stands alone.
//
// A network is a list of layers as payload.py describes them. Maps are Float32Arrays in Keras's order, height × width ×
// channels; sums are kept in double precision, so that results agree with Keras's up to its own rounding.

// Numbers -------------------------------------------------------------------------------------------------------------

/** The numbers of an array that payload.py's `encode` wrote: Float32Array, or Uint8Array of bytes. */
export function decode({ dtype, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  if (dtype === "u1") return bytes;
  const view = new DataView(bytes.buffer);
  if (dtype === "f4") return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => half(view.getUint16(2 * i, true)));
}

function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

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
const clip6 = (x) => Math.min(Math.max(x, 0), 6);

/** Activations of one number, by Keras's names; softmax, of all channels, is apart. */
export const ACTIVATIONS = {
  linear: (x) => x,
  relu: (x) => (x > 0 ? x : x === x ? 0 : x),
  relu6: clip6,
  leaky_relu: (x) => (x >= 0 ? x : 0.2 * x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  selu: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  silu: (x) => x * sigmoid(x),
  sigmoid,
  tanh: Math.tanh,
  softplus,
  softsign: (x) => x / (1 + Math.abs(x)),
  exponential: Math.exp,
  hard_sigmoid: (x) => clip6(x + 3) / 6,
  hard_silu: (x) => (x * clip6(x + 3)) / 6,
  mish: (x) => x * Math.tanh(softplus(x)),
};

/** The function of one number that a layer applies last; null for none, and for softmax. */
export function activationOf(layer) {
  const name = layer.activation ?? "linear";
  if (name === "linear" || name === "softmax") return null;
  if (name === "general_relu") {
    const { slope, threshold, largest } = layer;
    return (x) => (x >= threshold ? Math.min(x, largest ?? Infinity) : slope * (x - threshold));
  }
  return ACTIVATIONS[name];
}

// Layers --------------------------------------------------------------------------------------------------------------

const size = (shape) => shape.reduce((product, side) => product * side, 1);

/** Where a window of `side` pixels, `dilation` apart, starts for each of the outputs: TensorFlow's SAME pads the odd
 *  pixel at the end. Returns the padding before the first pixel. */
export function padBefore(padding, input, output, side, stride, dilation) {
  if (padding !== "same") return 0;
  const reach = (side - 1) * dilation + 1;
  return Math.floor(Math.max((output - 1) * stride + reach - input, 0) / 2);
}

/** A convolution's or pool's geometry: [output rows, columns, kernel rows, columns, padding above, left]. */
export function geometry(layer, input, kernel) {
  const [rows, columns] = layer.shape, [dilateRows, dilateColumns] = layer.dilation ?? [1, 1];
  return {
    rows, columns, height: kernel[0], width: kernel[1], down: layer.strides[0], right: layer.strides[1], dilateRows,
    dilateColumns,
    top: padBefore(layer.padding, input[0], rows, kernel[0], layer.strides[0], dilateRows),
    left: padBefore(layer.padding, input[1], columns, kernel[1], layer.strides[1], dilateColumns),
  };
}

function conv(layer, [x], weights) {
  const kernel = weights.kernel, [kernelRows, kernelColumns, inner, filters] = kernel.shape;
  const [height, width, channels] = x.shape, g = geometry(layer, x.shape, kernel.shape);
  const out = new Float32Array(size(layer.shape)), sums = new Float64Array(filters), perGroup = filters / layer.groups;
  for (let row = 0, at = 0; row < g.rows; row++) {
    for (let column = 0; column < g.columns; column++, at += filters) {
      if (weights.bias) sums.set(weights.bias.data);
      else sums.fill(0);
      for (let a = 0; a < kernelRows; a++) {
        const y = row * g.down - g.top + a * g.dilateRows;
        if (y < 0 || y >= height) continue;
        for (let b = 0; b < kernelColumns; b++) {
          const z = column * g.right - g.left + b * g.dilateColumns;
          if (z < 0 || z >= width) continue;
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
  return out;
}

function depthwise(layer, [x], weights) {
  const kernel = weights.kernel, [kernelRows, kernelColumns, channels, many] = kernel.shape;
  const [height, width] = x.shape, g = geometry(layer, x.shape, kernel.shape), filters = channels * many;
  const out = new Float32Array(size(layer.shape)), sums = new Float64Array(filters);
  for (let row = 0, at = 0; row < g.rows; row++) {
    for (let column = 0; column < g.columns; column++, at += filters) {
      if (weights.bias) sums.set(weights.bias.data);
      else sums.fill(0);
      for (let a = 0; a < kernelRows; a++) {
        const y = row * g.down - g.top + a * g.dilateRows;
        if (y < 0 || y >= height) continue;
        for (let b = 0; b < kernelColumns; b++) {
          const z = column * g.right - g.left + b * g.dilateColumns;
          if (z < 0 || z >= width) continue;
          const from = (y * width + z) * channels, w = (a * kernelColumns + b) * filters;
          for (let f = 0; f < filters; f++) sums[f] += x.data[from + Math.floor(f / many)] * kernel.data[w + f];
        }
      }
      out.set(sums, at);
    }
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
export function normAsLine(layer, weights) {
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

function resize(layer, [x]) {
  const [height, width, channels] = x.shape, [rows, columns] = layer.shape;
  const down = sources(height, rows, layer.how), right = sources(width, columns, layer.how);
  const out = new Float32Array(size(layer.shape));
  let at = 0;
  for (const [up, low, v] of down) {
    for (const [near, far, u] of right) {
      for (let c = 0; c < channels; c++, at++) {
        const pick = (y, z) => x.data[(y * width + z) * channels + c];
        const above = pick(up, near) + (pick(up, far) - pick(up, near)) * u;
        const below = pick(low, near) + (pick(low, far) - pick(low, near)) * u;
        out[at] = above + (below - above) * v;
      }
    }
  }
  return out;
}

/** The map moved into a larger or smaller frame, zeros around: rows and columns are those before the first pixel. */
function framed(layer, x, rows, columns) {
  const [height, width, channels] = x.shape, [newHeight, newWidth] = layer.shape;
  const out = new Float32Array(size(layer.shape));
  for (let y = 0; y < newHeight; y++) {
    for (let z = 0; z < newWidth; z++) {
      const from = [y - rows, z - columns];
      if (from[0] < 0 || from[0] >= height || from[1] < 0 || from[1] >= width) continue;
      const start = (from[0] * width + from[1]) * channels;
      out.set(x.data.subarray(start, start + channels), (y * newWidth + z) * channels);
    }
  }
  return out;
}

const JOINS = {
  add: (values) => values.reduce((sum, value) => sum + value, 0),
  subtract: ([first, second]) => first - second,
  multiply: (values) => values.reduce((product, value) => product * value, 1),
  average: (values) => values.reduce((sum, value) => sum + value, 0) / values.length,
  maximum: (values) => Math.max(...values),
};

/** Several maps joined number by number; a side of one is repeated, as NumPy broadcasts. */
function join(layer, inputs) {
  const shape = layer.shape, how = JOINS[layer.how];
  const strides = inputs.map((x) => {
    let stride = 1;
    const found = [];
    for (let d = x.shape.length - 1; d >= 0; d--) {
      found.unshift(x.shape[d] === 1 ? 0 : stride);
      stride *= x.shape[d];
    }
    return found;
  });
  const out = new Float32Array(size(shape)), index = shape.map(() => 0);
  for (let at = 0; at < out.length; at++) {
    out[at] = how(inputs.map((x, k) => x.data[index.reduce((sum, i, d) => sum + i * strides[k][d], 0)]));
    for (let d = shape.length - 1; d >= 0 && ++index[d] === shape[d]; d--) index[d] = 0;
  }
  return out;
}

function concatenate(layer, inputs) {
  const channels = layer.shape.at(-1), out = new Float32Array(size(layer.shape)), places = out.length / channels;
  let first = 0;
  for (const x of inputs) {
    const many = x.shape.at(-1);
    for (let place = 0; place < places; place++) {
      out.set(x.data.subarray(place * many, (place + 1) * many), place * channels + first);
    }
    first += many;
  }
  return out;
}

function softmax(data, channels) {
  const out = new Float32Array(data.length);
  for (let at = 0; at < data.length; at += channels) {
    const part = Array.from(data.subarray(at, at + channels)), largest = Math.max(...part);
    const powers = part.map((value) => Math.exp(value - largest)), sum = JOINS.add(powers);
    out.set(powers.map((power) => power / sum), at);
  }
  return out;
}

const same = (layer, [x]) => x.data.slice();

const KINDS = {
  conv, depthwise, dense, pool, resize, join, concatenate,
  global_pool: globalPool,
  norm: (layer, [x], weights) => {
    const { factor, offset } = normAsLine(layer, weights);
    return line(x, factor, offset);
  },
  scale: (layer, [x]) => line(x, layer.factor, layer.offset),
  pad: (layer, [x]) => framed(layer, x, layer.padding[0][0], layer.padding[1][0]),
  crop: (layer, [x]) => framed(layer, x, -layer.cropping[0][0], -layer.cropping[1][0]),
  flatten: same, identity: same, activation: same,
};

/** A layer's output before its activation. */
export const linearPart = (layer, inputs, weights) => KINDS[layer.kind](layer, inputs, weights);

/** A layer's output: {shape, data}. inputs: maps; weights: name → {shape, data}. */
export function compute(layer, inputs, weights) {
  let data = linearPart(layer, inputs, weights);
  if (layer.activation === "softmax") data = softmax(data, layer.shape.at(-1));
  const activation = activationOf(layer);
  if (activation) data = data.map((value) => activation(value));
  return { shape: layer.shape, data };
}

/** The outputs of all layers, null where one is unknown or comes after one that is.
 *
 *  picture: {shape, data}. weightsOf: the place of a layer → its weights. before: outputs that still hold, up to the
 *  first layer that has changed. */
export function forward(layers, picture, weightsOf, before = [], changed = 0) {
  const outputs = before.slice(0, changed);
  for (let place = outputs.length; place < layers.length; place++) {
    const layer = layers[place], inputs = layer.inputs.map((from) => outputs[from]);
    if (layer.kind === "input") outputs.push(picture);
    else if (layer.kind === "unknown" || inputs.includes(null)) outputs.push(null);
    else outputs.push(compute(layer, inputs, weightsOf(place)));
  }
  return outputs;
}
