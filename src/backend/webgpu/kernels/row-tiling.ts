import type { RowDim, RowDims } from "../../../calls/row-dims.ts";
import type { DeviceTraits } from "../device/traits.ts";
import { type RowKey, WORKGROUP, heldBy } from "./rows.ts";

/**
 * Up to this many numbers per lane, one workgroup takes a whole row: 32768 with all lanes, 128 KB that are read a second time from cache.
 * Longer rows are split into segments of SEGMENT numbers per lane: 32 additions in a row stay accurate.
 */
const WHOLE = 128;
const SEGMENT = 32;
/** With fewer lanes, neighbouring lanes of one row would not fill a cache line of 128 bytes, at 16 or 4 bytes each. */
const LANES_PER_LINE = { vector: 8, scalar: 32 } as const;
/** Most lanes for rows that lie across memory: 16 threads on neighbouring rows then read 64 bytes together. */
const LANES_ACROSS = 16;

/** The operands of a row operation, in the order of the shader's stride vectors. */
export const OPERANDS = ["x", "y", "bias", "mask"] as const;
export type RowRole = (typeof OPERANDS)[number];
/** A number of elements for each operand, or of bytes for a mask. */
export type PerOperand = Readonly<Record<RowRole, number>>;

/** How rows are split. This depends only on how one row lies in memory. */
export interface RowTiling {
  readonly vector: boolean;
  /** Neighbouring threads take neighbouring rows instead of neighbouring elements of one row. */
  readonly across: boolean;
  readonly laneBits: number;
  /** Chunks of a row per workgroup. */
  readonly chunks: number;
  /** Workgroups that share a row. */
  readonly segments: number;
}

/** Decides how rows are split. `aligned` means that the first elements of x and of the result are at multiples of four in their bindings. */
export function tileRows(plan: RowDims, modifiers: { readonly bias: boolean; readonly mask: boolean }, aligned: boolean): RowTiling {
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
  // Enough lanes to fill a cache line, if the row is that long. Beyond that, as few as can hold the row: merging lanes costs more.
  const least = across ? 1 : Math.min(LANES_PER_LINE[vector ? "vector" : "scalar"], powerOfTwo(colCount / 4));
  const lanes = Math.min(most, Math.max(least, powerOfTwo(colCount / held)));
  const whole = colCount <= WHOLE * lanes;
  const chunks = whole ? Math.ceil(colCount / (lanes * held)) : SEGMENT / held;
  const segments = whole ? 1 : Math.ceil(colCount / (lanes * SEGMENT));
  return { vector, across, laneBits: Math.log2(lanes), chunks, segments };
}

/** The smallest power of two that is at least `count`. */
function powerOfTwo(count: number): number {
  let power = 1;
  while (power < count) power *= 2;
  return power;
}

/** The shader for a tiling. The lanes of rows that lie across memory are not neighbours, so shuffles do not reach them. */
export function rowKey(storage: RowKey["storage"], { vector, across }: RowTiling, traits: Pick<DeviceTraits, "subgroups">): RowKey {
  return { storage, vector, subgroups: traits.subgroups !== undefined && !across };
}

/** Workgroups for `rows` rows, folded so that no dimension exceeds `limit`. The last few may have nothing to do. */
export function rowGrid(rows: number, laneBits: number, segments: number, limit: number): [number, number, number] {
  const count = Math.ceil(rows / (WORKGROUP >> laneBits)) * segments;
  const height = Math.ceil(count / limit);
  return [height === 0 ? 0 : Math.ceil(count / height), height, 1];
}

/** Rows that one dispatch takes. */
export interface RowPiece {
  readonly rows: readonly RowDim[];
  readonly rowCount: number;
  /** Where the first row begins. */
  readonly offset: PerOperand;
  /** Elements from there to just past the last one that the rows touch. */
  readonly span: PerOperand;
}

/** A row that spans more than one binding may. */
export interface TooLong {
  readonly operand: RowRole;
  readonly span: number;
}

/** Splits the rows into pieces in which no operand spans more than `most`, along outer dimensions first. */
export function splitRows({ rows, cols }: RowDims, most: PerOperand): RowPiece[] | TooLong {
  const row = spanOf(cols);
  const tooLong = OPERANDS.find((operand) => row[operand] > most[operand]);
  if (tooLong !== undefined) return { operand: tooLong, span: row[tooLong] };
  const pieces: RowPiece[] = [];
  const split = (dims: readonly RowDim[], offset: PerOperand): void => {
    const span = spanOf([...dims, ...cols]);
    const [outer, ...inner] = dims;
    if (outer === undefined || OPERANDS.every((o) => span[o] <= most[o])) {
      pieces.push({ rows: dims, rowCount: dims.reduce((n, dim) => n * dim.size, 1), offset, span });
      return;
    }
    const rest = spanOf([...inner, ...cols]);
    const fitting = Math.min(...OPERANDS.map((o) => (outer[o] === 0 ? Infinity : Math.floor((most[o] - rest[o]) / outer[o]) + 1)));
    // If even the inner rows do not fit, they are split in turn.
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

/** Elements from the first to just past the last one that an operand has along these dimensions. */
export function spanOf(dims: readonly RowDim[]): PerOperand {
  return perOperand((o) => (dims.some((dim) => dim.size === 0) ? 0 : dims.reduce((span, dim) => span + (dim.size - 1) * dim[o], 1)));
}

export function perOperand(f: (operand: RowRole) => number): PerOperand {
  return { x: f("x"), y: f("y"), bias: f("bias"), mask: f("mask") };
}
