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
export function blocksOf(weights, depth, filters, all = filters, first = 0) {
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
export const roomFor = (many, depth) => new Float64Array((many + PIXELS - 1) * depth);

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
export function multiply(x, many, depth, blocks, filters, bias, out, at, stride = filters) {
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
