import { BLOCK_ELEMENTS, STATE_BYTES } from "../backend/wasm/module/kernels.ts";
import { gather } from "../backend/wasm/plans/gather.ts";
import { runRows } from "../backend/wasm/plans/rows.ts";
import { ROWS } from "../backend/wasm/module/rows-family.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions, parseFlag } from "../errors/options.ts";
import { type HostOutput, type HostView, checkHost, newOutput, parseHost, parseOutput } from "../calls/arguments.ts";
import { planRows } from "../calls/row-dims.ts";
import type { Tensor, TensorLike } from "../tensor/tensor.ts";

/** The most negative finite f32: where the running max starts, so that −inf − max is −inf and not NaN. */
const FLOOR = -3.4028234663852886e38;
/** Elements taken through scratch at a time. */
const CHUNK_ELEMENTS = 64 * BLOCK_ELEMENTS;

/** Options of {@link OnlineSoftmax.normalize}. */
export interface NormalizeOptions {
  /** Where the result goes: the block's shape, or a Float32Array of as many elements. May be the block itself; what is returned is as for `softmax`. */
  readonly out?: TensorLike;
  /** Gives zeros, not NaN, for a row without any finite element so far. Default false. */
  readonly safe?: boolean;
}

const NORMALIZE_OPTIONS = new Set(["out", "safe"]);

/**
 * Softmax of data that arrives in blocks: per row the running max `m` and sum `l = Σ exp(x − m)`, the state that tiling,
 * threads, split keys and flash attention all rest on. Blocks may have any size and come in any order, and states of
 * different parts merge (Milakov and Gimelshein, arXiv:1805.02867, section 3.1).
 *
 * @example
 * ```ts
 * const state = new OnlineSoftmax();
 * state.push(new Float32Array([1, 2]));
 * state.push(new Float32Array([3]));
 * state.logSumExp[0]; // 3.4076
 * state.normalize(new Float32Array([3])).data; // [0.6652]
 * ```
 */
export class OnlineSoftmax {
  readonly #runtime: Runtime;
  readonly #max: Float32Array;
  /** In f64, so that millions of pushes keep their digits. A row that holds +inf is (+inf, 1), one that holds NaN has NaN. */
  readonly #sum: Float64Array;

  /**
   * @param rows - how many independent rows are accumulated
   * @throws RangeError if `rows` is not a positive integer
   */
  constructor(rows?: number);
  /** @internal */
  constructor(rows: number | undefined, runtime: Runtime);
  constructor(rows = 1, runtime = defaultRuntime()) {
    if (typeof rows !== "number") throw new TypeError(`"rows" expected an integer, got ${describe(rows)}`);
    if (!Number.isSafeInteger(rows) || rows < 1) throw new RangeError(`"rows" expected a positive integer, got ${rows}`);
    this.#runtime = runtime;
    this.#max = new Float32Array(rows).fill(FLOOR);
    this.#sum = new Float64Array(rows);
  }

  /** How many rows are accumulated. */
  get rows(): number {
    return this.#max.length;
  }

  /** The largest element of each row so far; −inf before the first, NaN if the row holds NaN. A copy. */
  get max(): Float32Array {
    return this.#max.map((m, r) => (Number.isNaN(this.#sum[r]) ? NaN : this.#sum[r] === 0 ? -Infinity : m));
  }

  /** Σ exp(x − max) of each row so far; 0 before the first element. A copy. */
  get sum(): Float64Array {
    return this.#sum.map((l, r) => (this.#max[r] === Infinity ? NaN : l));
  }

  /** log Σ exp(x) of each row so far; −inf before the first element. */
  get logSumExp(): Float32Array {
    return this.#max.map((m, r) => ((this.#sum[r] ?? 0) === 0 ? -Infinity : m + Math.log(this.#sum[r] ?? 0)));
  }

  /**
   * Folds in the next elements of every row.
   *
   * @param block - f32, shape [rows, n]; [n] when there is one row
   * @returns this
   * @throws RangeError if the block has another number of rows, TypeError or UnsupportedError if it is not f32, DisposedError for a tensor
   *   after its `dispose()`; the state is unchanged then
   */
  push(block: TensorLike): this {
    const x = this.#blockOf("block", block);
    const [rows, cols] = [x.shape[0] ?? 0, x.shape[1] ?? 0];
    if (cols === 0) return this;
    const { memory } = this.#runtime;
    const plan = planRows(x.shape, [1], { x: x.strides });
    const width = Math.min(cols, CHUNK_ELEMENTS);
    const height = Math.min(rows, Math.max(1, Math.floor(CHUNK_ELEMENTS / width)));
    const [rowStride, colStride] = [x.strides[0] ?? 0, x.strides[1] ?? 0];
    const held = memory.hold(x.data);
    const mark = memory.mark();
    try {
      const data = memory.take(height * width * 4);
      const states = memory.take(height * STATE_BYTES);
      for (let r = 0; r < rows; r += height) {
        const n = Math.min(height, rows - r);
        this.#writeStates(states, r, n);
        for (let c = 0; c < cols; c += width) {
          const count = Math.min(width, cols - c);
          const col = { ...(plan.cols[0] ?? { x: 1, y: 0, bias: 0, mask: 0 }), size: count };
          gather(
            this.#runtime,
            { data: held(), base: r * rowStride + c * colStride, rows: n, rowStride, cols: [col], operand: "x" },
            { address: data, pitch: count, columns: 0 },
          );
          this.#runtime.load(ROWS).online_absorb_f32(data, n, count, count * 4, states);
        }
        for (let i = 0; i < n; i++) {
          const state = states + i * STATE_BYTES;
          this.#max[r + i] = memory.f32[state / 4] ?? 0;
          this.#sum[r + i] = memory.f64[state / 8 + 1] ?? 0;
        }
      }
    } finally {
      memory.release(mark);
    }
    return this;
  }

