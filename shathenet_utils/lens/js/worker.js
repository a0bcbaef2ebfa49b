// Where the work is done: in a worker, or, where the browser or its host gives none, in the page, in slices.

import { Runner } from "./runner.js";

/** @typedef {import("./types.d.ts").Answer} Answer
 *  @typedef {import("./types.d.ts").Question} Question */

/** What a worker does; it is given the modules that it needs, since it can import none.
 * @param {{ Runner: typeof Runner }} modules */
function work(modules) {
  const { port1, port2 } = new MessageChannel();  // unlike setTimeout's, its turns have no shortest time
  /** @type {(() => void)[]} */
  const turns = [];
  port1.onmessage = () => turns.shift()?.();
  const soon = (/** @type {() => void} */ next) => {
    turns.push(next);
    port2.postMessage(null);
  };
  /** @type {Runner} */
  let runner;
  onmessage = ({ data: question }) => {
    if (question.what === "open") runner = new modules.Runner(question.data, (answer) => postMessage(answer), soon);
    else runner.take(question);
  };
}

/** Start the work on a network; answer is given what it finds. Returns what questions go to, what ends it, and where it
 *  is done: a worker that fails before it has said that it is ready is replaced by the page.
 * @param {import("./types.d.ts").Payload} data
 * @param {(answer: Answer) => void} answer
 * @param {boolean} mayUseWorker */
export function startWork(data, answer, mayUseWorker) {
  /** Questions that no worker has taken yet. @type {Question[] | null} */
  let unheard = [];
  /** @type {Worker | null} */
  let worker = null;
  const found = { post, stop: () => worker?.terminate(), where: "page" };
  const inPage = () => {
    const runner = new Runner(data, answer, (next) => setTimeout(next));
    found.post = (question) => runner.take(question);
    found.where = "page";
    unheard?.forEach(found.post);
    unheard = null;
  };
  /** @param {Question} question */
  function post(question) {
    unheard?.push(question);
    worker?.postMessage(question);
  }
  if (!mayUseWorker) {
    inPage();
    return found;
  }
  try {
    const address = URL.createObjectURL(new Blob([`(${work})((${workerModules})());`], { type: "text/javascript" }));
    worker = new Worker(address);
    found.where = "worker";
    worker.onmessage = ({ data: answered }) => {
      if (answered.what === "ready") {
        unheard = null;
        URL.revokeObjectURL(address);
      }
      answer(answered);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      if (unheard) inPage();
    };
    worker.postMessage({ what: "open", data });
  } catch {
    inPage();
  }
  return found;
}
