// The kernel lens: one module without dependencies, for a notebook (anywidget) and for a page that stands alone.

import { make } from "./draw.js";
import { sameSpot } from "./filters.js";
import { render } from "./render.js";

/** @typedef {import("./types.d.ts").Payload} Payload
 *  @typedef {ReturnType<typeof render>} Shown */

/** Two lenses side by side; where one is looked at, the other follows: the same image, the reader's own too, the layer
 *  of the same name, the same part of the map, and the epoch, where both have kept the same ones. The page's address holds
 *  what the first looks at.
 * @param {HTMLElement} el
 * @param {Payload[]} both
 * @param {import("./types.d.ts").Options} options */
function compare(el, both, options) {
  /** @type {Shown[]} */
  const shown = [];
  both.forEach((data, number) => {
    const panel = el.appendChild(make("section", { ariaLabel: data.title }));
    shown.push(render(panel, data, {
      address: options.address && number === 0,
      onChange: ({ place, row, column, channel, image, epoch }) => {
        const one = shown[number], other = shown[1 - number];
        if (!other || !one) return;
        if (image === one.count && String(one.own.data) !== String(other.own.data)) other.takeOwn(one.own);
        const from = one.network.layers[place], layers = other.network.layers;
        const same = layers.findIndex((layer) => layer.name === from.name), to = layers[same < 0 ? other.state.place : same];
        /** @type {Partial<import("./types.d.ts").State>} */
        const changes = sameSpot({ row, column }, from.shape, to.shape);
        changes.image = image === one.count ? other.count : Math.min(image, Math.max(other.count - 1, 0));
        if (String(one.network.epochs) === String(other.network.epochs)) changes.epoch = epoch;
        void other.set(same < 0 ? changes : { ...changes, place: same, channel }, true);
      },
    }));
  });
  void shown[0].set({});  // the other opens where the first does
  el.style.cssText = "display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr));";
  return shown;
}

/** One lens or, of a list, two beside each other.
 * @param {HTMLElement} el
 * @param {Payload | Payload[]} data
 * @param {import("./types.d.ts").Options} options */
function start(el, data, options) {
  return Array.isArray(data) ? compare(el, data, options) : render(el, data, options);
}

/** What a notebook asks for: anywidget's door. It is given back what ends the lens. */
export default {
  /** @param {{ model: { get: (name: string) => any }, el: HTMLElement }} asked */
  render({ model, el }) {
    const shown = start(el.appendChild(make("div")), model.get("data"), {});
    return () => [shown].flat().forEach((one) => one.stop());
  },
};
