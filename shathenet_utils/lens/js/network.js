// A network with its weights, by epoch and as edited.

import { decode } from "./decode.js";
import { costOf } from "./engine.js";
import { size } from "./engine_arrays.js";
import { forward } from "./forward.js";

/** data: what payload.py's `payload` wrote. */
export class Network {
  constructor(data) {
    this.layers = data.layers;
    this.epochs = data.epochs;
    this.stored = data.arrays;
    this.numbers = new Map();
    this.edits = new Map();
    this.changes = 0;  // how often the reader has edited
  }

  /** A weight at an epoch, {shape, data}; null where it wasn't recorded. */
  array(path, epoch) {
    const stored = this.stored[path], recorded = stored.epochs ?? null;
    const place = recorded ? recorded.indexOf(epoch) : 0;
    if (place < 0) return null;
    if (!this.numbers.has(path)) this.numbers.set(path, decode(stored));
    const shape = recorded ? stored.shape.slice(1) : stored.shape, many = size(shape);
    return { shape, data: this.numbers.get(path).subarray(place * many, (place + 1) * many) };
  }

  /** A layer's weights, name → {shape, data}, with what the reader has edited, or as trained; null where one wasn't
   *  recorded. */
  weights(place, epoch, asTrained = false) {
    const found = {}, edit = asTrained ? null : this.edits.get(place);
    for (const [name, path] of Object.entries(this.layers[place].weights)) {
      const array = this.array(path, epoch);
      if (!array) return null;
      found[name] = edit && edit.epoch === epoch && edit[name] ? { ...array, data: edit[name] } : array;
    }
    return found;
  }

  /** Change a copy of a layer's weights: change(kernel, bias) writes into it. */
  edit(place, epoch, change) {
    const { kernel, bias } = this.weights(place, epoch);
    const copy = { epoch, kernel: kernel.data.slice(), bias: bias?.data.slice() };
    change(copy.kernel, copy.bias);
    this.edits.set(place, copy);
    this.changes++;
  }

  /** Take all edits back. */
  reset() {
    this.edits.clear();
    this.changes++;
  }

  /** All layers' outputs for a image, as `forward`. */
  steps(image, epoch, { asTrained = false, ...options } = {}) {
    return forward(this.layers, image, (place) => this.weights(place, epoch, asTrained), options);
  }

  /** What it costs to compute the layers from a place on. */
  cost(from = 0) {
    return this.layers.slice(from).reduce((sum, layer) => sum + costOf(layer, this.layers), 0);
  }
}
