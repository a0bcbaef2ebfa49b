// A network with its weights, by epoch and as edited.

import { decode } from "./decode.js";
import { size } from "./engine_arrays.js";
import { forward } from "./forward.js";

/** @typedef {import("./types.d.ts").Tensor} Tensor
 *  @typedef {import("./types.d.ts").Weights} Weights
 *  @typedef {import("./types.d.ts").Edit} Edit */

export class Network {
  /** @param {Pick<import("./types.d.ts").Payload, "layers" | "epochs" | "arrays">} data */
  constructor(data) {
    this.layers = data.layers;
    this.epochs = data.epochs;
    this.stored = data.arrays;
    /** @type {Map<string, Float32Array>} */
    this.numbers = new Map();
    /** @type {Map<string, Edit & { place: number, epoch: number | null }>} */
    this.edits = new Map();
    this.changes = 0;  // how often the reader has edited
  }

  /** A weight at an epoch; null where it wasn't recorded.
   * @param {string} path
   * @param {number | null} epoch
   * @returns {Tensor | null} */
  array(path, epoch) {
    const stored = this.stored[path], recorded = stored.epochs ?? null;
    const place = recorded ? recorded.indexOf(/** @type {number} */ (epoch)) : 0;
    if (place < 0) return null;
    let numbers = this.numbers.get(path);
    if (!numbers) this.numbers.set(path, numbers = decode(stored));
    const shape = recorded ? stored.shape.slice(1) : stored.shape, many = size(shape);
    return { shape, data: numbers.subarray(place * many, (place + 1) * many) };
  }

  /** A layer's weights by name, with what the reader has edited at that epoch, or as trained; null where one wasn't
   *  recorded.
   * @param {number} place
   * @param {number | null} epoch
   * @returns {Weights | null} */
  weights(place, epoch, asTrained = false) {
    const edit = asTrained ? undefined : this.edits.get(`${place} ${epoch}`);
    /** @type {Weights} */
    const found = {};
    for (const [name, path] of Object.entries(this.layers[place].weights)) {
      const array = this.array(path, epoch);
      if (!array) return null;
      const edited = name === "kernel" ? edit?.kernel : name === "bias" ? edit?.bias : undefined;
      found[name] = edited ? { ...array, data: edited } : array;
    }
    return found;
  }

  /** Whether the reader has edited a layer at an epoch.
   * @param {number | null} epoch */
  edited(epoch) {
    return [...this.edits.values()].some((edit) => edit.epoch === epoch);
  }

  /** A copy of a layer's weights, changed.
   * @param {number} place
   * @param {number | null} epoch
   * @param {(kernel: Float32Array, bias: Float32Array | undefined) => void} change
   * @returns {Edit} */
  changed(place, epoch, change) {
    const { kernel, bias } = /** @type {Weights} */ (this.weights(place, epoch));
    const copy = { kernel: kernel.data.slice(), bias: bias?.data.slice() };
    change(copy.kernel, copy.bias);
    return copy;
  }

  /** Take an edit of a layer at an epoch in place of what it was trained to.
   * @param {number} place
   * @param {number | null} epoch
   * @param {Edit} edit */
  edit(place, epoch, edit) {
    this.edits.set(`${place} ${epoch}`, { ...edit, place, epoch });
    this.changes++;
  }

  /** Take all edits back. */
  reset() {
    this.edits.clear();
    this.changes++;
  }

  /** All layers' outputs for an image, as `forward`.
   * @param {Tensor} image
   * @param {number | null} epoch
   * @param {{ asTrained?: boolean, before?: (Tensor | null)[], changed?: number, end?: number }} options */
  steps(image, epoch, { asTrained = false, ...options } = {}) {
    return forward(this.layers, image, (place) => this.weights(place, epoch, asTrained), options);
  }
}
