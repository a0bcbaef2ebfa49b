// A table of numbers with colours; its cells are edited as in a spreadsheet.

import { brief, diverging, largestOf, luminance, make } from "./draw.js";

/** @type {Record<string, [number, number]>} */
export const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** @type {(cell: HTMLElement, value: number | null, scale: number) => void} */
function colour(cell, value, scale) {
  const shade = value === null || value !== value ? null : diverging(value / scale);
  cell.style.background = shade ? `rgb(${shade})` : "";
  cell.style.color = shade ? (luminance(shade) > 0.179 ? "#000" : "#fff") : "";
}

/** How wide a number is, in digits.
 * @param {string} text */
const widthOf = (text) => text.length + (text.includes("−") ? 0.35 : 0) - (text.includes(".") ? 0.45 : 0);

/** The field of a cell. Arrow keys move from cell to cell until the reader types; Enter takes the number and goes down,
 *  Escape puts the old one back.
 * @type {(label: string, change: (value: number) => void, move: (rows: number, columns: number) => void) => HTMLInputElement} */
function makeField(label, change, move) {
  const field = make("input", { type: "text", inputMode: "decimal", ariaLabel: label, autocomplete: "off" });
  let kept = "", typing = false;
  field.addEventListener("focus", () => {
    [kept, typing] = [field.value, false];
    field.select();
  });
  field.addEventListener("input", () => { typing = true; });
  field.addEventListener("pointerdown", () => { typing = field.matches(":focus"); });  // a second click puts the caret
  field.addEventListener("change", () => {
    const value = Number(field.value.replace("−", "-").replace(",", "."));
    if (field.value.trim() && Number.isFinite(Math.fround(value))) {  // what a float32 can hold
      change(value);
      kept = field.value;
    } else field.value = kept;
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      [field.value, typing] = [kept, false];
      field.select();
    } else if (event.key === "F2") typing = true;
    else if (MOVES[event.key] && (!typing || event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      move(...MOVES[event.key]);
    } else if (event.key === "Enter") typing = false;
    else if (!typing && event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
      kept = field.value;
      field.select();  // what is typed replaces it
    }
  });
  return field;
}

/** @param {boolean} edited whether cells can be edited */
export function makeGrid(edited) {
  const caption = make("caption", {}), head = make("thead", {}), body = make("tbody", {});
  const element = make("table", { className: "grid" }, caption, head, body);
  /** @type {HTMLTableCellElement[]} */
  let cells = [];
  /** @type {HTMLInputElement[]} */
  let fields = [];
  let sides = "", wide = "", current = 0;
  /** @type {((at: number, value: number) => void) | null} */
  let onEdit = null;

  /** @param {number} at */
  function stopAt(at) {
    current = at;
    fields.forEach((field, number) => { field.tabIndex = number === at ? 0 : -1; });
  }

  /** @type {(rows: number, columns: number) => void} */
  function build(rows, columns) {
    [cells, fields] = [[], []];
    const numbers = Array.from({ length: columns }, (_, column) => make("th", { scope: "col" }, String(column)));
    head.replaceChildren(make("tr", {}, make("td", { className: "corner" }), ...numbers));
    body.replaceChildren(...Array.from({ length: rows }, (_, row) => {
      const line = Array.from({ length: columns }, (_, column) => {
        const at = row * columns + column, cell = make("td", {});
        if (edited) {
          const field = makeField("", (value) => onEdit?.(at, value), (down, right) => {
            const [y, z] = [row + down, column + right];
            if (y >= 0 && y < rows && z >= 0 && z < columns) fields[y * columns + z].focus();
          });
          field.addEventListener("focus", () => stopAt(at));
          fields.push(field);
          cell.append(field);
        }
        cells.push(cell);
        return cell;
      });
      return make("tr", {}, make("th", { scope: "row" }, String(row)), ...line);
    }));
    stopAt(Math.min(current, Math.max(fields.length - 1, 0)));
  }

  return {
    element,
    /** Show numbers, null where there is none; change: is given the place and the new number of a cell that was edited.
     * @type {(numbers: (number | null)[], rows: number, columns: number, words: string, change?: (at: number, value: number) => void) => void} */
    update(numbers, rows, columns, words, change) {
      if (sides !== `${rows} ${columns}`) build(rows, columns);
      sides = `${rows} ${columns}`;
      onEdit = change ?? null;
      caption.textContent = words;
      const scale = largestOf(numbers) || 1, texts = numbers.map((value) => value === null ? "·" : brief(value));
      const widest = `${Math.max(...texts.map(widthOf)).toFixed(2)}ch`;
      if (widest !== wide) element.style.setProperty("--wide", wide = widest);
      numbers.forEach((value, at) => {
        colour(cells[at], value, scale);
        if (!edited) {
          cells[at].textContent = texts[at];
          return;
        }
        const field = fields[at], label = `${words}, row ${Math.floor(at / columns)}, column ${at % columns}`;
        if (field.ariaLabel !== label) field.ariaLabel = label;
        field.value = texts[at];
      });
    },
  };
}
