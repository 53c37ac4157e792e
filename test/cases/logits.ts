import { numbers, random } from "../support/numbers.ts";

/** Rows of logits that make selection fail, `cols` long. */
export const LOGITS: readonly { readonly name: string; readonly row: (cols: number) => Float32Array }[] = [
  { name: "normal", row: (cols) => numbers("normal", cols) },
  { name: "wide", row: (cols) => numbers("wide", cols) },
  { name: "ties", row: (cols) => numbers("ties", cols) },
  { name: "tiny, ±0 among them", row: (cols) => numbers("tiny", cols) },
  { name: "holes of −inf", row: (cols) => numbers("holes", cols) },
  { name: "all equal", row: (cols) => new Float32Array(cols).fill(-2.5) },
  { name: "ascending", row: (cols) => Float32Array.from({ length: cols }, (_, i) => i / cols) },
  { name: "descending", row: (cols) => Float32Array.from({ length: cols }, (_, i) => -i / cols) },
  { name: "one survivor", row: (cols) => new Float32Array(cols).fill(-Infinity).fill(1, cols >> 1, (cols >> 1) + 1) },
  { name: "one dominates", row: (cols) => new Float32Array(cols).fill(0).fill(30, cols >> 1, (cols >> 1) + 1) },
  { name: "the lowest float as a mask", row: (cols) => numbers("normal", cols).map((v, i) => (i % 7 === 3 ? v : -3.4028234663852886e38)) },
  { name: "blocks of one value", row: (cols) => Float32Array.from({ length: cols }, (_, i) => Math.floor(i / 1024) % 5) },
  {
    name: "shuffled ties in few places",
    row: (cols) => {
      const next = random(cols);
      return Float32Array.from({ length: cols }, () => (next() < 0.01 ? 3 : next()));
    },
  },
];

/** Sizes below, at, and above the vectors and blocks of the kernels. */
export const LOGITS_SIZES: readonly number[] = [1, 2, 3, 15, 16, 17, 50, 1023, 1024, 1025, 2049, 5000];
