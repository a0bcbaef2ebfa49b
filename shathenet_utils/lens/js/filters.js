// Filters: their norms, which are alike, what they respond to, and kernels to try.

/** @typedef {import("./types.d.ts").Layer} Layer
 *  @typedef {import("./types.d.ts").Strongest} Strongest
 *  @typedef {import("./types.d.ts").Tensor} Tensor
 *  @typedef {{ filter: number, numbers: Float32Array, norm: number }} Filter */

export const ALIKE = 0.95;

/** The first filters of a convolution: for each its numbers, by row, column and input channel, and their norm.
 * @param {Tensor} kernel
 * @returns {Filter[]} */
export function filtersOf({ shape: [rows, columns, inner, filters], data }) {
  return Array.from({ length: filters }, (_, filter) => {
    const numbers = Float32Array.from({ length: rows * columns * inner }, (_, at) => data[at * filters + filter]);
    return { filter, numbers, norm: normOf(numbers) };
  });
}

/** @param {Float32Array} numbers */
export const normOf = (numbers) => Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0));

/** @param {Filter} one
 *  @param {Filter} two */
export function cosine(one, two) {
  let sum = 0;
  for (let at = 0; at < one.numbers.length; at++) sum += one.numbers[at] * two.numbers[at];
  return sum / (one.norm * two.norm || 1);
}

/** How many pairs of filters point the same way, nearly.
 * @param {Filter[]} filters */
export function nearTwins(filters) {
  let found = 0;
  for (let one = 0; one < filters.length; one++) {
    for (let two = 0; two < one; two++) found += Number(cosine(filters[one], filters[two]) > ALIKE);
  }
  return found;
}

/** Kernels to try, for any side. weight: how much the pixel at (a, b) of `rows` × `columns` counts; old: what it
 *  counted.
 * @type {Record<string, { meaning: string, weight: (a: number, b: number, rows: number, columns: number, old: number) => number }>} */
export const PRESETS = {
  zero: { meaning: "All weights are 0. The sum is the bias alone, the same at every position.", weight: () => 0 },
  negative: {
    meaning: "Every weight changes its sign. Windows that gave a large sum now give a small one, and the other way round.",
    weight: (a, b, rows, columns, old) => -old,
  },
  identity: {
    meaning: "1 in the middle and 0 elsewhere: of each input channel the value in the middle of the window, unchanged.",
    weight: (a, b, rows, columns) => Number(a === Math.floor(rows / 2) && b === Math.floor(columns / 2)),
  },
  blur: {
    meaning: "All weights are equal and add up to 1: of each input channel the mean of the window, so the image is blurred.",
    weight: (a, b, rows, columns) => 1 / (rows * columns),
  },
  "Sobel, upright": {
    meaning: "An edge detector: the columns to the right minus those to the left, the middle row counted twice. It responds " +
      "to upright edges, dark on the left and bright on the right. On an even area the sum is 0.",
    weight: (a, b, rows, columns) => Math.sign(b - (columns - 1) / 2) * (1 + Number(2 * a === rows - 1)) / rows,
  },
  "Sobel, level": {
    meaning: "The same for level edges, dark above and bright below: the rows below minus those above, the middle column " +
      "counted twice.",
    weight: (a, b, rows, columns) => Math.sign(a - (rows - 1) / 2) * (1 + Number(2 * b === columns - 1)) / columns,
  },
};

/** The batch norm and the activation that a layer's numbers go through next, where nothing else uses them.
 * @param {Layer[]} layers
 * @param {number} place
 * @returns {number[]} */
export function following(layers, place) {
  const users = layers.flatMap((layer, at) => (layer.inputs.includes(place) ? [at] : [])), [next] = users;
  if (users.length !== 1 || !["norm", "activation"].includes(layers[next].kind)) return [];
  return [next, ...following(layers, next)];
}

/** The smallest and the largest number of every channel of a map; of a channel that holds NaN, NaN.
 * @param {Tensor} map
 * @returns {{ least: number, most: number }[]} */
export function rangesOf({ data, shape }) {
  const channels = /** @type {number} */ (shape.at(-1));
  const least = new Float32Array(channels).fill(Infinity), most = new Float32Array(channels).fill(-Infinity);
  for (let at = 0, channel = 0; at < data.length; at++, channel = channel + 1 === channels ? 0 : channel + 1) {
    const value = data[at];
    if (!(value >= least[channel])) least[channel] = least[channel] === least[channel] ? value : NaN;
    if (!(value <= most[channel])) most[channel] = most[channel] === most[channel] ? value : NaN;
  }
  return Array.from(most, (value, channel) => ({ least: least[channel], most: value }));
}

/** The largest number of every channel of a map, and where it is, the first of equal ones; of a channel that is NaN,
 *  NaN.
 * @param {Tensor} map
 * @returns {Strongest[]} */
export function strongest({ data, shape: [, width, channels] }) {
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
export function sameSpot({ row, column }, from, to) {
  const maps = from.length === 3 && to.length === 3;
  const [down, right] = [row, column].map((at, side) => (maps ? Math.floor(((at + 0.5) / from[side]) * to[side]) : 0));
  return { row: down, column: right };
}
