// The kernel lens: one module without dependencies, for a notebook (anywidget) and for a page that stands alone.

import { decode } from "./decode.js";
import { diverging, format, largestOf, luminance, make, makeSvg, paint, paintChannel, paintImage } from "./draw.js";
import { softmax } from "./engine.js";
import { explain, explainNext } from "./explain.js";
import { clamp, receptiveField } from "./field.js";
import { ALIKE, PRESETS, cosine, filtersOf, following, nearTwins, normOf, sameSpot, strongest } from "./filters.js";
import { finish, inSlices } from "./forward.js";
import { Network } from "./network.js";
import { STYLE } from "./style.js";

/** Numbers as a table, coloured; onEdit: called with the place and the new number of a cell that the reader changes. */
function grid(numbers, rows, columns, caption, onEdit = null) {
  const table = make("table", {}, make("caption", {}, caption));
  const scale = largestOf(numbers) || 1;
  for (let row = 0; row < rows; row++) {
    const cells = numbers.slice(row * columns, (row + 1) * columns).map((value, column) => {
      const cell = make("td", { className: value === null ? "out" : "" }, value === null ? "·" : format(value));
      if (onEdit) {
        const field = make("input", { type: "number", step: 0.05, value: value.toFixed(3) });
        field.setAttribute("aria-label", `${caption}, row ${row}, column ${column}`);
        field.addEventListener("change", () => {
          if (Number.isFinite(field.valueAsNumber)) onEdit(row * columns + column, field.valueAsNumber);
        });
        cell.replaceChildren(field);
      }
      if (value !== null) {
        const colour = diverging(value / scale);
        cell.style.background = `rgb(${colour})`;
        cell.style.color = luminance(colour) > 0.179 ? "#000" : "#fff";
      }
      return cell;
    });
    table.append(make("tr", {}, ...cells));
  }
  return table;
}

const MOST_TILES = 256;
const SLOW = 20e6;  // multiply-adds, beyond which a pass is done in slices, under a bar
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Draw the lens into an element; returns what a page may ask of it. Not exported: anywidget would take it for its own
 *  door, below. */
