// One lens: its state, the work it asks for, and when which view is drawn.

import { decodeBytes } from "./decode.js";
import { make } from "./draw.js";
import { sameSpot, strongest } from "./filters.js";
import { Network } from "./network.js";
import { addressWriter, firstState, fromAddress, keepWithin } from "./state.js";
import { STYLE } from "./style.js";
import { makeClasses } from "./views/classes.js";
import { makeEdit } from "./views/edit.js";
import { makeEpochs } from "./views/epochs.js";
import { makeKernels } from "./views/kernels.js";
import { makeMap } from "./views/map.js";
import { makeOwn } from "./views/own.js";
import { makeResponses, respondingPlace } from "./views/responses.js";
import { makeChoice, makeSeen } from "./views/seen.js";
import { makeStrip } from "./views/strip.js";
import { makeSum } from "./views/sum.js";
import { startWork } from "./worker.js";

/** @typedef {import("./types.d.ts").Lens} Lens
 *  @typedef {import("./types.d.ts").Payload} Payload
 *  @typedef {import("./types.d.ts").State} State
 *  @typedef {import("./types.d.ts").Tensor} Tensor */

const PATIENCE = 80;  // milliseconds of a pass, after which a bar tells of it

/** Draw the lens into an element; returns what a page may ask of it.
 * @param {HTMLElement} el
 * @param {Payload} data
 * @param {import("./types.d.ts").Options} options */
