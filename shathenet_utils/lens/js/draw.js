// Colours, canvases, elements and numbers as text.

/** @typedef {import("./types.d.ts").Tensor} Tensor */

/** @type {(value: number, low: number, high: number) => number} */
const within = (value, low, high) => Math.min(Math.max(value, low), high);

/** A colour for a number from -1 to 1: blue, white, orange; distinct for colour-blind eyes too.
 * @param {number} value */
export function diverging(value) {
  const v = within(value, -1, 1), end = v < 0 ? [33, 102, 172] : [214, 96, 4], share = Math.abs(v);
  return end.map((channel) => Math.round(255 + (channel - 255) * share));
}

/** How bright a colour is, from 0 to 1; black is read well on more than 0.179, white on less (WCAG 2).
 * @param {number[]} colour */
export function luminance(colour) {
  const [red, green, blue] = colour.map((channel) => channel / 255)
    .map((share) => share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** A pixel of a canvas as one number, its bytes red, green, blue and opacity.
 * @type {(red: number, green: number, blue: number) => number} */
export const pixel = (red, green, blue) => (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;

const SHADES = 255;  // on either side of zero
const PIXELS = Uint32Array.from({ length: 2 * SHADES + 1 }, (_, at) => {
  const [red, green, blue] = diverging((at - SHADES) / SHADES);
  return pixel(red, green, blue);
});

/** The pixel of `diverging`; black for NaN.
 * @param {number} value */
export function divergingPixel(value) {
  return value === value ? PIXELS[Math.round(within(value, -1, 1) * SHADES) + SHADES] : pixel(0, 0, 0);
}

/** @type {(canvas: HTMLCanvasElement, height: number, width: number, pixelOf: (at: number) => number) => void} */
export function paint(canvas, height, width, pixelOf) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < pixels.length; at++) pixels[at] = pixelOf(at);
  context.putImageData(image, 0, 0);
}

/** @param {ArrayLike<number | null>} numbers */
export function largestOf(numbers) {
  let most = 0;
  for (let at = 0; at < numbers.length; at++) {
    const size = Math.abs(numbers[at] ?? 0);
    if (size > most) most = size;
  }
  return most;
}

/** A channel of a map as an image.
 * @type {(canvas: HTMLCanvasElement, map: Tensor, channel: number, scale: number) => void} */
export function paintChannel(canvas, { shape: [height, width, channels], data }, channel, scale) {
  paint(canvas, height, width, (at) => divergingPixel(data[at * channels + channel] / scale));
}

/** An image of pixels from 0 to 255, of any number of channels: the first three are its colours.
 * @type {(canvas: HTMLCanvasElement, image: Tensor) => void} */
export function paintImage(canvas, { shape: [height, width, channels], data }) {
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
export function make(tag, properties = {}, ...children) {
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
export function makeButton(text, onClick, properties = {}) {
  const button = make("button", { type: "button", ...properties }, text);
  button.addEventListener("click", onClick);
  return button;
}

/** A part that opens, with words and what each means.
 * @type {(summary: string, meanings: Record<string, string>) => HTMLElement} */
export function makeMeanings(summary, meanings) {
  const lines = Object.entries(meanings).flatMap(([word, meaning]) => [make("dt", {}, word), make("dd", {}, meaning)]);
  return make("details", { className: "meanings" }, make("summary", {}, summary), make("dl", {}, ...lines));
}

/** @template {keyof SVGElementTagNameMap} Tag
 *  @param {Tag} tag
 *  @param {Record<string, any>} attributes
 *  @param {...Node} children
 *  @returns {SVGElementTagNameMap[Tag]} */
export function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A number as text, with a minus as long as a plus; powers of ten only where it would be very long.
 * @type {(value: number, digitsOf: (size: number) => number, powerDigits: number) => string} */
function written(value, digitsOf, powerDigits) {
  const size = Math.abs(value), sign = value < 0 ? "−" : "";
  if (!Number.isFinite(value)) return value !== value ? "NaN" : `${sign}Infinity`;
  if (size && (size >= 99_999.5 || size < 0.0001)) return sign + size.toExponential(powerDigits).replace("+", "");
  return sign + size.toFixed(digitsOf(size));
}

/** A number in a sentence.
 * @param {number} value */
export const format = (value) => written(value, (size) => size && size < 0.001 ? 5 : size < 999.9995 ? 3 : 1, 2);

/** A number in a narrow place: at most six characters and its sign; seven with a power of ten of two digits.
 * @param {number} value */
export const brief = (value) => written(value,
  (size) => !size ? 0 : size < 0.001 ? 4 : size < 9.9995 ? 3 : size < 99.995 ? 2 : size < 999.95 ? 1 : 0, 1);

/** A share of one as per cent.
 * @param {number} share */
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