function render(el, data, options = {}) {
  const heading = (text) => make(options.hash ? "h2" : "h3", { className: "head" }, text);
  const network = new Network(data), layers = network.layers;
  const root = el.shadowRoot ?? el.attachShadow({ mode: "open" });
  const [count, height, width, channels] = data.images.shape, bytes = decode(data.images);
  const own = { shape: [height, width, channels], data: new Float32Array(height * width * channels).fill(255) };
  const imageOf = (number) => number === count ? own : ({
    shape: [height, width, channels],
    data: Float32Array.from(bytes.subarray(number * own.data.length, (number + 1) * own.data.length)),
  });
  const nameOf = (number) => number === count ? "your own"
    : data.labels ? data.classes?.[data.labels[number]] ?? `class ${data.labels[number]}` : `image ${number}`;
  const firstConv = Math.max(0, layers.findIndex((layer) => layer.kind === "conv"));
  const epochs = network.epochs ?? [null];
  const state = { place: firstConv, channel: 0, inner: 0, row: 0, column: 0, image: 0, epoch: epochs.at(-1) };
  let outputs = [], trained = null, stale = true;  // trained: the last layer's output without edits, where there are some
  let giveUp = null;  // the pass under way
  let placed = false;  // whether a pixel is chosen

  const parts = {
    body: make("div", { className: "body" }),
    work: make("progress", { max: 1, value: 0, hidden: true, ariaLabel: "Computing" }),
    images: make("div", { className: "tiles", role: "group", "aria-label": "Image" }),
    layer: make("select", { ariaLabel: "Layer" }),
    epoch: make("input", { type: "range", min: 0, max: epochs.length - 1, step: 1, "data-lm-suppress-shortcuts": "true" }),
    epochTold: make("output", {}),
    curve: make("div", {}),
    inputStage: make("div", { className: "stage" }),
    mapStage: make("div", { className: "stage" }),
    channels: make("div", { className: "tiles", role: "group", "aria-label": "Channel" }),
    sum: make("div", { className: "sum", role: "status", "aria-live": "polite" }),
    most: make("div", { className: "row controls", role: "group", "aria-label": "Where most comes from" }),
    grids: make("div", { className: "row wide" }),
    gallery: make("div", {}),
    classes: make("div", {}),
    note: make("p", { className: "note", role: "status" }),
  };
  const gallery = {
    order: make("select", {}, ...["number", "norm", "likeness to the chosen one"].map((name) => make("option", {}, name))),
    own: make("input", { type: "checkbox" }),
    colours: make("input", { type: "checkbox", checked: true }),
    change: make("input", { type: "checkbox" }),
    inner: make("input", { type: "number", min: 0, value: 0 }),
    tiles: make("div", { className: "tiles", role: "group", "aria-label": "Kernel" }),
    message: make("p", {}),
    moved: make("p", {}),
    most: make("div", { className: "tiles", role: "group", "aria-label": "Images to which the filter responds most" }),
    mostTitle: heading("Images to which the filter responds most"),
    dead: make("p", { role: "status" }),
  };
  gallery.coloursLabel = make("label", {}, gallery.colours, "three channels as colours");
  gallery.innerLabel = make("label", {}, "Input channel", gallery.inner);
  gallery.changeLabel = make("label", {}, gallery.change, "minus the initial weights");
  parts.gallery.append(
    heading("Kernels"),
    make("div", { className: "row controls" }, make("label", {}, "Order", gallery.order),
      make("label", {}, gallery.own, "each on its own scale"), gallery.changeLabel, gallery.coloursLabel,
      gallery.innerLabel),
    gallery.tiles, gallery.message, gallery.moved, gallery.dead,
    gallery.mostTitle, gallery.most);
  const editing = {
    box: make("div", { className: "row controls", role: "group", "aria-label": "Edit the kernel" }),
    message: make("p", { role: "status" }),
  };
  const resetButton = make("button", { type: "button" }, "reset");
  const ablateButton = make("button", { type: "button" }, "switch the filter off");
  const inputCanvas = make("canvas", { role: "img" });
  const mapCanvas = make("canvas", { tabIndex: 0, role: "application" });
  const outline = () => {
    const rect = makeSvg("rect", {});
    return { rect, svg: makeSvg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" }, rect) };
  };
  const field = outline(), spot = outline();
  parts.inputStage.append(inputCanvas, field.svg);
  parts.mapStage.append(mapCanvas, spot.svg);
  layers.forEach((layer, place) => {
    const shape = layer.shape.join("×"), kind = layer.kind === "unknown" ? `${layer.type}, unknown to the lens` : layer.kind;
    parts.layer.append(make("option", { value: String(place) }, `${layer.name} (${kind}, ${shape})`));
  });
  for (let number = 0; number < count; number++) {
    const canvas = make("canvas", { ariaHidden: "true" });
    paintImage(canvas, imageOf(number));
    const button = make("button", { type: "button", ariaLabel: `${nameOf(number)}, image ${number}` }, canvas);
    button.addEventListener("click", () => set({ image: number }));
    parts.images.append(button);
  }

  const ownCanvas = make("canvas", { ariaHidden: "true" });
  const ownButton = make("button", { type: "button", ariaLabel: "your own image" }, ownCanvas, "yours");
  ownButton.addEventListener("click", () => set({ image: count }));
  parts.images.append(ownButton);

  /** The own image has changed: show it. */
  function ownChanged(quietly = false) {
    paintImage(ownCanvas, own);
    paintImage(pen.canvas, own);
    stale ||= state.image === count;
    set({ image: count }, quietly);
  }

  const pen = {
    row: 0, column: 0,
    canvas: make("canvas", { tabIndex: 0, role: "application", ariaLabel: "Your own image. Arrow keys move the pen, Space draws a dot." }),
    colour: make("input", { type: "color", value: "#000000" }),
    file: make("input", { type: "file", accept: "image/*" }),
    clear: make("button", { type: "button" }, "clear"),
    message: make("p", { role: "status" }),
  };
  pen.canvas.className = "pen";
  paintImage(ownCanvas, own);
  paintImage(pen.canvas, own);
  const dot = (row, column) => {
    const hex = pen.colour.value, rgb = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const grey = Math.round((rgb[0] + rgb[1] + rgb[2]) / 3);
    for (let c = 0; c < channels; c++) own.data[(row * width + column) * channels + c] = channels === 1 ? grey : rgb[c] ?? 0;
    ownChanged();
  };
  pen.canvas.addEventListener("pointerdown", (event) => pen.canvas.setPointerCapture(event.pointerId));
  for (const kind of ["pointerdown", "pointermove"]) {
    pen.canvas.addEventListener(kind, (event) => {
      if (!event.buttons) return;
      const box = pen.canvas.getBoundingClientRect();
      dot(clamp(Math.floor(((event.clientY - box.top) / box.height) * height), 0, height - 1),
        clamp(Math.floor(((event.clientX - box.left) / box.width) * width), 0, width - 1));
    });
  }
  pen.canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (move) {
      pen.row = clamp(pen.row + move[0], 0, height - 1);
      pen.column = clamp(pen.column + move[1], 0, width - 1);
      pen.message.textContent = `pen at row ${pen.row}, column ${pen.column}`;
    } else dot(pen.row, pen.column);
  });
  pen.clear.addEventListener("click", () => {
    own.data.fill(255);
    ownChanged();
  });
  pen.file.addEventListener("change", async () => {
    try {
      const image = await createImageBitmap(pen.file.files[0]), small = make("canvas", { width, height });
      small.getContext("2d").drawImage(image, 0, 0, width, height);
      const pixels = small.getContext("2d").getImageData(0, 0, width, height).data;
      for (let at = 0; at < width * height; at++) {
        for (let c = 0; c < channels; c++) own.data[at * channels + c] = pixels[4 * at + Math.min(c, 2)];
      }
      pen.message.textContent = `Your file, made ${width}×${height} here; it has not left this page.`;
      ownChanged();
    } catch {
      pen.message.textContent = "This file is not an image that the browser can read.";
    }
  });

  const depth = () => layers[state.place].shape.at(-1);
  const isMap = () => layers[state.place].shape.length === 3;

  /** What has the keyboard, by its label: drawing makes many elements anew, and the keyboard must not fall out of them. */
  const focusedLabel = () => root.activeElement?.getAttribute("aria-label");
  function focusAgain(label) {
    if (label && focusedLabel() !== label) root.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus();
  }

  function drawLayer() {
    const layer = layers[state.place], out = outputs[state.place];
    parts.note.textContent = "";
    parts.channels.replaceChildren();
    parts.mapStage.hidden = saving.png.hidden = !out || !isMap();
    saving.message.textContent = isMap() ? "Save this feature map" : "Save these numbers";
    if (!out) {
      const unknown = layers.find((one, place) => one.kind === "unknown" && place <= state.place);
      parts.note.textContent = unknown
        ? `The lens doesn't know ${unknown.type} (layer ${unknown.name}), so it shows nothing from there on.`
        : `The weights of epoch ${state.epoch} were not kept for every layer up to ${layer.name}; the first, the middle and the last were.`;
      return;
    }
    const scale = largestOf(out.data) || 1, shown = Math.min(depth(), MOST_TILES);
    for (let channel = 0; channel < shown; channel++) {
      const button = make("button", { type: "button", ariaLabel: `channel ${channel}`, title: `channel ${channel}` });
      if (isMap()) {
        const canvas = make("canvas", { ariaHidden: "true" });
        paintChannel(canvas, out, channel, scale);
        button.append(canvas);
      } else {
        button.append(`${channel}: ${format(out.data[channel])}`);
      }
      button.setAttribute("aria-pressed", String(channel === state.channel));
      button.addEventListener("click", () => set({ channel }));
      parts.channels.append(button);
    }
    if (shown < depth()) parts.note.textContent = `${shown} of ${depth().toLocaleString("en")} channels are drawn.`;
    if (out.data.some((value) => value !== value)) parts.note.textContent = `${layer.name} holds numbers that are NaN.`;
    if (isMap()) {
      paintChannel(mapCanvas, out, state.channel, scale);
      spot.svg.setAttribute("viewBox", `0 0 ${out.shape[1]} ${out.shape[0]}`);
    }
  }

  /** The kernels of a convolution, or what changed in them since the start; one symmetric scale around zero; of three
   *  input channels, as colours. */
  function drawKernels() {
    const layer = layers[state.place], weights = network.weights(state.place, state.epoch);
    parts.gallery.hidden = layer.kind !== "conv" || !weights;
    if (parts.gallery.hidden) return;
    const start = network.epochs && network.array(layer.weights.kernel, network.epochs[0]);
    const change = start && weights.kernel.data.map((value, at) => value - start.data[at]);
    const less = change && gallery.change.checked;
    const filters = filtersOf(less ? { ...weights.kernel, data: change } : weights.kernel);
    const [rows, columns, channels] = weights.kernel.shape;
    gallery.changeLabel.hidden = !change;
    const colour = channels === 3 && gallery.colours.checked;
    gallery.coloursLabel.hidden = channels !== 3;
    gallery.innerLabel.hidden = channels === 1;
    gallery.inner.max = channels - 1;
    const chosen = filters[state.channel], scaleOfAll = Math.max(...filters.map((one) => largestOf(one.numbers))) || 1;
    const order = {
      number: (one, two) => one.filter - two.filter,
      norm: (one, two) => two.norm - one.norm,
      "likeness to the chosen one": (one, two) => cosine(two, chosen) - cosine(one, chosen),
    }[gallery.order.value];
    const shown = filters.slice(0, MOST_TILES).sort(order);
    gallery.tiles.replaceChildren(...shown.map((one) => {
      const canvas = make("canvas", { ariaHidden: "true" }), scale = gallery.own.checked ? largestOf(one.numbers) || 1 : scaleOfAll;
      const at = (place, channel) => one.numbers[place * channels + channel] / scale;
      paint(canvas, rows, columns, (place) =>
        colour ? [0, 1, 2].map((channel) => Math.round(127.5 + 127.5 * clamp(at(place, channel), -1, 1)))
          : diverging(at(place, clamp(state.inner, 0, channels - 1))));
      const button = make("button", { type: "button", ariaLabel: `kernel ${one.filter}, norm ${format(one.norm)}`,
        title: `kernel ${one.filter}, norm ${format(one.norm)}` }, canvas);
      button.setAttribute("aria-pressed", String(one.filter === state.channel));
      button.addEventListener("click", () => set({ channel: one.filter }));
      return button;
    }));
    const norms = filters.map((one) => one.norm).sort((a, b) => a - b), pairs = (shown.length * (shown.length - 1)) / 2;
    gallery.moved.textContent = change
      ? `Distance of this layer's kernels from their initial weights: ${(normOf(change) / normOf(start.data)).toFixed(2)} times the norm of the initial weights.` : "";
    gallery.message.textContent =
      `${less ? "The change since the initial weights. " : ""}${colour ? "Red, green and blue are the weights of the three input channels, grey is zero. " : "Blue is negative, white zero, orange positive. "}` +
      `Norms from ${format(norms[0])} to ${format(norms.at(-1))}; ${nearTwins(shown)} of ${pairs.toLocaleString("en")} pairs ` +
      `nearly alike (cosine above ${ALIKE}). ${shown.length < filters.length ? `${shown.length} of ${filters.length.toLocaleString("en")} kernels are drawn.` : ""}`;
  }

  /** A pass for what is shown, and, where there are edits, one as trained. */
  function* passes(options) {
    const image = imageOf(state.image), epoch = state.epoch;
    const found = yield* network.steps(image, epoch, options);
    if (!network.edits.size) trained = null;
    else if (!trained || !options.before) trained = (yield* network.steps(image, epoch, { asTrained: true })).at(-1);
    return found;
  }

  /** Compute the layers anew and draw all that depends on them; a slow network's under a bar, and until it is done what
   *  was drawn stays, pale. options: as `forward`'s. */
  function recompute(options = {}) {
    const focused = focusedLabel(), whole = giveUp ? {} : options;  // a pass given up has left nothing that holds
    giveUp?.();
    const done = (found) => {
      [giveUp, outputs, stale] = [null, found, false];
      parts.work.hidden = true;
      parts.body.ariaBusy = "false";
      drawClasses();
      drawLayer();
      drawKernels();
      drawPoint();
      focusAgain(focused);
      countRight();
      countDead();
    };
    const times = network.edits.size && !whole.before ? 2 : 1;
    if (times * network.cost(whole.changed ?? 0) <= SLOW) {
      giveUp = null;
      done(finish(passes(whole)));
      return;
    }
    parts.work.hidden = false;
    parts.body.ariaBusy = "true";
    judge(null);
    listen(null);
    heard = "";
    giveUp = inSlices(passes(whole), done, (share) => { parts.work.value = share; });
  }

  /** The layer that tells a filter's answer: the one shown, or the last of the batch norm and activation behind it. */
  const answering = () => following(layers, state.place).at(-1) ?? state.place;

  /** Change the weights of the layer shown; outputs before it still hold. */
  function edit(change) {
    if (!giveUp && !network.edits.size) trained = outputs.at(-1);
    if (change) network.edit(state.place, state.epoch, change);
    else network.reset();
    recompute(change ? { before: outputs, changed: state.place } : {});
  }

  /** Where the chosen filter's weight for an input channel lies, by its place in the window. */
  function placeOf(at, inner) {
    const [, , channels, filters] = layers[state.place].kernel_shape;
    return (at * channels + inner) * filters + state.channel;
  }

  /** Give the chosen filter another kernel, the same for all its input channels. */
  function preset(weightAt, kernel) {
    const [rows, columns, channels] = layers[state.place].kernel_shape;
    for (let inner = 0; inner < channels; inner++) {
      for (let at = 0; at < rows * columns; at++) {
        const where = placeOf(at, inner);
        kernel[where] = weightAt(Math.floor(at / columns), at % columns, rows, columns, kernel[where]);
      }
    }
  }

  for (const [name, weightAt] of Object.entries(PRESETS)) {
    const button = make("button", { type: "button" }, name);
    button.addEventListener("click", () => edit((kernel) => preset(weightAt, kernel)));
    editing.box.append(button);
  }
  ablateButton.addEventListener("click", () => edit((kernel, bias) => {
    preset(PRESETS.zero, kernel);
    if (bias) bias[state.channel] = 0;
  }));
  resetButton.addEventListener("click", () => edit(null));
  editing.box.append(ablateButton, resetButton);
  parts.gallery.append(heading("Edit the chosen kernel, all its input channels"), editing.box, editing.message);

  /** A job that goes on while the page is used; starting it again, or with nothing, gives up the last. */
  function job() {
    let stop = () => {};
    return (steps, then) => {
      stop();
      if (steps) stop = inSlices(steps, then);
    };
  }

  /** How many of the images the network gets right, as edited and as trained. */
  function countRight() {
    const epoch = state.epoch, best = (found) => found && found.data.indexOf(Math.max(...found.data));
    editing.message.textContent = "";
    if (!network.edits.size || !data.labels) return judge(null);
    judge((function* () {
      const right = { edited: 0, trained: 0 };
      for (const [number, label] of data.labels.entries()) {
        for (const which of ["edited", "trained"]) {
          const outputs = yield* network.steps(imageOf(number), epoch, { asTrained: which === "trained" });
          right[which] += best(outputs.at(-1)) === label;
        }
      }
      return right;
    })(), (right) => {
      editing.message.textContent =
        `Edited, the network classifies ${right.edited} of these ${count} images correctly; as trained, ${right.trained}.`;
    });
  }

  let answers = [], heard = "";
  /** The images that the chosen filter answers most. */
  function drawAnswers() {
    const ready = answers.length === count && state.channel < answers[0].length;
    gallery.most.replaceChildren();
    gallery.mostTitle.hidden = !ready;
    if (!ready) return;
    const order = answers.map((found, image) => ({ image, ...found[state.channel] })).sort((a, b) => b.most - a.most);
    for (const { image, most, row, column } of order.slice(0, 5)) {
      const canvas = make("canvas", { ariaHidden: "true" });
      paintImage(canvas, imageOf(image));
      const button = make("button", { type: "button", ariaLabel: `image ${image}, largest response ${format(most)}` }, canvas, format(most));
      button.addEventListener("click", () => set({ image, row, column }));
      gallery.most.append(button);
    }
  }

  /** Ask every filter for its largest response to each image; which never answer, and what the chosen one answers most. */
  function countDead() {
    const epoch = state.epoch, end = answering();
    const asked = [state.place, epoch, network.changes].join(" ");
    if (asked === heard) return drawAnswers();
    heard = asked;
    const linear = layers[end].kind === "conv" && (layers[end].activation ?? "linear") === "linear";
    gallery.dead.textContent = "";
    answers = [];
    drawAnswers();
    if (parts.gallery.hidden || !outputs[end]) return listen(null);
    const filters = layers[end].shape.at(-1);
    listen((function* () {
      for (let number = 0; number < count; number++) {
        answers.push(strongest((yield* network.steps(imageOf(number), epoch, { end }))[end]));
      }
    })(), () => {
      const dead = [...answers[0].keys()].filter((filter) => answers.every((found) => found[filter].most <= 0));
      if (!linear) {  // one that isn't has an answer to every image
        gallery.dead.textContent = `${dead.length} of ${filters} filters never respond to these ${count} images` +
          `${dead.length ? `: ${dead.join(", ")}` : ""}.`;
      }
      drawAnswers();
    });
  }

  /** Look at the chosen filter's strongest pixel, unless one is chosen. */
  function lookAtStrongest() {
    const out = outputs[answering()];
    if (placed || !out || !isMap()) return;
    placed = true;
    const { row, column } = strongest(out)[state.channel];
    Object.assign(state, { row, column });
    options.onChange?.(state);
  }

  function drawPoint() {
    lookAtStrongest();
    const layer = layers[state.place], out = outputs[state.place];
    parts.grids.replaceChildren();
    parts.most.replaceChildren();
    parts.sum.replaceChildren();
    field.svg.style.display = out ? "" : "none";
    if (!out) return;
    const seen = receptiveField(layers, state.place, state.row, state.column);
    if (seen) {
      const [top, bottom, left, right] = seen;
      for (const [name, value] of Object.entries({ x: left, y: top, width: right - left + 1, height: bottom - top + 1 })) {
        field.rect.setAttribute(name, value);
      }
    }
    for (const [name, value] of Object.entries({ x: state.column, y: state.row, width: 1, height: 1 })) {
      spot.rect.setAttribute(name, value);
    }
    const found = explain(network, state, outputs), where = isMap() ? ` at row ${state.row}, column ${state.column}` : "";
    parts.sum.append(make("p", {}, `${layer.name}, channel ${state.channel}${where}: `, make("strong", {}, format(found.value))));
    const next = ["conv", "dense"].includes(layer.kind) ? explainNext(network, state, outputs) : [];
    for (const text of [...found.lines, ...next]) parts.sum.append(make("p", {}, text));
    parts.most.replaceChildren(...(found.most.length ? ["Most comes from input channels"] : []), ...found.most.map((one) => {
      const button = make("button", { type: "button", ariaLabel: `look at input channel ${one.channel}, ${format(one.sum)}` },
        `${one.channel}: ${format(one.sum)}`);
      button.addEventListener("click", () => {
        gallery.inner.value = one.inner;
        gallery.colours.checked = false;
        set({ inner: one.inner });
      });
      return button;
    }));
    for (const { channel, window, kernel, rows, columns } of found.parts) {
      if (rows * columns > 121) continue;
      parts.grids.append(grid(window, rows, columns, `window, input channel ${channel}`));
      if (!kernel) continue;
      const inner = channel % layer.kernel_shape[2];
      parts.grids.append(grid(kernel, rows, columns, `kernel, filter ${state.channel}`,
        (at, value) => edit((numbers) => { numbers[placeOf(at, inner)] = value; })));
    }
    mapCanvas.setAttribute("aria-label",
      `Output of ${layer.name}, channel ${state.channel}. Arrow keys move from pixel to pixel.`);
  }

  function drawClasses() {
    parts.classes.replaceChildren();
    const last = outputs.at(-1);
    if (!last || last.shape.length !== 1) return;
    const chancesOf = ({ data: numbers, shape }) =>
      layers.at(-1).activation === "softmax" ? numbers : softmax(numbers, shape[0]);
    const chances = chancesOf(last), before = trained && chancesOf(trained);
    chances.forEach((chance, number) => {
      const bar = make("i", {});
      bar.style.width = `${Math.round(120 * chance)}px`;
      const name = data.classes?.[number] ?? `class ${number}`;
      parts.classes.append(make("div", { className: "bar" }, make("span", {}, name), make("span", {}, bar),
        make("span", {}, `${(100 * chance).toFixed(1)} %`),
        make("span", {}, before ? `${chance < before[number] ? "−" : "+"}${Math.abs(100 * (chance - before[number])).toFixed(1)}` : "")));
    });
  }

  function drawImage() {
    const image = imageOf(state.image);
    paintImage(inputCanvas, image);
    inputCanvas.setAttribute("aria-label", `The image: ${nameOf(state.image)}. The outlined part is the receptive field of the chosen pixel.`);
    field.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    [...parts.images.children].forEach((button, number) =>
      button.setAttribute("aria-pressed", String(number === state.image)));
    parts.epochTold.textContent = state.epoch === null ? "" : `epoch ${state.epoch}`;
    drawCurve();
    parts.epoch.setAttribute("aria-valuetext", parts.epochTold.textContent);
  }

  /** Training loss by epoch, from zero up, with a mark at the epoch shown. */
  function drawCurve() {
    if (!data.curve || state.epoch === null) return;
    const { loss, accuracy } = data.curve, many = loss.length, at = state.epoch, most = Math.max(...loss) || 1;
    const points = loss.map((value, i) => `${((i + 1) / many) * 100},${29 - (28 * value) / most}`).join(" ");
    const here = (at / many) * 100, thin = { "vector-effect": "non-scaling-stroke" };
    const svg = makeSvg("svg", { viewBox: "0 0 100 30", width: 200, height: 60, preserveAspectRatio: "none", "aria-hidden": "true" },
      makeSvg("polyline", { points, fill: "none", stroke: "currentColor", "stroke-width": 1.5, ...thin }),
      makeSvg("line", { x1: here, x2: here, y1: 0, y2: 30, stroke: "var(--mark)", "stroke-width": 2, ...thin }));
    parts.curve.replaceChildren(svg, make("p", {},
      at ? `training loss ${loss[at - 1].toFixed(2)}, accuracy ${(100 * accuracy[at - 1]).toFixed(1)} %` : "before training"));
  }

  const judge = job(), listen = job();

  /** Change some of the state, and draw what depends on it. */
  function set(changes, quietly = false) {
    const before = { ...state }, focused = focusedLabel();
    const layer = layers[changes.place ?? state.place];
    Object.assign(state, sameSpot(before, layers[before.place].shape, layer.shape), changes);
    state.image = clamp(state.image, 0, count);
    state.channel = clamp(state.channel, 0, layer.shape.at(-1) - 1);
    placed = isMap() && (placed || "row" in changes || "column" in changes);
    state.row = clamp(state.row, 0, (isMap() ? layer.shape[0] : 1) - 1);
    state.column = clamp(state.column, 0, (isMap() ? layer.shape[1] : 1) - 1);
    const other = state.image !== before.image || state.epoch !== before.epoch || stale;
    parts.layer.value = String(state.place);
    parts.epoch.value = String(epochs.indexOf(state.epoch));
    if (other) {
      drawImage();
      recompute();
    } else if (!giveUp) {  // else all is drawn when the pass is done
      if (["place", "channel", "inner"].some((name) => state[name] !== before[name])) {
        drawLayer();
        drawKernels();
        drawAnswers();
      }
      if (state.place !== before.place) countDead();
      drawPoint();
      focusAgain(focused);
    }
    if (options.hash) {
      history.replaceState(null, "", `#${new URLSearchParams(Object.entries(state).filter(([, value]) => value !== null))}`);
    }
    if (!quietly) options.onChange?.(state);
  }

  /** Hand the reader a file made here. */
  function save(name, blob) {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  const saving = { message: make("span", {}), png: make("button", { type: "button" }, "PNG"), csv: make("button", { type: "button" }, "CSV") };
  const fileName = () => `${data.title}_${layers[state.place].name}_${state.channel}`.replace(/[^\w.-]+/g, "_");
  saving.png.addEventListener("click", () => mapCanvas.toBlob((blob) => save(`${fileName()}.png`, blob)));
  saving.csv.addEventListener("click", () => {
    const out = outputs[state.place];
    if (!out) return;
    const [rows, columns, many] = isMap() ? out.shape : [1, out.shape[0], 1], channel = isMap() ? state.channel : 0;
    const lines = Array.from({ length: rows }, (_, row) =>
      Array.from({ length: columns }, (_, column) => out.data[(row * columns + column) * many + channel]).join(","));
    save(`${fileName()}.csv`, new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  });

  mapCanvas.addEventListener("pointermove", (event) => {
    const box = mapCanvas.getBoundingClientRect(), [rows, columns] = layers[state.place].shape;
    set({
      row: clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1),
      column: clamp(Math.floor(((event.clientX - box.left) / box.width) * columns), 0, columns - 1),
    });
  });
  mapCanvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    set({ row: state.row + move[0], column: state.column + move[1] });
  });
  gallery.order.addEventListener("change", drawKernels);
  gallery.own.addEventListener("change", drawKernels);
  gallery.colours.addEventListener("change", drawKernels);
  gallery.change.addEventListener("change", drawKernels);
  gallery.inner.addEventListener("input", () => {
    gallery.colours.checked = false;
    set({ inner: Math.trunc(Number(gallery.inner.value)) || 0 });
  });
  parts.layer.addEventListener("change", () => set({ place: Number(parts.layer.value), channel: 0 }));
  parts.epoch.addEventListener("input", () => set({ epoch: epochs[Number(parts.epoch.value)] }));

  parts.body.append(
    make("div", { className: "row" },
      make("div", {}, heading("Image"), parts.inputStage, parts.classes),
      make("div", {}, heading("Output of the layer"), parts.mapStage,
        make("p", { className: "row controls" }, saving.message, saving.png, saving.csv)),
      make("div", { style: "flex: 1 1 280px; min-width: 0" }, heading("How the number comes about"), parts.sum, parts.most,
        parts.grids)),
    heading("Channels"), parts.channels, parts.gallery);
  root.replaceChildren(make("style", {}, STYLE), make("div", { className: "lens" },
    make(options.hash ? "h1" : "h2", { className: "title" }, data.title),
    data.rounded === "8 bits" ? make("p", {}, "So that the page stays small, kernels are rounded to 8 bits.") : null,
    make("div", { className: "row controls" },
      make("label", {}, "Layer", parts.layer),
      network.epochs ? make("label", {}, "Epoch", parts.epoch, parts.epochTold) : null, parts.curve, parts.work),
    parts.note,
    parts.images,
    parts.body,
    make("details", {}, make("summary", {}, "Your own image"),
      make("div", { className: "row controls" }, pen.canvas, make("label", {}, "Colour", pen.colour),
        make("label", {}, "Or a file", pen.file), pen.clear), pen.message)));
  const asked = options.hash ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : {};
  const numbers = Object.entries(asked).filter(([name, value]) => name in state && /^\d+$/.test(value));
  const wanted = Object.fromEntries(numbers.map(([name, value]) => [name, Number(value)]));
  if ("place" in wanted) wanted.place = clamp(wanted.place, 0, layers.length - 1);
  if (!epochs.includes(wanted.epoch)) delete wanted.epoch;
  set(wanted);
  return {
    state, set, outputs: () => outputs, network, count, own,
    /** Take another lens's own image, where it has this one's size. */
    takeOwn: (image) => {
      if (String(image.shape) !== String(own.shape)) return;
      own.data.set(image.data);
      ownChanged(true);
    },
  };
}

