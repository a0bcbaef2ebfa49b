// A row of things to choose from: one tab stop, arrow keys move and choose.

import { make } from "./draw.js";

/** What one tile shows: its name, a canvas to paint or text, whether it is pale.
 * @typedef {{ label: string, text?: string, title?: string, pale?: boolean, paint?: (canvas: HTMLCanvasElement) => void }} Tile */

/** How far the arrow keys go: to the next tile, or to the one in the next row.
 * @type {Record<string, "next" | "last" | "below" | "above" | "first" | "end">} */
const KEYS = {
  ArrowRight: "next", ArrowLeft: "last", ArrowDown: "below", ArrowUp: "above", Home: "first", End: "end",
};

/** @param {string} label
 *  @param {(at: number) => void} onChoose
 *  @param {string} className */
export function makeTiles(label, onChoose, className = "") {
  const element = make("div", { className: `tiles ${className}`, role: "radiogroup", "aria-label": label });
  /** @type {HTMLButtonElement[]} */
  const buttons = [];
  let shown = 0, chosen = 0;

  /** @param {number} at */
  function add(at) {
    const canvas = make("canvas", { ariaHidden: "true" }), text = make("span", {});
    const button = make("button", { type: "button", role: "radio" }, canvas, text);
    button.addEventListener("click", () => onChoose(at));
    buttons.push(button);
    element.append(button);
  }

  /** The tile that a key leads to.
   * @param {"next" | "last" | "below" | "above" | "first" | "end"} way */
  function target(way) {
    if (way === "next" || way === "last") return Math.min(Math.max(chosen + (way === "next" ? 1 : -1), 0), shown - 1);
    if (way === "first" || way === "end") return way === "first" ? 0 : shown - 1;
    const here = buttons[chosen].offsetLeft, top = buttons[chosen].offsetTop, down = way === "below" ? 1 : -1;
    for (let at = chosen + down, row = top; at >= 0 && at < shown; at += down) {
      const { offsetTop, offsetLeft } = buttons[at];
      if (row === top && offsetTop !== top) row = offsetTop;
      else if (row !== top && offsetTop !== row) break;
      if (row !== top && down * (offsetLeft - here) >= 0) return at;
    }
    return chosen;
  }

  element.addEventListener("keydown", (event) => {
    const way = KEYS[event.key];
    if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const at = target(way);
    buttons[at].focus();
    if (at !== chosen) onChoose(at);
  });

  return {
    element,
    /** Show these tiles, one of them chosen; elements stay what they were, and so does the keyboard.
     * @param {Tile[]} tiles
     * @param {number} at */
    update(tiles, at) {
      while (buttons.length < tiles.length) add(buttons.length);
      for (const one of buttons.splice(Math.max(tiles.length, 1))) one.remove();
      shown = tiles.length;
      element.hidden = !shown;
      tiles.forEach((tile, number) => {
        const button = buttons[number], canvas = /** @type {HTMLCanvasElement} */ (button.firstChild);
        button.setAttribute("aria-label", tile.label);
        button.title = tile.title ?? tile.label;
        button.classList.toggle("pale", Boolean(tile.pale));
        canvas.hidden = !tile.paint;
        tile.paint?.(canvas);
        /** @type {HTMLElement} */ (button.lastChild).textContent = tile.text ?? "";
      });
      this.choose(at);
    },
    /** @param {number} at */
    choose(at) {
      chosen = at;
      buttons.forEach((button, number) => {
        button.setAttribute("aria-checked", String(number === at));
        button.tabIndex = number === at || (at < 0 && number === 0) ? 0 : -1;
      });
    },
    /** Bring the chosen tile into sight, where the row scrolls. */
    reveal() {
      const button = buttons[chosen];
      if (!button || element.scrollWidth <= element.clientWidth) return;
      const left = button.offsetLeft - element.offsetLeft;
      if (left < element.scrollLeft || left + button.offsetWidth > element.scrollLeft + element.clientWidth) {
        element.scrollLeft = left - (element.clientWidth - button.offsetWidth) / 2;
      }
    },
  };
}
