// Changing a kernel, and what that does to the images that are classified correctly.

import { make, makeButton, makeMeanings } from "../draw.js";
import { PRESETS } from "../filters.js";

/** @typedef {import("../types.d.ts").Lens} Lens */

const OFF = "All weights and the bias are 0, so the filter outputs 0 at every position: what does the network predict without it?";

/** @param {Lens} lens */
export function makeEdit(lens) {
  const message = make("p", { role: "status" }), which = make("p", {});

  /** Give the chosen filter another kernel, the same for all its input channels.
   * @type {(name: string, kernel: Float32Array) => void} */
  function preset(name, kernel) {
    const [rows, columns, channels, filters] = lens.layers[lens.state.place].kernel_shape;
    for (let inner = 0; inner < channels; inner++) {
      for (let at = 0; at < rows * columns; at++) {
        const where = (at * channels + inner) * filters + lens.state.channel;
        kernel[where] = PRESETS[name].weight(Math.floor(at / columns), at % columns, rows, columns, kernel[where]);
      }
    }
  }

  const buttons = Object.entries(PRESETS).map(([name, { meaning }]) =>
    makeButton(name, () => lens.edit((kernel) => preset(name, kernel)), { title: meaning }));
  const ablate = makeButton("switch the filter off", () => lens.edit((kernel, bias) => {
    preset("zero", kernel);
    if (bias) bias[lens.state.channel] = 0;
  }), { title: OFF });
  const reset = makeButton("reset", () => lens.edit(null), { title: "Take all edits back, in every layer." });
  const meanings = Object.entries(PRESETS).map(([name, { meaning }]) => [name, meaning]);
  return {
    element: make("div", {}, make("div", { className: "controls", role: "group", "aria-label": "Edit the kernel" },
      ...buttons, ablate, reset), which, message,
    makeMeanings("What these buttons do", Object.fromEntries([...meanings, ["switch the filter off", OFF]]))),
    /** Which layers are edited, at which epochs. */
    draw() {
      const edits = [...lens.network.edits.values()];
      reset.disabled = !edits.length;
      const told = edits.map(({ place, epoch }) => lens.layers[place].name + (epoch === null ? "" : ` at epoch ${epoch}`));
      which.textContent = told.length ? `You have edited ${told.join(", ")}. “reset” takes all edits back.` : "";
    },
    /** @param {{ edited: number, trained: number } | null} right how many images are classified correctly */
    judge(right) {
      message.textContent = right
        ? `Edited, the network classifies ${right.edited} of these ${lens.count} images correctly; as trained, ${right.trained}.` : "";
    },
  };
}
