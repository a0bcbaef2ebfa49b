// Training: the epoch that is shown, and the loss up to it.

import { make, makeSvg } from "../draw.js";

/** @typedef {import("../types.d.ts").Lens} Lens */

/** @param {Lens} lens */
export function makeEpochs(lens) {
  const { epochs } = lens, { curve } = lens.data;
  const slider = make("input", { type: "range", min: 0, max: epochs.length - 1, step: 1 });
  const told = make("span", {}), drawn = make("div", { className: "curve" });
  slider.addEventListener("input", () => void lens.set({ epoch: epochs[Number(slider.value)] }));
  return {
    element: lens.network.epochs
      ? make("div", { className: "controls" }, make("label", {}, "Epoch", slider, told), drawn) : null,
    draw() {
      const { epoch } = lens.state;
      slider.value = String(epochs.indexOf(epoch));
      told.textContent = epoch === null ? "" : `epoch ${epoch}`;
      slider.setAttribute("aria-valuetext", told.textContent);
      if (!curve || epoch === null) return;
      const { loss, accuracy } = curve, many = loss.length, most = Math.max(...loss) || 1;
      const points = loss.map((value, i) => `${((i + 1) / many) * 100},${29 - (28 * value) / most}`).join(" ");
      const here = (epoch / many) * 100, thin = { "vector-effect": "non-scaling-stroke" };
      drawn.replaceChildren(
        makeSvg("svg", { viewBox: "0 0 100 30", width: 160, height: 40, preserveAspectRatio: "none", "aria-hidden": "true" },
          makeSvg("polyline", { points, fill: "none", stroke: "currentColor", "stroke-width": 1.5, ...thin }),
          makeSvg("line", { x1: here, x2: here, y1: 0, y2: 30, stroke: "var(--mark)", "stroke-width": 2, ...thin })),
        make("span", {}, epoch
          ? `training loss ${loss[epoch - 1].toFixed(2)}, accuracy ${(100 * accuracy[epoch - 1]).toFixed(1)} %` : "before training"));
    },
  };
}
