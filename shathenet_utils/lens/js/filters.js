// Filters: their norms, which are alike, what they respond to, and kernels to try.

export const ALIKE = 0.95;

/** The filters of a convolution: for each its numbers, by row, column and input channel, and their norm. */
export function filtersOf({ shape: [rows, columns, inner, filters], data }) {
  return Array.from({ length: filters }, (_, filter) => {
    const numbers = Float32Array.from({ length: rows * columns * inner }, (_, at) => data[at * filters + filter]);
    return { filter, numbers, norm: normOf(numbers) };
  });
}

export const normOf = (numbers) => Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0));

export const cosine = (one, two) =>
  one.numbers.reduce((sum, value, at) => sum + value * two.numbers[at], 0) / (one.norm * two.norm || 1);

/** How many pairs of filters point the same way, nearly. */
export function nearTwins(filters) {
  let found = 0;
  for (let one = 0; one < filters.length; one++) {
    for (let two = 0; two < one; two++) found += cosine(filters[one], filters[two]) > ALIKE;
  }
  return found;
}

/** Kernels to try, for any side: how much the pixel at (a, b) of `rows` × `columns` counts. */
export const PRESETS = {
  zero: () => 0,
  negative: (a, b, rows, columns, old) => -old,
  identity: (a, b, rows, columns) => Number(a === Math.floor(rows / 2) && b === Math.floor(columns / 2)),
  blur: (a, b, rows, columns) => 1 / (rows * columns),
  "Sobel, upright": (a, b, rows, columns) => Math.sign(b - (columns - 1) / 2) * (1 + Number(2 * a === rows - 1)) / rows,
  "Sobel, level": (a, b, rows, columns) => Math.sign(a - (rows - 1) / 2) * (1 + Number(2 * b === columns - 1)) / columns,
};

/** The batch norm and the activation that a convolution's numbers go through next, where nothing else uses them. */
export function following(layers, place) {
  const users = layers.flatMap((layer, at) => (layer.inputs.includes(place) ? [at] : [])), [next] = users;
  if (users.length !== 1 || !["norm", "activation"].includes(layers[next].kind)) return [];
  return [next, ...following(layers, next)];
}

/** The largest number of every channel of a map, and where it is: { most, row, column }, the first of equal ones; of a
 *  channel that is NaN, NaN. */
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

/** The spot of a map of shape `to` that lies where another does in one of shape `from`; where one is no map, the first. */
export function sameSpot({ row, column }, from, to) {
  const maps = from.length === 3 && to.length === 3;
  const [down, right] = [row, column].map((at, side) => (maps ? Math.floor(((at + 0.5) / from[side]) * to[side]) : 0));
  return { row: down, column: right };
}
