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
export const decodeBytes = ({ data }) => bytesOf(data);

/** The numbers of an array that payload.py's `encode` wrote. One of dtype "i1" has a scale per filter, or, where `scale`
 *  has as many as the epochs have filters, per epoch and filter.
 * @param {Encoded} encoded
 * @returns {Float32Array} */
export function decode({ dtype, data, scale, shape }) {
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
