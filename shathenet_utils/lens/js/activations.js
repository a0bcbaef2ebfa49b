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
export function activationOf(layer) {
  const name = layer.activation ?? "linear", parameters = layer.parameters ?? [];
  if (["linear", "softmax", "log_softmax", "prelu"].includes(name)) return null;
  if (name === "general_relu") {
    const { slope, threshold, largest } = layer;
    return (x) => (x >= threshold ? Math.min(x, largest ?? Infinity) : slope * (x - threshold));
  }
  const known = ACTIVATIONS[name];
  return parameters.length ? (x) => known(x, ...parameters) : (x) => known(x);
}
