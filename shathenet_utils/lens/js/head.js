// What the last layer's numbers mean: probabilities of classes, each on its own, or plain numbers.

import { softmax } from "./engine.js";

/** @typedef {import("./types.d.ts").Head} Head
 *  @typedef {import("./types.d.ts").Tensor} Tensor */

/** The numbers to show, one for each of the head's names; of a head of one probability p, 1 − p and p. None where the
 *  last layer has no list to show, or couldn't be computed.
 * @param {Head} head
 * @param {Tensor | null | undefined} out
 * @returns {number[]} */
export function valuesOf(head, out) {
  if (head.kind === "none" || !out) return [];
  const numbers = Array.from(out.data);
  if (head.kind === "numbers") return numbers;
  const found = {
    none: () => numbers,
    exp: () => numbers.map(Math.exp),
    sigmoid: () => numbers.map((x) => 1 / (1 + Math.exp(-x))),
    softmax: () => Array.from(softmax(out.data, numbers.length)),
  }[head.apply ?? "none"]();
  return head.binary ? [1 - found[0], found[0]] : found;
}

/** The class that a network predicts, by its number; null where it predicts none, or where numbers are NaN.
 * @param {Head} head
 * @param {Tensor | null | undefined} out
 * @returns {number | null} */
export function predicted(head, out) {
  if (head.kind !== "probabilities" || !head.exclusive) return null;
  const values = valuesOf(head, out);
  if (!values.length || values.some((value) => value !== value)) return null;
  return head.binary ? Number(values[1] > 0.5) : values.indexOf(Math.max(...values));
}
