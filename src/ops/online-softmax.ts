import { alone, runPlan } from "../backend/wasm/drivers/compute.ts";
import { STATE_BYTES } from "../backend/wasm/module/kernels.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { type OnlineStep, planAbsorb, planNormalize } from "../backend/wasm/plans/online.ts";
import { checkHost, parseF32, parseOutput } from "../calls/arguments.ts";
import { newOutput } from "../calls/call.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions, parseFlag } from "../errors/options.ts";
import { ArrayHandle } from "../tensor/array.ts";
import type { OutputLike, Tensor, TensorLike, View } from "../tensor/tensor.ts";

/** The most negative finite f32. The running max starts here, so that −inf − max is −inf and not NaN. */
const FLOOR = -3.4028234663852886e38;

/** Options of {@link OnlineSoftmax.normalize}. */
export interface NormalizeOptions {
  /** Receives the result: a tensor of the block's shape, or a Float32Array with as many elements. May be the block itself. The return value is as for `softmax`. */
  readonly out?: OutputLike;
  /** Gives zeros, not NaN, for a row that has no finite element so far. Default false. */
  readonly safe?: boolean;
}

const NORMALIZE_OPTIONS = new Set(["out", "safe"]);

/**
 * Softmax of data that arrives in blocks. Keeps each row's running max `m` and sum `l = Σ exp(x − m)`, the state behind tiling,
 * threads, split keys and flash attention. Blocks may have any size and come in any order, and states of different parts can be
 * merged (Milakov and Gimelshein, arXiv:1805.02867, section 3.1).
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
  readonly #rows: number;
  /** The states in the kernels' format, STATE_BYTES per row: the max as f32 first, then the sum without the max's own 1 as f64. */
  readonly #states: Float64Array;

  /**
   * @param rows - how many independent rows to accumulate
   * @throws RangeError if `rows` is not a positive integer
   */
  constructor(rows?: number);
  /** @internal */
  constructor(rows: number | undefined, runtime: Runtime);
  constructor(rows = 1, runtime = defaultRuntime()) {
    if (typeof rows !== "number") throw new TypeError(`"rows" expected an integer, got ${describe(rows)}`);
    if (!Number.isSafeInteger(rows) || rows < 1) throw new RangeError(`"rows" expected a positive integer, got ${rows}`);
    this.#runtime = runtime;
    this.#rows = rows;
    this.#states = new Float64Array((rows * STATE_BYTES) / 8);
    for (let r = 0; r < rows; r++) this.#set(r, FLOOR, -1);
  }

  /** The number of rows. */
  get rows(): number {
    return this.#rows;
  }

  /** The largest element of each row so far; −inf before the first, NaN if the row holds NaN. A copy. */
  get max(): Float32Array {
    return Float32Array.from({ length: this.#rows }, (_, r) => {
      const l = this.#sumOf(r);
      return Number.isNaN(l) ? NaN : l === 0 ? -Infinity : this.#maxOf(r);
    });
  }

  /** Σ exp(x − max) of each row so far; 0 before the first element. A copy. */
  get sum(): Float64Array {
    return Float64Array.from({ length: this.#rows }, (_, r) => (this.#maxOf(r) === Infinity ? NaN : this.#sumOf(r)));
  }

  /** log Σ exp(x) of each row so far; −inf before the first element. */
  get logSumExp(): Float32Array {
    return Float32Array.from({ length: this.#rows }, (_, r) => this.#maxOf(r) + Math.log1p(this.#restOf(r)));
  }

  /**
   * Folds in the next elements of every row.
   *
   * @param block - f32, shape [rows, n]; [n] when there is one row
   * @returns this
   * @throws RangeError if the block has a different number of rows, TypeError or UnsupportedError if it is f64 or bytes, DisposedError if it
   *   has been disposed. On error the state is unchanged
   */
  push(block: TensorLike): this {
    const step = this.#step("block", parseF32("block", block));
    if (step.cols > 0) runPlan(this.#runtime, planAbsorb(step, alone(this.#runtime)));
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
      const [a, b] = [this.#maxOf(r), other.#maxOf(r)];
      const m = Math.max(a, b);
      // The larger max keeps its own 1 out of the sum. A weight of exp(∞ − ∞) would be NaN.
      const [lead, follow] = a < b ? [other, this] : [this, other];
      const rest = a === b ? this.#restOf(r) + other.#restOf(r) + 1 : lead.#restOf(r) + follow.#sumOf(r) * Math.exp(Math.min(a, b) - m);
      this.#set(r, m, m === Infinity && !Number.isNaN(rest) ? 0 : rest);
    }
    return this;
  }

  /**
   * The probabilities of a block's elements, given everything pushed so far: exp(block − max) / sum.
   *
   * @param block - f32, shape [rows, n]; [n] when there is one row
   * @returns a tensor of the block's shape; stored in `out` if given
   * @throws RangeError if the block has a different number of rows or `out` does not fit, TypeError or UnsupportedError if one is f64 or bytes,
   *   DisposedError if a tensor has been disposed. On error nothing is written
   */
  normalize(block: TensorLike, options: NormalizeOptions = {}): Tensor<"f32"> {
    checkOptions(options, NORMALIZE_OPTIONS);
    const safe = parseFlag("safe", options.safe);
    const given = parseF32("block", block);
    const step = this.#step("block", given);
    const wanted = parseOutput(options.out, given.shape, "f32", given, {});
    if (wanted !== undefined) checkHost("out", wanted.data);
    const out = wanted ?? newOutput(given.shape, "f32");
    const [first = 0, second = 0] = out.strides;
    const outStrides = given.shape.length === 1 ? ([0, first] as const) : ([first, second] as const);
    if (step.cols > 0) runPlan(this.#runtime, planNormalize(step, out, outStrides, safe, alone(this.#runtime)));
    return out.tensor as Tensor<"f32">;
  }

  /** A block as [rows, n], whatever its rank, with the states of its rows. */
  #step(name: string, { data, shape, strides }: View): OnlineStep {
    checkHost(name, data);
    const isFlat = shape.length === 1 && this.#rows === 1;
    if (!isFlat && (shape.length !== 2 || shape[0] !== this.#rows))
      throw new RangeError(`"${name}" expected shape [${this.#rows}, n]${this.#rows === 1 ? " or [n]" : ""}, got ${describe(shape)}`);
    const [row = 0, col = 0] = isFlat ? [0, ...strides] : strides;
    return { rows: this.#rows, cols: shape.at(-1) ?? 0, block: { data, strides: [row, col] }, states: ArrayHandle.of(this.#states, "f64") };
  }

  #maxOf(row: number): number {
    return new Float32Array(this.#states.buffer, row * STATE_BYTES, 1)[0] ?? NaN;
  }

  /** Σ exp(x − max) − 1. */
  #restOf(row: number): number {
    return this.#states[row * (STATE_BYTES / 8) + 1] ?? NaN;
  }

  #sumOf(row: number): number {
    return 1 + this.#restOf(row);
  }

  #set(row: number, max: number, rest: number): void {
    new Float32Array(this.#states.buffer, row * STATE_BYTES, 1)[0] = max;
    this.#states[row * (STATE_BYTES / 8) + 1] = rest;
  }
}
