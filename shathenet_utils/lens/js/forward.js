// The forward pass, all at once or in slices of time.

import { compute, costOf } from "./engine.js";

/** The outputs of all layers up to `end`; null where a layer is unknown, lacks its weights, or comes after one that does.
 *
 *  image: {shape, data}. weightsOf: the place of a layer → its weights, or null. before: outputs that still hold, up
 *  to the first layer that has changed. Tells now and then what share of the work is done. */
export function* forward(layers, image, weightsOf, { before = [], changed = 0, end = layers.length - 1 } = {}) {
  const outputs = before.slice(0, changed), costs = layers.map((layer) => costOf(layer, layers));
  const all = costs.slice(outputs.length, end + 1).reduce((sum, cost) => sum + cost, 0);
  for (let place = outputs.length, done = 0; place <= end; done += costs[place++]) {
    const layer = layers[place], inputs = layer.inputs.map((from) => outputs[from]);
    const weights = layer.kind === "unknown" || inputs.includes(null) ? null : weightsOf(place);
    if (layer.kind === "input") outputs.push(image);
    else if (!weights) outputs.push(null);
    else {
      const steps = compute(layer, inputs, weights);
      let step = steps.next();
      for (; !step.done; step = steps.next()) yield (done + step.value * costs[place]) / all;
      outputs.push(step.value);
    }
  }
  return outputs;
}

/** What a generator returns, all at once. */
export function finish(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

const SLICE = 8;  // milliseconds; a frame has sixteen

/** What a generator returns, given to `then`, a slice of time after another, so that the page stays alive; returns what
 *  gives it up. tell: is called with what the generator yields. */
export function inSlices(steps, then, tell = () => {}) {
  let given = false;
  const next = () => {
    if (given) return;
    const begun = performance.now();
    let step = steps.next();
    while (!step.done && performance.now() - begun < SLICE) step = steps.next();
    if (step.done) return then(step.value);
    tell(step.value);
    setTimeout(next);
  };
  setTimeout(next);
  return () => { given = true; };
}