  /**
   * Folds in what another accumulator has seen of the same rows. Merging two states gives the same bits in either order.
   *
   * @returns this; `other` is unchanged
   * @throws RangeError if the number of rows differs
   */
  merge(other: OnlineSoftmax): this {
    if (!(other instanceof OnlineSoftmax)) throw new TypeError(`"other" expected an OnlineSoftmax, got ${describe(other)}`);
    if (other.rows !== this.rows) throw new RangeError(`"other" expected ${this.rows} rows, got ${other.rows}`);
    for (let r = 0; r < this.rows; r++) {
      const [a, b] = [this.#max[r] ?? 0, other.#max[r] ?? 0];
      const [la, lb] = [this.#sum[r] ?? 0, other.#sum[r] ?? 0];
      const m = Math.max(a, b);
      // A weight of exp(∞ − ∞) would be NaN.
      const weigh = (l: number, from: number): number => (from === m ? l : l * Math.exp(from - m));
      const sum = weigh(la, a) + weigh(lb, b);
      this.#max[r] = m;
      this.#sum[r] = m === Infinity && !Number.isNaN(sum) ? 1 : sum;
    }
    return this;
  }

  /**
   * The probabilities of a block's elements under everything pushed so far: exp(block − max) / sum.
   *
   * @param block - f32, shape [rows, n]; [n] when there is one row
   * @returns a tensor of the block's shape; over `out` when given
   * @throws RangeError if the block has another number of rows or `out` does not fit, TypeError or UnsupportedError if one is not f32,
   *   DisposedError for a tensor after its `dispose()`; nothing is written then
   */
  normalize(block: TensorLike, options: NormalizeOptions = {}): Tensor<"f32"> {
    checkOptions(options, NORMALIZE_OPTIONS);
    const safe = parseFlag("safe", options.safe) ? 1 : 0;
    const given = parseHost("block", block);
    const x = this.#blockOf("block", block);
    const wanted = parseOutput(options.out, given.shape, "f32", given, {});
    checkHost("out", wanted?.data);
    const out = (wanted as HostOutput | undefined) ?? newOutput(given.shape, "f32");
    const tensor = out.tensor as Tensor<"f32">;
    if ((x.shape[1] ?? 0) === 0) return tensor;
    const { memory } = this.#runtime;
    const yStrides = given.shape.length === 1 ? [0, out.strides[0] ?? 0] : out.strides;
    const [heldBlock, heldOut] = [memory.hold(x.data), memory.hold(out.data)];
    const mark = memory.mark();
    try {
      const states = memory.take(this.rows * STATE_BYTES);
      this.#writeStates(states, 0, this.rows);
      runRows(this.#runtime, {
        plan: planRows(x.shape, [1], { x: x.strides, y: yStrides }),
        dtype: "f32",
        x: heldBlock(),
        y: heldOut(),
        reduces: false,
        scale: 1,
        bias: undefined,
        mask: undefined,
        scratchBytes: 0,
        kernel: "online_normalize_f32",
        operand: states,
        operandStride: STATE_BYTES,
        safe,
      });
    } finally {
      memory.release(mark);
    }
    return tensor;
  }

  /** A block as [rows, n], whatever its rank. */
  #blockOf(name: string, block: TensorLike): HostView {
    const x = parseHost(name, block);
    if (x.dtype !== "f32") throw new TypeError(`"${name}" expected dtype f32, got ${x.dtype}`);
    if (x.shape.length === 1 && this.rows === 1) return { ...x, shape: [1, x.shape[0] ?? 0], strides: [0, x.strides[0] ?? 0] };
    if (x.shape.length !== 2 || x.shape[0] !== this.rows)
      throw new RangeError(`"${name}" expected shape [${this.rows}, n]${this.rows === 1 ? " or [n]" : ""}, got ${describe(x.shape)}`);
    return x;
  }

  #writeStates(states: number, firstRow: number, rows: number): void {
    const { f32, f64 } = this.#runtime.memory;
    for (let i = 0; i < rows; i++) {
      const state = states + i * STATE_BYTES;
      f32[state / 4] = this.#max[firstRow + i] ?? 0;
      f64[state / 8 + 1] = this.#sum[firstRow + i] ?? 0;
    }
  }
}
