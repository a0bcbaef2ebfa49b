// The forward pass, all at once or step by step.

import { compute, costOf } from "./engine.js";

/** @typedef {import("./types.d.ts").Layer} Layer
 *  @typedef {import("./types.d.ts").Tensor} Tensor
 *  @typedef {import("./types.d.ts").Weights} Weights */

/** The outputs of all layers up to `end`; null where a layer is unknown, lacks its weights, or comes after one that does.
 *
 *  weightsOf: the place of a layer → its weights, or null. before: outputs that still hold, up to the first layer that
 *  has changed. Yields now and then what share of the work is done.
 * @param {Layer[]} layers
 * @param {Tensor} image
 * @param {(place: number) => Weights | null} weightsOf
 * @param {{ before?: (Tensor | null)[], changed?: number, end?: number }} options
 * @returns {Generator<number, (Tensor | null)[]>} */
export function* forward(layers, image, weightsOf, { before = [], changed = 0, end = layers.length - 1 } = {}) {
  const outputs = before.slice(0, changed), costs = layers.map((layer) => costOf(layer, layers));
  const all = costs.slice(outputs.length, end + 1).reduce((sum, cost) => sum + cost, 0);
  for (let place = outputs.length, done = 0; place <= end; done += costs[place++]) {
    const layer = layers[place], inputs = layer.inputs.map((from) => outputs[from]);
    const weights = layer.kind === "unknown" || inputs.includes(null) ? null : weightsOf(place);
    if (layer.kind === "input") outputs.push(image);
    else if (!weights) outputs.push(null);
    else {
      const steps = compute(layer, /** @type {Tensor[]} */ (inputs), weights);
      let step = steps.next();
      for (; !step.done; step = steps.next()) yield (done + step.value * costs[place]) / all;
      outputs.push(step.value);
    }
    yield (done + costs[place]) / all;
  }
  return outputs;
}

/** What a generator returns, all at once.
 * @template Value
 * @param {Generator<unknown, Value>} steps
 * @returns {Value} */
export function finish(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}
