// What the lens's modules hand to each other. `payload.py` writes a Payload; `tsc` checks the rest against it.

import type { Network } from "./network.js";

export interface Tensor {
  shape: number[];
  data: Float32Array;
}

/** An array as `payload.py`'s `encode` writes it. */
export interface Encoded {
  dtype: "f2" | "f4" | "u1" | "i1";
  shape: number[];
  data: string;
  scale?: Encoded;
  epochs?: number[];
}

/** A layer as `payload.py` describes it; its settings, by kind, beside what all have. */
export interface Layer {
  name: string;
  kind: string;
  type: string;
  inputs: number[];
  shape: number[];
  weights: Record<string, string>;
  activation?: string;
  kernel_shape: [number, number, number, number];
  strides: [number, number];
  size: [number, number];
  padding: any;
  groups: number;
  [setting: string]: any;
}

export type Weights = Record<string, Tensor>;

/** How the window of a convolution or a pool moves, see `geometry`. */
export interface Geometry {
  rows: number;
  columns: number;
  height: number;
  width: number;
  down: number;
  right: number;
  dilateRows: number;
  dilateColumns: number;
  top: number;
  left: number;
  spreadRows: number;
  spreadColumns: number;
}

/** What the numbers of the last layer mean. */
export interface Head {
  kind: "probabilities" | "numbers" | "none";
  apply?: "none" | "softmax" | "sigmoid" | "exp";
  binary?: boolean;
  exclusive?: boolean;
  names?: string[];
}

export interface Payload {
  title: string;
  layers: Layer[];
  arrays: Record<string, Encoded>;
  epochs: number[] | null;
  curve: { loss: number[]; accuracy: number[] } | null;
  images: Encoded;
  labels: number[] | null;
  classes: string[] | null;
  rounded: string;
  head: Head;
  notes: string[];
  /** Where the lens opens. */
  view?: Partial<State>;
}

/** What is looked at. `inner`: the input channel of a kernel; `range`: which range of pixel values the network takes. */
export interface State {
  place: number;
  channel: number;
  inner: number;
  row: number;
  column: number;
  image: number;
  epoch: number | null;
  range: number;
}

/** A place in a map. */
export interface Spot {
  row: number;
  column: number;
  channel: number;
}

export interface Strongest {
  most: number;
  row: number;
  column: number;
}

/** A layer's weights as the reader has edited them. */
export interface Edit {
  kernel: Float32Array;
  bias: Float32Array | undefined;
}

/** What a Runner is asked. */
export type Question =
  | { what: "open"; data: Payload }
  | { what: "range"; range: number }
  | { what: "edit"; place: number; epoch: number | null; edit: Edit }
  | { what: "reset" }
  | { what: "show"; id: number; image: Float32Array; epoch: number | null }
  | { what: "judge"; id: number; epoch: number | null }
  | { what: "listen"; id: number; epoch: number | null; end: number }
  | { what: "stop" };

/** What a Runner answers. */
export type Answer =
  | { what: "ready" }
  | { what: "share"; share: number }
  | { what: "failed"; why: string }
  | { what: "show"; id: number; from: number; outputs: (Tensor | null)[]; trained: Tensor | null }
  | { what: "judge"; id: number; right: { edited: number; trained: number } }
  | { what: "listen"; id: number; found: Strongest[][] };

/** How a number comes about. */
export interface Explanation {
  value: number;
  lines: string[];
  parts: Part[];
  most: { channel: number; sum: number; inner: number }[];
}

/** A window of a map, and the kernel that it is multiplied with; null: padding. */
export interface Part {
  channel: number;
  window: (number | null)[];
  kernel: number[] | null;
  rows: number;
  columns: number;
}

export interface Options {
  /** Whether the page is this lens alone, so that its headings are the page's. */
  page?: boolean;
  /** Whether the page's address holds what this lens looks at. */
  address?: boolean;
  onChange?: (state: State) => void;
}

/** One lens, as its views see it. */
export interface Lens {
  data: Payload;
  network: Network;
  layers: Layer[];
  state: State;
  epochs: (number | null)[];
  count: number;
  own: Tensor;
  root: ShadowRoot;
  /** All layers' outputs for the image shown; null where one can't be computed. */
  outputs: (Tensor | null)[];
  /** The last layer's output without edits, where there are some. */
  trained: Tensor | null;
  /** Of each image, each filter's largest response; empty until they are known. */
  responses: Strongest[][];
  /** Whether the reader has chosen a pixel. */
  placed: boolean;
  set(changes: Partial<State>, quietly?: boolean): Promise<void>;
  /** Change the weights of the layer shown, or, without a change, take all edits back. */
  edit(change: ((kernel: Float32Array, bias: Float32Array | undefined) => void) | null): void;
  /** The own image has changed: show it. */
  ownChanged(quietly?: boolean): void;
  redraw(...parts: string[]): void;
  /** The pixels of an image, 0 to 255. */
  imageOf(number: number): Tensor;
  nameOf(number: number): string;
  heading(text: string): HTMLElement;
  isMap(): boolean;
}

declare global {
  /** The modules that a worker needs, as one function: see script.py. */
  function workerModules(): { Runner: typeof import("./runner.js").Runner };
}
