// Which images a filter responds to most, and which filters never respond.

import { format, make, makeButton, paintImage } from "../draw.js";
import { following } from "../filters.js";

/** @typedef {import("../types.d.ts").Lens} Lens */

const FEW_IMAGES = 5;

/** The layer whose numbers are a filter's response: the one shown, or the last of the batch norm and activation after it.
 * @param {Lens} lens */
export const respondingPlace = ({ layers, state }) => following(layers, state.place).at(-1) ?? state.place;

/** @param {Lens} lens */
export function makeResponses(lens) {
  const title = lens.heading("Images to which the filter responds most"), dead = make("p", {});
  const most = make("div", { className: "tiles", role: "group", "aria-label": "Images to which the filter responds most" });
  return {
    element: make("div", {}, title, most, dead),
    draw() {
      const { responses, state, layers } = lens, ready = responses.length > 0 && state.channel < responses[0].length;
      title.hidden = most.hidden = layers[state.place].kind !== "conv" || !lens.count;
      most.replaceChildren();
      dead.textContent = title.hidden || ready || !lens.outputs[respondingPlace(lens)] ? "" : `Computing all ${lens.count} images …`;
      if (!ready) return;
      const order = responses.map((found, image) => ({ image, ...found[state.channel] })).sort((a, b) => b.most - a.most);
      for (const { image, most: value, row, column } of order.slice(0, FEW_IMAGES)) {
        const canvas = make("canvas", { ariaHidden: "true" });
        paintImage(canvas, lens.imageOf(image));
        const button = makeButton(format(value), () => void lens.set({ image, row, column }),
          { ariaLabel: `image ${image}, largest response ${format(value)}` });
        button.prepend(canvas);
        most.append(button);
      }
      const end = layers[respondingPlace(lens)];
      if (end.kind === "conv" && (end.activation ?? "linear") === "linear") return;  // it responds to every image, up or down
      const never = [...responses[0].keys()].filter((filter) => responses.every((found) => found[filter].most <= 0));
      dead.textContent = `${never.length} of ${responses[0].length} filters never respond to these ${lens.count} images` +
        `${never.length ? `: ${never.join(", ")}` : ""}.`;
    },
  };
}
