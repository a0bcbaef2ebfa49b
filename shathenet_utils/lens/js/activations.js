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
const clip6 = (x) => Math.min(Math.max(x, 0), 6);

/** Activations of one number, by Keras's names; softmax, of all channels, is apart. */
const ACTIVATIONS = {
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