/** Two lenses side by side; where one is looked at, the other follows: the same image, the reader's own too, the layer
 *  of the same name, the same part of the map, and the epoch, where both have kept the same ones. */
function compare(el, both) {
  const shown = [];
  both.forEach((data, number) => {
    const panel = el.appendChild(make("section", { ariaLabel: data.title }));
    shown.push(render(panel, data, {
      onChange: ({ place, row, column, channel, image, epoch }) => {
        const one = shown[number], other = shown[1 - number];
        if (!other || !one) return;
        if (image === one.count && String(one.own.data) !== String(other.own.data)) other.takeOwn(one.own);
        const from = one.network.layers[place], layers = other.network.layers;
        const same = layers.findIndex((layer) => layer.name === from.name), to = layers[same < 0 ? other.state.place : same];
        const changes = sameSpot({ row, column }, from.shape, to.shape);
        changes.image = image === one.count ? other.count : Math.min(image, other.count - 1);
        if (String(one.network.epochs) === String(other.network.epochs)) changes.epoch = epoch;
        other.set(same < 0 ? changes : { ...changes, place: same, channel }, true);
      },
    }));
  });
  shown[0].set({});  // the other opens where the first does
  el.style.cssText = "display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr));";
  return shown;
}

/** One lens or, of a list, two beside each other. */
function start(el, data, options) {
  return Array.isArray(data) ? compare(el, data) : render(el, data, options);
}

/** What a notebook asks for: anywidget's door. */
export default { render: ({ model, el }) => void start(el.appendChild(make("div")), model.get("data")) };
