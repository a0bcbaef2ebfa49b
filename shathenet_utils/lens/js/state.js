// What is looked at, and the page's address that holds it.

import { clamp } from "./field.js";
import { RANGES } from "./runner.js";

/** @typedef {import("./types.d.ts").Layer} Layer
 *  @typedef {import("./types.d.ts").Payload} Payload
 *  @typedef {import("./types.d.ts").State} State */

const LATE = 300;  // milliseconds after the last change; browsers refuse an address that changes a hundred times a second

/** How many channels a layer has; of one that is no map, how many numbers.
 * @param {Layer} layer */
export const depthOf = ({ shape }) => shape.length === 3 ? shape[2] : shape.reduce((many, side) => many * side, 1);

/** Where a lens opens: the first convolution, the first image, the last epoch.
 * @param {Payload} data
 * @returns {State} */
export function firstState({ layers, epochs }) {
  const place = Math.max(0, layers.findIndex((layer) => layer.kind === "conv"));
  return { place, channel: 0, inner: 0, row: 0, column: 0, image: 0, epoch: epochs?.at(-1) ?? null, range: 0 };
}

/** A state within what a network has.
 * @param {State} state
 * @param {Layer[]} layers
 * @param {number} count the number of the reader's own image, which is the last */
export function keepWithin(state, layers, count) {
  state.place = clamp(state.place, 0, layers.length - 1);
  const layer = layers[state.place], [rows, columns] = layer.shape.length === 3 ? layer.shape : [1, 1];
  state.image = clamp(state.image, 0, count);
  state.channel = clamp(state.channel, 0, depthOf(layer) - 1);
  state.row = clamp(state.row, 0, rows - 1);
  state.column = clamp(state.column, 0, columns - 1);
  state.range = clamp(state.range, 0, RANGES.length - 1);
}

/** What an address asks for, of what a state has: whole numbers alone.
 * @param {State} state
 * @param {string} hash
 * @returns {Partial<State>} */
export function fromAddress(state, hash) {
  const asked = [...new URLSearchParams(hash.slice(1))].filter(([name, value]) => name in state && /^\d+$/.test(value));
  return Object.fromEntries(asked.map(([name, value]) => [name, Number(value)]));
}

/** A function that writes a state into the page's address, some time after the last change; a browser or a host that
 *  refuses is left alone. */
export function addressWriter() {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  return (/** @type {State} */ state) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const told = Object.entries(state).filter(([, value]) => value !== null).map(([name, value]) => [name, String(value)]);
      try {
        history.replaceState(null, "", `#${new URLSearchParams(told)}`);
      } catch {
        // the address is a convenience
      }
    }, LATE);
  };
}
