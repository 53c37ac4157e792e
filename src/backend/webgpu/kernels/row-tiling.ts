import type { PlanDim, RowPlan } from "../../../calls/row-dims.ts";
import type { DeviceTraits } from "../device/traits.ts";
import { type RowKey, WORKGROUP, heldBy } from "./rows.ts";

/**
 * Numbers per lane up to which one workgroup takes a row whole: 32768 with all lanes, 128 KB that are read a second time from a cache.
 * Longer rows are split into segments of so many per lane, which 32 additions in a row never make inaccurate.
 */
const WHOLE = 128;
const SEGMENT = 32;
/** Lanes below which neighbouring lanes of one row would not fill a cache line of 128 bytes, with 16 or 4 bytes each. */
const LANES_PER_LINE = { vector: 8, scalar: 32 } as const;
/** Lanes of rows that lie across memory, at most: then 16 threads on neighbouring rows read 64 bytes together. */
const LANES_ACROSS = 16;

/** The operands of a row operation, in the order of the shader's vectors of strides. */
export const OPERANDS = ["x", "y", "bias", "mask"] as const;
export type RowOperand = (typeof OPERANDS)[number];
/** A number of elements for each operand; bytes for a mask. */
export type PerOperand = Readonly<Record<RowOperand, number>>;

/** How rows are cut, which depends on how one row lies in memory and on nothing else. */
export interface RowTiling {
  readonly vector: boolean;
  /** Neighbouring threads take neighbouring rows, not neighbouring elements of one. */
  readonly across: boolean;
  readonly laneBits: number;
  /** Chunks that a workgroup takes of a row. */
  readonly chunks: number;
  /** Workgroups that share a row. */
  readonly segments: number;
}

/** Decides how rows are cut. `aligned`: the first elements of x and of the result are at multiples of four in their bindings. */
export function tileRows(plan: RowPlan, modifiers: { readonly bias: boolean; readonly mask: boolean }, aligned: boolean): RowTiling {
  const { rows, cols, colCount } = plan;
  const col = cols.at(-1);
  const row = rows.at(-1);
  const across = row !== undefined && row.x > 0 && row.x < (col?.x ?? 0);
  const dense = cols.length === 1 && col?.x === 1 && col.y <= 1;
  const vector =
    dense &&
    aligned &&
    !across &&
    !modifiers.bias &&
    !modifiers.mask &&
    colCount % 4 === 0 &&
    rows.every((dim) => dim.x % 4 === 0 && (col.y === 0 || dim.y % 4 === 0));
  const held = heldBy(vector);
  const most = across ? LANES_ACROSS : WORKGROUP;
  // Enough lanes to fill a line where the row is that long, and otherwise so few that each holds what it can: merging lanes costs more.
  const least = across ? 1 : Math.min(LANES_PER_LINE[vector ? "vector" : "scalar"], powerOfTwo(colCount / 4));
  const lanes = Math.min(most, Math.max(least, powerOfTwo(colCount / held)));
  const whole = colCount <= WHOLE * lanes;
  const chunks = whole ? Math.ceil(colCount / (lanes * held)) : SEGMENT / held;
  const segments = whole ? 1 : Math.ceil(colCount / (lanes * SEGMENT));
  return { vector, across, laneBits: Math.log2(lanes), chunks, segments };
}

/** The smallest power of two that is not below `count`. */
function powerOfTwo(count: number): number {
  let power = 1;
  while (power < count) power *= 2;
  return power;
}

/** The shader for a tiling. Lanes of rows across memory are not neighbours, so shuffles do not reach them. */
export function rowKey(storage: RowKey["storage"], { vector, across }: RowTiling, traits: Pick<DeviceTraits, "subgroups">): RowKey {
  return { storage, vector, subgroups: traits.subgroups !== undefined && !across };
}

/** Workgroups for `rows` rows, folded so that no dimension has more than `limit`; the last few may have nothing to do. */
export function rowGrid(rows: number, laneBits: number, segments: number, limit: number): [number, number, number] {
  const count = Math.ceil(rows / (WORKGROUP >> laneBits)) * segments;
  const height = Math.ceil(count / limit);
  return [height === 0 ? 0 : Math.ceil(count / height), height, 1];
}

/** Rows that one dispatch takes. */
export interface RowPiece {
  readonly rows: readonly PlanDim[];
  readonly rowCount: number;
  /** Where the first of them begins. */
  readonly offset: PerOperand;
  /** Elements from there to behind the last one that they touch. */
  readonly span: PerOperand;
}

/** A single row reaches farther than one binding may. */
export interface TooLong {
  readonly operand: RowOperand;
  readonly span: number;
}

/** Splits the rows so that none of the operands spans more than `most` in a piece, along outer dimensions first. */
export function splitRows({ rows, cols }: RowPlan, most: PerOperand): RowPiece[] | TooLong {
  const row = spanOf(cols);
  const tooLong = OPERANDS.find((operand) => row[operand] > most[operand]);
  if (tooLong !== undefined) return { operand: tooLong, span: row[tooLong] };
  const pieces: RowPiece[] = [];
  const split = (dims: readonly PlanDim[], offset: PerOperand): void => {
    const span = spanOf([...dims, ...cols]);
    const [outer, ...inner] = dims;
    if (outer === undefined || OPERANDS.every((o) => span[o] <= most[o])) {
      pieces.push({ rows: dims, rowCount: dims.reduce((n, dim) => n * dim.size, 1), offset, span });
      return;
    }
    const rest = spanOf([...inner, ...cols]);
    const fitting = Math.min(...OPERANDS.map((o) => (outer[o] === 0 ? Infinity : Math.floor((most[o] - rest[o]) / outer[o]) + 1)));
    // Where not even the inner rows fit, they are split in turn.
    const step = Math.max(1, Math.min(outer.size, fitting));
    for (let i = 0; i < outer.size; i += step) {
      const size = Math.min(step, outer.size - i);
      split(
        size === 1 ? inner : [{ ...outer, size }, ...inner],
        perOperand((o) => offset[o] + i * outer[o]),
      );
    }
  };
  split(
    rows,
    perOperand(() => 0),
  );
  return pieces;
}

/** Elements from the first to behind the last one that an operand has along these dimensions. */
export function spanOf(dims: readonly PlanDim[]): PerOperand {
  return perOperand((o) => (dims.some((dim) => dim.size === 0) ? 0 : dims.reduce((span, dim) => span + (dim.size - 1) * dim[o], 1)));
}

export function perOperand(f: (operand: RowOperand) => number): PerOperand {
  return { x: f("x"), y: f("y"), bias: f("bias"), mask: f("mask") };
}
