// The reader's own images, made what the network takes: in this page, and sent nowhere.

import { make } from "./draw.js";

/** How bright a colour is as grey, as ITU-R 601 and Pillow's "L" have it: 76 for pure red, 29 for pure blue.
 * @type {(red: number, green: number, blue: number) => number} */
export const luma = (red, green, blue) => (19595 * red + 38470 * green + 7471 * blue) / 65536;

/** A colour as the channels of a network: grey for one, red, green and blue for three. Of other numbers, those that
 *  there are in that order, and 255 for what is left (opaque, where it is opacity).
 * @type {(rgb: number[], channels: number) => number[]} */
export function inChannels([red, green, blue], channels) {
  const colours = channels < 3 ? [luma(red, green, blue)] : [red, green, blue];
  return Array.from({ length: channels }, (_, c) => Math.round(colours[c] ?? 255));
}

/** The pixels that make up each of `output` pixels along a side of `input`, [first, end) each: those whose centres lie
 *  in it, as Pillow's BOX has them.
 * @type {(input: number, output: number) => [number, number][]} */
export function boxes(input, output) {
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
export async function readImage(file, [height, width, channels], middle) {
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
