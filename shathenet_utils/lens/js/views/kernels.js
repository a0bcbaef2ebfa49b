// The kernels of a convolution, how they are alike, and what training changed in them.

import { brief, divergingPixel, format, largestOf, make, makeMeanings, paint, pixel } from "../draw.js";
import { clamp } from "../field.js";
import { ALIKE, cosine, filtersOf, nearTwins, normOf } from "../filters.js";
import { makeTiles } from "../tiles.js";
import { MOST_TILES } from "./map.js";

/** @typedef {import("../filters.js").Filter} Filter
 *  @typedef {import("../types.d.ts").Lens} Lens
 *  @typedef {import("../types.d.ts").Tensor} Tensor */

const MEANINGS = {
  norm: "The root of the sum of a kernel's squared weights. It shows how large the weights are.",
  cosine: "How alike two kernels are, whatever their norms: 1 if they differ in size only, 0 if they have nothing in common, " +
    "−1 if one is the other with changed signs. “Likeness” is the cosine.",
  "minus the initial weights": "What training has added: the weights shown minus those before training.",
  "each on its own scale": "The strongest colour is each kernel's own largest weight. Otherwise it is the largest weight of " +
    "all kernels, so that their sizes can be compared.",
};

/** @param {Lens} lens */
export function makeKernels(lens) {
  const order = make("select", {}, ...["number", "norm", "likeness to the chosen one"].map((name) => make("option", {}, name)));
  const [ownScale, colours, less] = [false, true, false].map((checked) => make("input", { type: "checkbox", checked }));
  const inner = make("input", { type: "number", min: 0, value: 0 });
  const tiles = makeTiles("Kernel", (at) => void lens.set({ channel: shown[at].filter }), "kernels");
  const message = make("p", {}), distance = make("p", {});
  const coloursLabel = make("label", {}, colours, "three channels as colours");
  const innerLabel = make("label", {}, "Input channel", inner), lessLabel = make("label", {}, less, "minus the initial weights");
  /** @type {Filter[]} */
  let shown = [];
  /** What is known of the kernels last drawn, and of which ones they were. @type {{ of: string, filters: Filter[], twins: number }} */
  let known = { of: "", filters: [], twins: 0 };
  for (const control of [order, ownScale, colours, less]) control.addEventListener("change", draw);
  inner.addEventListener("input", () => lookAt(Math.trunc(Number(inner.value)) || 0));

  /** Show one of a kernel's input channels.
   * @param {number} channel */
  function lookAt(channel) {
    inner.value = String(channel);
    colours.checked = false;
    void lens.set({ inner: channel });
    draw();
  }

  /** @type {(kernel: Tensor, of: string) => typeof known} */
  function learn(kernel, of) {
    if (known.of !== of) {
      const filters = filtersOf(kernel);
      known = { of, filters, twins: nearTwins(filters.slice(0, MOST_TILES)) };
    }
    return known;
  }

  function draw() {
    const { state, network } = lens, layer = lens.layers[state.place];
    if (layer.kind !== "conv") return;
    const weights = network.weights(state.place, state.epoch);
    if (!weights) return;
    const start = network.epochs && network.array(layer.weights.kernel, network.epochs[0]), { kernel } = weights;
    const change = start && kernel.data.map((value, at) => value - start.data[at]), changed = change && less.checked;
    const of = [state.place, state.epoch, network.changes, changed].join(" ");
    const { filters, twins } = learn(changed ? { ...kernel, data: change } : kernel, of);
    const [rows, columns, channels] = kernel.shape, colour = channels === 3 && colours.checked;
    lessLabel.hidden = !change;
    coloursLabel.hidden = channels !== 3;
    innerLabel.hidden = channels === 1;
    inner.max = String(channels - 1);
    const chosen = filters[state.channel], scaleOfAll = Math.max(...filters.map((one) => largestOf(one.numbers))) || 1;
    const channel = clamp(state.inner, 0, channels - 1);
    const likeness = order.selectedIndex === 2 ? filters.map((one) => cosine(one, chosen)) : [];
    shown = filters.slice(0, MOST_TILES);
    if (order.selectedIndex === 1) shown.sort((one, two) => two.norm - one.norm);
    if (order.selectedIndex === 2) shown.sort((one, two) => likeness[two.filter] - likeness[one.filter]);
    tiles.update(shown.map(({ filter, numbers, norm }) => {
      const scale = ownScale.checked ? largestOf(numbers) || 1 : scaleOfAll;
      const shade = (/** @type {number} */ at) => Math.round(127.5 + 127.5 * clamp(numbers[at] / scale, -1, 1));
      return {
        label: `kernel ${filter}, norm ${format(norm)}`,
        text: [filter, order.selectedIndex === 1 ? `\n${brief(norm)}` : "", likeness.length ? `\n${brief(likeness[filter])}` : ""].join(""),
        paint: (canvas) => paint(canvas, rows, columns, (place) => colour
          ? pixel(shade(3 * place), shade(3 * place + 1), shade(3 * place + 2))
          : divergingPixel(numbers[place * channels + channel] / scale)),
      };
    }), shown.findIndex(({ filter }) => filter === state.channel));
    tell(filters, twins, { changed: Boolean(changed), colour });
    distance.textContent = change && start
      ? `Distance of this layer's kernels from their initial weights: ${(normOf(change) / normOf(start.data)).toFixed(2)} times the norm of the initial weights.` : "";
  }

  /** @type {(filters: Filter[], twins: number, how: { changed: boolean, colour: boolean }) => void} */
  function tell(filters, twins, { changed, colour }) {
    const norms = filters.map((one) => one.norm).sort((a, b) => a - b), pairs = (shown.length * (shown.length - 1)) / 2;
    message.textContent = [
      changed ? "The change since the initial weights." : "",
      colour ? "Red, green and blue are the weights of the three input channels, grey is zero." : "Blue is negative, white zero, orange positive.",
      `Norms from ${format(norms[0])} to ${format(norms[norms.length - 1])}; ${twins} of ${pairs.toLocaleString("en")} pairs nearly alike (cosine above ${ALIKE}).`,
      shown.length < filters.length ? `${shown.length} of ${filters.length.toLocaleString("en")} kernels are drawn.` : "",
    ].filter(Boolean).join(" ");
  }

  return {
    element: make("div", {}, make("div", { className: "controls" }, make("label", {}, "Order", order),
      make("label", {}, ownScale, "each on its own scale"), lessLabel, coloursLabel, innerLabel), tiles.element, message, distance,
    makeMeanings("What these words mean", MEANINGS)),
    draw,
    lookAt,
  };
}