export function render(el, data, options = {}) {
  const network = new Network(data), layers = network.layers, [count, ...shape] = data.images.shape;
  const root = el.shadowRoot ?? el.attachShadow({ mode: "open" });
  const bytes = decodeBytes(data.images), many = shape.reduce((product, side) => product * side, 1);
  const state = firstState(data), writeAddress = addressWriter();
  const hash = options.address ? location.hash : "";

  /** @type {Lens} */
  const lens = {
    data, network, layers, state, count, root, set, edit, ownChanged, redraw,
    epochs: network.epochs ?? [null],
    own: { shape, data: new Float32Array(many).fill(255) },
    outputs: [],
    trained: null,
    responses: [],
    placed: false,
    imageOf: (number) => number === count ? lens.own
      : { shape, data: Float32Array.from(bytes.subarray(number * many, (number + 1) * many)) },
    nameOf: (number) => number === count ? "your own"
      : data.labels ? data.classes?.[data.labels[number]] ?? `class ${data.labels[number]}` : `image ${number}`,
    heading: (text) => make(options.page ? "h2" : "h3", { className: "head" }, text),
    isMap: () => layers[state.place].shape.length === 3,
  };

  // Work is numbered: what is found for a pass that another has followed is kept but not drawn.
  let asked = 0, busy = false, heard = "", round = 0;
  const work = startWork(data, take, !/[#&]worker=no(&|$)/.test(location.hash));

  /** @param {import("./types.d.ts").Answer} answer */
  function take(answer) {
    if (answer.what === "show") {
      lens.outputs = [...lens.outputs.slice(0, answer.from), ...answer.outputs];
      lens.trained = answer.trained;
      if (answer.id !== asked) return;
      busy = false;
      redraw("strip", "layer", "kernels", "classes", "point", "background");
      flush();
    } else if (answer.what === "share") bar.value = answer.share;
    else if (answer.what === "failed") {
      failure.textContent = `The lens could not compute this network: ${answer.why}.`;
      busy = false;
      tellBusy();
    }
    else if (answer.what === "judge" && answer.id === round) views.edit.judge(answer.right);
    else if (answer.what === "listen" && answer.id === round) {
      lens.responses = answer.found;
      redraw("responses");
    }
  }

  /** Ask for all outputs anew; until they are there what was drawn stays, after a while pale. */
  function pass() {
    if (!busy) setTimeout(tellBusy, PATIENCE);
    busy = true;
    work.post({ what: "show", id: ++asked, image: lens.imageOf(state.image).data.slice(), epoch: state.epoch });
  }

  /** Ask what every filter responds to, and, of an edited network, how many images it classifies correctly. */
  function background() {
    const end = respondingPlace(lens), { place, epoch, range } = state, id = round + 1;
    const about = [place, epoch, range, network.changes].join(" ");
    if (heard === about) return;
    [heard, round] = [about, id];
    lens.responses = [];
    redraw("responses");
    views.edit.judge(null);
    work.post({ what: "stop" });
    if (layers[place].kind === "conv" && lens.outputs[end] && count) work.post({ what: "listen", id, epoch, end });
    if (network.edited(epoch) && data.labels && data.head.exclusive) work.post({ what: "judge", id, epoch });
  }

  // Drawing: once a frame, whatever has changed since the last. A pass is asked for at once, unless one is under way.
  /** @type {Set<string>} */
  const changed = new Set();
  /** @type {(() => void)[]} */
  let waiting = [];
  let due = false;

  /** @param {string[]} parts */
  function redraw(...parts) {
    parts.forEach((part) => changed.add(part));
    if (!busy && changed.delete("pass")) pass();
    if (due) return;
    due = true;
    if (document.hidden) setTimeout(flush);
    else requestAnimationFrame(flush);
  }

  function flush() {
    due = false;
    if (changed.delete("image")) {
      views.seen.draw();
      views.choice.choose();
      views.epochs.draw();
    }
    if (changed.delete("own")) {
      views.own.draw();
      views.choice.draw();
    }
    if (changed.delete("pass")) pass();
    if (!busy) drawFound();
    if (busy || changed.size) return;
    tellBusy(false);
    const done = waiting;
    waiting = [];
    done.forEach((then) => then());
  }

  /** Draw what has changed of what a pass finds. */
  function drawFound() {
    lookAtStrongest();
    if (changed.delete("strip")) views.strip.draw();
    else if (changed.has("layer")) views.strip.choose();
    if (changed.delete("layer")) {
      views.map.draw();
      channels.hidden = !lens.isMap();
    }
    if (changed.delete("classes")) views.classes.draw();
    if (changed.delete("kernels")) {
      const shown = layers[state.place].kind === "conv" && network.weights(state.place, state.epoch) !== null;
      gallery.hidden = !shown;
      if (shown) {
        views.kernels.draw();
        views.edit.draw();
      }
    }
    if (changed.delete("background")) background();
    if (changed.delete("responses")) views.responses.draw();
    if (changed.delete("point")) {
      views.sum.draw();
      views.seen.drawField();
      views.map.drawSpot();
    }
  }

  function tellBusy(shown = busy) {
    bar.hidden = !shown;
    body.ariaBusy = String(shown);
  }

  const looking = () => [state.place, state.channel, state.image].join(" ");
  let lookedAt = "";  // for what the pixel was last chosen

  /** Look at the strongest pixel of a channel that is looked at anew, unless the reader has chosen one. */
  function lookAtStrongest() {
    const out = lens.outputs[respondingPlace(lens)];
    if (lens.placed || !out || !lens.isMap() || lookedAt === looking()) return;
    lookedAt = looking();
    const { row, column } = strongest(out)[state.channel];
    Object.assign(state, { row, column });
    options.onChange?.(state);
  }

  /** Change some of the state; what depends on it is drawn in the next frame. Resolves when it is.
   * @type {Lens["set"]} */
  function set(changes, quietly = false) {
    const before = { ...state }, place = changes.place ?? state.place;
    Object.assign(state, sameSpot(before, layers[before.place].shape, layers[place]?.shape ?? []), changes);
    if (!lens.epochs.includes(state.epoch)) state.epoch = before.epoch;
    keepWithin(state, layers, count);
    const chosen = "row" in changes || "column" in changes;
    lens.placed = lens.isMap() && (lens.placed || (chosen && !quietly));
    if (lens.placed || !lens.isMap()) lookedAt = "";
    else if (chosen && quietly) lookedAt = looking();
    const other = (/** @type {(keyof State)[]} */ ...names) => names.some((name) => state[name] !== before[name]);
    if (other("range")) {
      work.post({ what: "range", range: state.range });
      redraw("own");
    }
    if (other("image", "epoch", "range")) redraw("image", "pass");
    if (other("place", "channel", "inner")) redraw("layer", "kernels", "responses");
    if (other("place")) redraw("background");
    redraw("point");
    if (options.address) writeAddress(state);
    if (!quietly) options.onChange?.(state);
    return ready();
  }

  /** Resolves when everything asked for so far is computed and drawn. */
  function ready() {
    return new Promise((/** @type {(value: void) => void} */ then) => {
      waiting.push(then);
      redraw();
    });
  }

  /** @type {Lens["edit"]} */
  function edit(change) {
    const { place, epoch } = state;
    if (change) {
      const edited = network.changed(place, epoch, change);
      network.edit(place, epoch, edited);
      work.post({ what: "edit", place, epoch, edit: edited });
    } else {
      network.reset();
      work.post({ what: "reset" });
    }
    redraw("pass", "kernels");
  }

  /** @type {Lens["ownChanged"]} */
  function ownChanged(quietly = false) {
    redraw("own", "image");
    if (state.image === count) redraw("pass");
    void set({ image: count }, quietly);
  }

  const views = {
    strip: makeStrip(lens), choice: makeChoice(lens), own: makeOwn(lens), seen: makeSeen(lens), classes: makeClasses(lens),
    epochs: makeEpochs(lens), map: makeMap(lens), kernels: makeKernels(lens), edit: makeEdit(lens), responses: makeResponses(lens),
    sum: makeSum(lens, (inner) => views.kernels.lookAt(inner)),
  };
  const bar = make("progress", { max: 1, value: 0, hidden: true, ariaLabel: "Computing" });
  const failure = make("p", { className: "failure", role: "alert" });
  const panel = (/** @type {string} */ className, /** @type {(Node | string | null)[]} */ ...children) =>
    make("section", { className: `panel ${className}` }, ...children);
  const { heading } = lens;
  const channels = panel("", views.map.channels);
  const gallery = make("div", { className: "pair" },
    panel("", heading("Kernels"), views.kernels.element),
    panel("", heading("Edit the chosen kernel, all its input channels"), views.edit.element, views.responses.element));
  const body = make("div", { className: "body" },
    make("div", { className: "looking" },
      panel("", heading("Image"), views.seen.element, views.classes.element),
      panel("", heading("Output of the layer"), views.map.element),
      panel("", heading("How the number comes about"), views.sum.element)),
    channels, gallery);
  const notes = [...data.notes, ...(data.rounded === "8 bits" ? ["So that the page stays small, kernels are rounded to 8 bits."] : [])];
  const element = make("div", { className: "lens" },
    make(options.page ? "h1" : "h2", { className: "title" }, data.title), ...notes.map((text) => make("p", { className: "hint" }, text)),
    panel("", make("div", { className: "controls" }, views.strip.list, views.epochs.element, views.own.range, bar), views.strip.element, views.map.note, failure),
    panel("", views.choice.element, views.own.element), body);
  root.replaceChildren(make("style", {}, STYLE), element);
  el.setAttribute("data-lm-suppress-shortcuts", "true");  // JupyterLab's own keys rest while the keyboard is in here
  element.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();  // and so do those of other hosts
  });
  void set({ ...data.view, ...fromAddress(state, hash) });
  // not location.hash: by now the lens may have written there what it looked at before
  if (options.address) addEventListener("hashchange", ({ newURL }) => void set(fromAddress(state, new URL(newURL).hash)));
  redraw("image", "own", ...(busy ? [] : ["pass"]));
  return {
    state, set, network, count, ready, own: lens.own, stop: work.stop,
    outputs: () => lens.outputs,
    where: () => work.where,
    /** Draw at once what is due, as the next frame would. */
    flush,
    /** Take another lens's own image, where it has this one's size.
     * @param {Tensor} image */
    takeOwn(image) {
      if (String(image.shape) !== String(shape)) return;
      lens.own.data.set(image.data);
      ownChanged(true);
    },
  };
}
