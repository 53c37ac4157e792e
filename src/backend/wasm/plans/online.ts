import type { Operand, Output } from "../../../calls/call.ts";
import type { ArrayHandle } from "../../../tensor/array.ts";
import { BLOCK_ELEMENTS, STATE_BYTES } from "../module/kernels.ts";
import { ROWS } from "../module/rows-family.ts";
import { type Copy, Layout, type Machine, type Plan } from "./plan.ts";

// The steps of OnlineSoftmax: blocks of rows arrive one after the other, and each row keeps its state in between.

/** Elements of a row that pass through scratch at a time. */
const MOST_COLUMNS = 64 * BLOCK_ELEMENTS;

/** A block of rows, and the states of these rows. */
export interface OnlineStep {
  readonly rows: number;
  readonly cols: number;
  /** Strides of the block along rows and columns, in elements. */
  readonly block: Operand & { readonly strides: readonly [row: number, col: number] };
  /** STATE_BYTES per row, as f64. */
  readonly states: ArrayHandle<"f64">;
}

/** Plans folding a block into the states. */
export function planAbsorb({ rows, cols, block, states }: OnlineStep, { memory, stageBytes }: Machine): Plan {
  const address = addressOf(block, memory);
  const width = address === undefined ? Math.min(cols, MOST_COLUMNS) : cols;
  const height = Math.min(rows, Math.max(1, Math.floor(stageBytes / (width * 4 + STATE_BYTES))));
  const [rowStride, colStride] = block.strides;
  const layout = new Layout();
  const data = address === undefined ? layout.take(height * width * 4) : 0;
  const stateAt = layout.take(height * STATE_BYTES);
  return {
    families: [ROWS],
    stageBytes: layout.bytes,
    threadBytes: 0,
    stages: (base) => {
      let [r, c] = [0, 0];
      return () => {
        if (r >= rows) return undefined;
        const [n, count] = [Math.min(height, rows - r), Math.min(width, cols - c)];
        const at = r * rowStride + c * colStride;
        const [isFirst, isLast] = [c === 0, c + count === cols];
        const state = copyOfStates(states, r, n, base + stateAt);
        const into = isFirst ? [state] : [];
        if (address === undefined) into.push(copyOfBlock(block.data, at, base + data, n, count, rowStride, colStride));
        const [x, stride] = address === undefined ? [base + data, count * 4] : [address + at * 4, rowStride * 4];
        const stage = {
          tables: [],
          in: into,
          tasks: [{ calls: [{ kernel: "online_absorb_f32" as const, args: [x, n, count, stride, base + stateAt], relative: 0 }] }],
          out: isLast ? [state] : [],
        };
        c = isLast ? 0 : c + count;
        if (isLast) r += n;
        return stage;
      };
    },
  };
}

/** Plans computing the probabilities of a block's elements from the states. `outStrides` are along rows and columns of the result. */
export function planNormalize(
  { rows, cols, block, states }: OnlineStep,
  out: Output,
  outStrides: readonly [row: number, col: number],
  safe: boolean,
  { memory, stageBytes }: Machine,
): Plan {
  const from = addressOf(block, memory);
  const to = addressOf({ data: out.data, strides: outStrides }, memory);
  const copies = from === undefined || to === undefined;
  const height = Math.min(rows, Math.max(1, Math.floor(stageBytes / ((copies ? cols * 4 : 0) + STATE_BYTES))));
  const layout = new Layout();
  const data = copies ? layout.take(height * cols * 4) : 0;
  const stateAt = layout.take(height * STATE_BYTES);
  return {
    families: [ROWS],
    stageBytes: layout.bytes,
    threadBytes: 0,
    stages: (base) => {
      let r = 0;
      return () => {
        if (r >= rows) return undefined;
        const n = Math.min(height, rows - r);
        const [xAt, yAt] = [r * block.strides[0], r * outStrides[0]];
        const into = [copyOfStates(states, r, n, base + stateAt)];
        if (from === undefined) into.push(copyOfBlock(block.data, xAt, base + data, n, cols, ...block.strides));
        const scratch = [base + data, cols * 4] as const;
        const [x, xStride] = from === undefined ? scratch : [from + xAt * 4, block.strides[0] * 4];
        const [y, yStride] = to === undefined ? scratch : [to + yAt * 4, outStrides[0] * 4];
        const back = to === undefined ? [outward(copyOfBlock(out.data, yAt, base + data, n, cols, ...outStrides))] : [];
        const args = [x, y, n, cols, xStride, yStride, base + stateAt, safe ? 1 : 0];
        r += n;
        return { tables: [], in: into, tasks: [{ calls: [{ kernel: "online_normalize_f32" as const, args, relative: 0 }] }], out: back };
      };
    },
  };
}

/** The address of a block if its rows can be used in place. */
function addressOf({ data, strides }: Pick<OnlineStep["block"], "data" | "strides">, memory: Machine["memory"]): number | undefined {
  const address = data.addressIn(memory);
  return address >= 0 && strides[1] === 1 ? address : undefined;
}

function copyOfStates(states: ArrayHandle, row: number, rows: number, address: number): Copy {
  const words = STATE_BYTES / 8;
  return { array: states, at: row * words, address, dims: [{ size: rows * words, from: 1, to: 1 }], columns: 0 };
}

function copyOfBlock(array: ArrayHandle, at: number, address: number, rows: number, cols: number, rowStride: number, colStride: number): Copy {
  const dims = [
    { size: rows, from: rowStride, to: cols },
    { size: cols, from: colStride, to: 1 },
  ];
  return { array, at, address, dims, columns: 0 };
}

function outward(copy: Copy): Copy {
  return { ...copy, dims: copy.dims.map(({ size, from, to }) => ({ size, from: to, to: from })) };
}
