// What the row operations are tried on, as plain data.
import { MODEL_ROWS } from "./shapes.ts";

/** A shape and the axis to reduce. */
export interface RowCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly axis: number;
}

function caseOf(shape: readonly number[], axis: number, note = ""): RowCase {
  return { name: `${shape.length === 0 ? "scalar" : shape.join("×")} axis ${axis}${note === "" ? "" : `, ${note}`}`, shape, axis };
}

/** Row lengths below, at, a multiple of and above what a kernel takes at once: 4 per vector, 16 per loop, 1024 per block. */
export const SIZES: readonly number[] = [
  1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 197, 255, 256, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 5000,
];

/** One row, and several: a kernel looks ahead to the next row. */
export const SIZE_CASES: readonly RowCase[] = SIZES.flatMap((n) => [caseOf([n], -1), caseOf([3, n], -1)]);

/** Every axis of every rank, and rows that lie across memory in all ways that the gathering distinguishes. */
export const AXIS_CASES: readonly RowCase[] = [
  caseOf([], 0),
  caseOf([], -1),
  ...[[7], [5, 7], [3, 5, 7], [2, 3, 4, 5], [2, 3, 2, 3, 4], [2, 1, 3, 2, 1, 5], [2, 2, 1, 3, 2, 2, 3], [2, 1, 2, 2, 3, 1, 2, 3]].flatMap((shape) =>
    shape.flatMap((_, d) => [caseOf(shape, d), caseOf(shape, d - shape.length)]),
  ),
  caseOf([9, 1], 1, "rows of one element"),
  caseOf([1, 9], 0, "rows of one element"),
  caseOf([33, 63], 0, "too few rows to transpose"),
  caseOf([33, 64], 0, "just enough rows to transpose"),
  caseOf([50, 257], 0, "more rows than are gathered at once"),
  caseOf([3, 17, 130], 1, "transposed plane by plane"),
  caseOf([1100, 70], 0, "rows longer than a block, across memory"),
  caseOf([2, 700, 100], -1, "more than one chunk of rows"),
  caseOf([2, 300, 400], 1, "more than one chunk of rows across memory"),
  caseOf([2, 70000], -1, "rows longer than a chunk"),
];

/** Nothing to do, or nothing to reduce. */
export const EMPTY_CASES: readonly RowCase[] = [
  caseOf([0], -1),
  caseOf([0, 5], -1, "no rows"),
  caseOf([5, 0], -1, "empty rows"),
  caseOf([5, 0], 0, "no rows"),
  caseOf([3, 0, 4], 1, "empty rows"),
  caseOf([3, 0, 4], 2, "no rows"),
];

/** Shapes of real models. */
export const MODEL_CASES: readonly RowCase[] = MODEL_ROWS.map(({ shape, what }) => caseOf(shape, -1, what));

/** Axes to reduce together, none to all. */
export interface ReductionCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly axes: readonly number[];
}

export const REDUCTION_CASES: readonly ReductionCase[] = (
  [
    [[], []],
    [[], [0]],
    [[6], []],
    [[6], [0]],
    [[3, 4], []],
    [
      [3, 4],
      [0, 1],
    ],
    [
      [3, 4],
      [-1, 0],
    ],
    [
      [2, 3, 4],
      [0, 2],
    ],
    [[2, 3, 4], [1]],
    [
      [2, 3, 4],
      [2, 1],
    ],
    [
      [2, 3, 4],
      [0, 1, 2],
    ],
    [
      [2, 3, 4, 5],
      [1, 3],
    ],
    [
      [2, 3, 4, 5],
      [0, 2],
    ],
    [
      [2, 3, 4, 5],
      [-4, -1],
    ],
    [
      [2, 1, 3, 2, 1, 5],
      [0, 2, 4],
    ],
    [
      [2, 1, 2, 2, 3, 1, 2, 3],
      [0, 1, 2, 3, 4, 5, 6, 7],
    ],
    [
      [5, 300, 70],
      [0, 2],
    ],
    [
      [40, 50, 60],
      [0, 1],
    ],
    [[3, 0, 4], [1]],
    [
      [3, 0, 4],
      [0, 2],
    ],
    [
      [3, 0, 4],
      [0, 1, 2],
    ],
    [[0], []],
  ] as const
).map(([shape, axes]) => ({ name: `[${shape.join(", ")}] over [${axes.join(", ")}]`, shape, axes }));

/** Inputs with shapes of a second operand that broadcasts to them. */
export interface BroadcastCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly axis: number;
  readonly operand: readonly number[];
}

/** Every right-aligned shape that broadcasts to `shape`: any dimension 1, leading dimensions left out. */
function broadcastsTo(shape: readonly number[]): number[][] {
  const all = shape.reduce<number[][]>(
    (shapes, size) =>
      shapes.flatMap((s) => [
        [...s, size],
        [...s, 1],
      ]),
    [[]],
  );
  const shorter = shape.length === 0 ? [] : broadcastsTo(shape.slice(1));
  const distinct = new Map([...all, ...shorter].map((s) => [s.join(), s]));
  return [...distinct.values()];
}

function broadcastCases(shape: readonly number[], axes: readonly number[], operands = broadcastsTo(shape)): BroadcastCase[] {
  return axes.flatMap((axis) => operands.map((operand) => ({ name: `[${operand.join(", ")}] to [${shape.join(", ")}] axis ${axis}`, shape, axis, operand })));
}

export const BROADCAST_CASES: readonly BroadcastCase[] = [
  ...broadcastCases([], [0]),
  ...broadcastCases([9], [0]),
  ...broadcastCases([3, 4, 21], [0, 1, 2]),
  ...broadcastCases([2, 3, 2, 5], [1, -1]),
  // More than 65536 elements: rows travel in chunks, operands with them or once for all.
  ...broadcastCases([2, 830, 40], [-1]),
  ...broadcastCases([2, 830, 40], [1], [[40], [830, 1], [2, 1, 40], [2, 830, 40]]),
  ...broadcastCases([260, 256], [0], [[256], [260, 1], [1, 1], [260, 256]]),
  ...broadcastCases([2, 70000], [-1], [[70000], [2, 1], [2, 70000]]),
];
