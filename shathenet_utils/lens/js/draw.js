// Colours, canvases and elements.

import { clamp } from "./field.js";

/** A colour for a number from -1 to 1: blue, white, orange; distinct for colour-blind eyes too. */
export function diverging(value) {
  const v = clamp(value, -1, 1), end = v < 0 ? [33, 102, 172] : [214, 96, 4], share = Math.abs(v);
  return end.map((channel) => Math.round(255 + (channel - 255) * share));
}

/** How bright a colour is, from 0 to 1; black is read well on more than 0.179, white on less (WCAG 2). */
export function luminance(colour) {
  const [red, green, blue] = colour.map((channel) => channel / 255)
    .map((share) => share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

export function paint(canvas, height, width, colourOf) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
  for (let at = 0; at < height * width; at++) {
    const [red, green, blue] = colourOf(at);
    pixels.data.set([red, green, blue, 255], 4 * at);
  }
  context.putImageData(pixels, 0, 0);
}

export const largestOf = (numbers) => numbers.reduce((most, value) => Math.max(most, Math.abs(value) || 0), 0);

/** A channel of a map as an image. */
export function paintChannel(canvas, map, channel, scale) {
  const [height, width, channels] = map.shape;
  paint(canvas, height, width, (at) => diverging(map.data[at * channels + channel] / scale));
}

export function paintImage(canvas, { shape: [height, width, channels], data }) {
  paint(canvas, height, width, (at) => [0, 1, 2].map((c) => data[at * channels + Math.min(c, channels - 1)]));
}

/** An element with properties and children; text is never read as HTML. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const format = (value) => {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  return (size >= 1000 || (size && size < 0.001) ? value.toExponential(2) : value.toFixed(3)).replace("-", "−");
};
