// What the network predicts: its last layer's numbers, the largest first.

import { format, make, makeButton, percent } from "../draw.js";
import { predicted, valuesOf } from "../head.js";

/** @typedef {import("../types.d.ts").Lens} Lens */

const FEW_CLASSES = 10;

/** A change with its sign; in points, of probabilities.
 * @type {(gain: number, points: boolean) => string} */
function signed(gain, points) {
  const text = points ? Math.abs(100 * gain).toFixed(1) : format(Math.abs(gain));
  return (gain < 0 && Number(text) !== 0 ? "−" : "+") + text;
}

/** @param {Lens} lens */
export function makeClasses(lens) {
  const element = make("div", { className: "classes" });
  let all = false;

  /** The label of the image shown, where the network's classes are what it is a number of. */
  function labelShown() {
    return lens.data.head.exclusive ? lens.data.labels?.[lens.state.image] ?? null : null;
  }

  function draw() {
    const { head } = lens.data, last = lens.outputs.at(-1), values = valuesOf(head, last), names = head.names ?? [];
    element.replaceChildren();
    if (!values.length) return;
    if (values.some((value) => value !== value)) {
      element.append(make("p", { className: "hint" }, "The network's outputs are not numbers (NaN) here, so it predicts nothing."));
      return;
    }
    const chances = head.kind === "probabilities", label = labelShown(), chosen = predicted(head, last);
    const before = lens.trained ? valuesOf(head, lens.trained) : null, print = chances ? percent : format;
    const order = values.map((value, number) => ({ value, number }));
    if (chances && head.exclusive) order.sort((one, two) => two.value - one.value);
    const shown = all ? order : order.slice(0, FEW_CLASSES);
    shown.push(...order.slice(shown.length).filter(({ number }) => number === label));
    const lines = shown.map(({ value, number }) => {
      const bar = make("i", {}), gain = before ? value - before[number] : 0;
      bar.style.width = chances ? `${(100 * value).toFixed(1)}%` : "0";
      const mark = number === label ? make("em", { className: "true" }, "true class") : null;
      return make("tr", { className: number === chosen ? "bar predicted" : "bar" },
        make("th", { scope: "row" }, names[number] ?? `output ${number}`, mark),
        chances ? make("td", { className: "track", ariaHidden: "true" }, bar) : null, make("td", {}, print(value)),
        before ? make("td", {}, signed(gain, chances)) : null);
    });
    const titles = [chances ? "Class" : "Output", chances ? "" : null, chances ? "Probability" : "Number", before ? "By your edits" : null];
    element.append(make("table", {}, make("thead", {}, make("tr", {}, ...titles.filter((one) => one !== null).map((title) =>
      title ? make("th", { scope: "col" }, title) : make("td", {})))), make("tbody", {}, ...lines)));
    if (order.length > shown.length || (all && order.length > FEW_CLASSES)) {
      element.append(makeButton(all ? `show the first ${FEW_CLASSES}` : `show all ${order.length}`, () => {
        all = !all;
        draw();
      }));
    }
  }
  return { element, draw };
}
