// The work on a network, in slices of time: the pass for what is shown first, then counts over all images.
//
// A worker runs this where the browser gives one, else the page itself; nothing here touches the page.

import { decodeBytes } from "./decode.js";
import { strongest } from "./filters.js";
import { predicted } from "./head.js";
import { Network } from "./network.js";

/** @typedef {import("./types.d.ts").Answer} Answer
 *  @typedef {import("./types.d.ts").Payload} Payload
 *  @typedef {import("./types.d.ts").Question} Question
 *  @typedef {import("./types.d.ts").Strongest} Strongest
 *  @typedef {import("./types.d.ts").Tensor} Tensor */

const SLICE = 8;  // milliseconds; a frame has sixteen

/** The ranges of pixel values that a network may have been trained on: what a pixel of 0 to 255 is multiplied with, and
 *  what is added. */
export const RANGES = [
  { name: "0 to 255", factor: 1, offset: 0 },
  { name: "0 to 1", factor: 1 / 255, offset: 0 },
  { name: "−1 to 1", factor: 1 / 127.5, offset: -1 },
];

/** An image of pixels from 0 to 255 as the network takes it.
 * @param {ArrayLike<number>} pixels
 * @param {number} range
 * @returns {Float32Array} */
function inRange(pixels, range) {
  const { factor, offset } = RANGES[range];
  return Float32Array.from(pixels, (value) => value * factor + offset);
}

export class Runner {
  /** answer: is given what was found; soon: calls a function when other events have had their turn.
   * @param {Payload} data
   * @param {(answer: Answer) => void} answer
   * @param {(next: () => void) => void} soon */
  constructor(data, answer, soon) {
    this.answer = answer;
    this.soon = soon;
    this.network = new Network(data);
    this.head = data.head;
    this.labels = data.labels ?? [];
    this.count = data.images.shape[0];
    this.shape = data.images.shape.slice(1);
    this.bytes = decodeBytes(data.images);
    this.range = 0;
    /** Work under way, by kind, in the order in which it is done.
     * @type {Record<"show" | "judge" | "listen", Generator<number, Answer> | null>} */
    this.jobs = { show: null, judge: null, listen: null };
    this.waiting = false;
    /** @type {(Tensor | null)[]} */
    this.outputs = [];
    this.holding = 0;  // so many of the outputs still hold
    /** @type {Float32Array | null} */
    this.image = null;
    /** @type {number | null | undefined} */
    this.epoch = undefined;
    /** The end of the network without edits. @type {Tensor | null} */
    this.trained = null;
    /** How many images are classified correctly without edits, by epoch. @type {Map<number | null, number>} */
    this.right = new Map();
    answer({ what: "ready" });
  }

  /** @param {Question} question */
  take(question) {
    const { what } = question;
    if (what === "range" || what === "edit" || what === "reset") {
      this.jobs = { show: null, judge: null, listen: null };  // what is half done holds no longer
      this.change(question);
    } else if (what === "stop") this.jobs.judge = this.jobs.listen = null;
    else if (what === "show") this.jobs.show = this.show(question);
    else if (what === "judge") this.jobs.judge = this.judge(question);
    else if (what === "listen") this.jobs.listen = this.listen(question);
    this.goOn();
  }

  /** @param {Extract<Question, { what: "range" | "edit" | "reset" }>} question */
  change(question) {
    if (question.what === "range") {
      this.range = question.range;
      this.image = null;
      this.right.clear();
    } else if (question.what === "edit") {
      this.network.edit(question.place, question.epoch, question.edit);
      if (question.epoch === this.epoch) this.holding = Math.min(this.holding, question.place);
    } else {
      this.network.reset();
      this.holding = 0;
    }
  }

  /** @param {number} number */
  imageOf(number) {
    const many = this.bytes.length / this.count;
    return { shape: this.shape, data: inRange(this.bytes.subarray(number * many, (number + 1) * many), this.range) };
  }

  /** The outputs of all layers, those that have changed since the last time; where there are edits, the end without
   *  them too.
   * @param {Extract<Question, { what: "show" }>} question
   * @returns {Generator<number, Answer>} */
  *show({ id, image, epoch }) {
    const other = this.image === null || this.epoch !== epoch || image.some((value, at) => value !== this.image?.[at]);
    if (other) {
      this.holding = 0;
      this.trained = null;
    }
    [this.image, this.epoch] = [image, epoch];
    const input = { shape: this.shape, data: inRange(image, this.range) }, from = this.holding;
    const edited = this.network.edited(epoch);
    const outputs = yield* this.network.steps(input, epoch, { before: this.outputs, changed: from });
    [this.outputs, this.holding] = [outputs, outputs.length];
    const end = outputs.at(-1) ?? null;
    if (!edited) this.trained = end;
    else this.trained ??= (yield* this.network.steps(input, epoch, { asTrained: true })).at(-1) ?? null;
    return { what: "show", id, from, outputs: outputs.slice(from), trained: edited ? this.trained : null };
  }

  /** How many of the images are classified correctly, as edited and as trained.
   * @param {Extract<Question, { what: "judge" }>} question
   * @returns {Generator<number, Answer>} */
  *judge({ id, epoch }) {
    const right = { edited: 0, trained: this.right.get(epoch) ?? 0 }, known = this.right.has(epoch);
    for (const [number, label] of this.labels.entries()) {
      for (const which of known ? /** @type {const} */ (["edited"]) : /** @type {const} */ (["edited", "trained"])) {
        const outputs = yield* this.network.steps(this.imageOf(number), epoch, { asTrained: which === "trained" });
        right[which] += Number(predicted(this.head, outputs.at(-1)) === label);
      }
    }
    this.right.set(epoch, right.trained);
    return { what: "judge", id, right };
  }

  /** Each filter's largest response to each image.
   * @param {Extract<Question, { what: "listen" }>} question
   * @returns {Generator<number, Answer>} */
  *listen({ id, epoch, end }) {
    /** @type {Strongest[][]} */
    const found = [];
    for (let number = 0; number < this.count; number++) {
      const outputs = yield* this.network.steps(this.imageOf(number), epoch, { end });
      found.push(strongest(/** @type {Tensor} */ (outputs[end])));
    }
    return { what: "listen", id, found };
  }

  /** Work when others have had their turn, and again until all is done. */
  goOn() {
    if (this.waiting || !this.next()) return;
    this.waiting = true;
    this.soon(() => {
      this.waiting = false;
      try {
        this.work();
      } catch (error) {
        this.jobs = { show: null, judge: null, listen: null };
        this.answer({ what: "failed", why: String(error) });
      }
      this.goOn();
    });
  }

  /** Work for a slice of time. */
  work() {
    const begun = performance.now();
    let share = 0;
    for (let name = this.next(); name && performance.now() - begun < SLICE; name = this.next()) {
      const job = /** @type {Generator<number, Answer>} */ (this.jobs[name]), step = job.next();
      if (step.done) {
        this.jobs[name] = null;
        this.answer(step.value);
      } else if (name === "show") share = step.value;
    }
    if (this.jobs.show) this.answer({ what: "share", share });
  }

  /** The work that comes first. */
  next() {
    return /** @type {const} */ (["show", "judge", "listen"]).find((name) => this.jobs[name]);
  }
}
