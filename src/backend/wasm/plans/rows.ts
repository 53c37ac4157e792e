import { computedType } from "../../../calls/arguments.ts";
import type { Output } from "../../../calls/call.ts";
import { type RowCall, resultStrides } from "../../../calls/row-call.ts";
import { type RowDim, type RowDims, appendDim, rowDims } from "../../../calls/row-dims.ts";
import type { ArrayHandle } from "../../../tensor/array.ts";
import type { CopyDim } from "../../../tensor/copy-strided.ts";
import { sameShape } from "../../../tensor/shape.ts";
import { BLOCK_ELEMENTS, type RowKernelName, STATE_BYTES } from "../module/kernels.ts";
import { ROWS } from "../module/rows-family.ts";
import { type Copy, type KernelCall, Layout, type Machine, type Plan, type Stage, type Task } from "./plan.ts";
import { ELEMENT_NS, cutRows, workPerTask } from "./schedule.ts";

/** Scale, bias or mask are applied to this many elements before the operation itself runs on them, still in the cache. */
const MODIFIED_ELEMENTS = 1 << 16;
/** Rows that cross the memory order are copied this many at a time, so that reads come in runs, … */
const CROSSING_ROWS = 256;
/** … unless rows are so long that this would exceed this many bytes. */
const MAX_CROSSING_BYTES = 1 << 23;
/** The most runs of rows in a stage when rows are used in place: a list of all of them could be long. */
const MOST_RUNS = 1024;
/** Calls of so few elements, one stage, feel the time that planning takes. */
const SMALL_ELEMENTS = 1 << 16;
/** Gap between crossing rows in scratch, in elements: with a power of two as pitch, transposing would hit one cache set. */
const CROSSING_GAP = 16;

type Name = "x" | "y" | "bias" | "mask";

/** An operand, or the result, as the plan sees it. */
interface Part {
  readonly name: Name;
  readonly data: ArrayHandle;
  /** Bytes of an element. */
  readonly size: number;
  /** Its address if rows are used in place; −1 if they are copied. */
  readonly address: number;
  /** Where copies of rows start in a stage's scratch, and how far apart they are, in elements. */
  readonly at: number;
  readonly pitch: number;
}

/** Where the first row of a stage is, in elements from the start of each array. */
type Offsets = Readonly<Record<Name, number>>;

const NO_TABLES: readonly never[] = [];
const NO_COPIES: readonly never[] = [];
const START: Offsets = { x: 0, y: 0, bias: 0, mask: 0 };
const ONE_ROW: RowDim = { size: 1, x: 0, y: 0, bias: 0, mask: 0 };

/** Which argument of row kernels is scratch. */
const KERNEL_SCRATCH = 1 << 6;

/**
 * Plans a row operation. Rows that are contiguous in module memory are used in place; all others pass through scratch, as many at a
 * time as a stage may take.
 */
export function planRows(call: RowCall, outputs: { readonly out?: Output }, machine: Machine): Plan {
  const { out } = outputs;
  if (out === undefined) throw new Error("a row operation has one result");
  if (machine.divides) return new RowsPlan(call, out, machine);
  if (latest?.fits(call, out, machine.memory) === true) return latest.again(call, out);
  const plan = new RowsPlan(call, out, machine);
  latest = plan.isSmall ? new KeptPlan(call, out, machine.memory, plan) : undefined;
  return plan;
}

/** The latest plan of a small call. */
let latest: KeptPlan | undefined;

/** Lets go of a memory that is not used any more. */
export function forgetPlans(memory: Machine["memory"]): void {
  if (latest?.memory === memory) latest = undefined;
}

/**
 * A plan of one stage, kept for later calls of the same form. Such calls often follow each other, for example one softmax per token,
 * and differ only in their arrays. Planning takes half of the time of a call on ten elements.
 */
class KeptPlan {
  readonly #call: RowCall;
  readonly #out: Output;
  readonly memory: Machine["memory"];
  readonly #plan: RowsPlan;
  #base = -1;
  #stage: Stage | undefined;

  constructor(call: RowCall, out: Output, memory: Machine["memory"], plan: RowsPlan) {
    this.#call = call;
    this.#out = out;
    this.memory = memory;
    this.#plan = plan;
  }

  /** Whether the plan also serves another call, which may differ only in where its arrays on the host are. */
  fits(call: RowCall, out: Output, memory: Machine["memory"]): boolean {
    const kept = this.#call;
    const [x, y] = [call.operands.x, kept.operands.x];
    return (
      kept.op === call.op &&
      kept.algorithm === call.algorithm &&
      kept.safe === call.safe &&
      kept.scale === call.scale &&
      call.operands.bias === undefined &&
      call.operands.mask === undefined &&
      memory === this.memory &&
      x.data.dtype === y.data.dtype &&
      x.data.addressIn(memory) === y.data.addressIn(memory) &&
      out.data.addressIn(memory) === this.#out.data.addressIn(memory) &&
      sameShape(call.shape, kept.shape) &&
      sameShape(call.axes, kept.axes) &&
      sameShape(x.strides, y.strides) &&
      sameShape(out.strides, this.#out.strides)
    );
  }

  /** The same plan for a call that it fits. */
  again(call: RowCall, out: Output): Plan {
    const { families, stageBytes, threadBytes } = this.#plan;
    return { families, stageBytes, threadBytes, stages: (base) => this.#stages(base, call.operands.x.data, out.data) };
  }

  #stages(base: number, x: ArrayHandle, y: ArrayHandle): () => Stage | undefined {
    if (base !== this.#base) this.#stage = this.#plan.stages(base)();
    this.#base = base;
    const [into, from] = [this.#stage?.in[0], this.#stage?.out[0]];
    let stage = this.#stage && {
      tables: NO_TABLES,
      in: into === undefined ? NO_COPIES : [copyWith(into, x)],
      tasks: this.#stage.tasks,
      out: from === undefined ? NO_COPIES : [copyWith(from, y)],
    };
    return () => {
      const next = stage;
      stage = undefined;
      return next;
    };
  }
}

/** The same copy for another array. */
function copyWith({ at, address, dims, columns }: Copy, array: ArrayHandle): Copy {
  return { array, at, address, dims, columns };
}

const ROW_FAMILIES = [ROWS];

class RowsPlan implements Plan {
  readonly families = ROW_FAMILIES;
  readonly stageBytes: number;
  readonly threadBytes: number;
  readonly #call: RowCall;
  readonly #machine: Machine;
  readonly #dims: RowDims;
  readonly #reduces: boolean;
  readonly #modified: boolean;
  /** Whether rows pass through scratch, where they are modified and computed. */
  readonly #staged: boolean;
  readonly #x: Part;
  readonly #y: Part;
  readonly #bias: Part | undefined;
  readonly #mask: Part | undefined;
  readonly #columns: number;
  /** The dimension along which rows are cut, `#chunk` at a time, with everything inside it. */
  readonly #split: number;
  readonly #chunk: number;

  constructor(call: RowCall, out: Output, machine: Machine) {
    const { op, shape, axes, scale, operands } = call;
    const { x, bias, mask } = operands;
    const { memory, stageBytes } = machine;
    this.#call = call;
    this.#machine = machine;
    const reduces = (this.#reduces = op === "logSumExp");
    const modified = (this.#modified = bias !== undefined || mask !== undefined || scale !== 1);
    const dims = (this.#dims = rowDims(shape, axes, { x: x.strides, y: resultStrides(call, out.strides), bias: bias?.strides, mask: mask?.strides }));
    const { rows, colCount } = dims;
    const size = x.data.kernelBytes;
    const xAt = placeOf(memory, dims, "x", x.data);
    const yAt = reduces ? out.data.addressIn(memory) : placeOf(memory, dims, "y", out.data);
    const biasAt = bias === undefined ? 0 : placeOf(memory, dims, "bias", bias.data);
    const maskAt = mask === undefined ? 0 : placeOf(memory, dims, "mask", mask.data);
    const staged = (this.#staged = xAt < 0 || (!reduces && yAt < 0) || (modified && reduces));

    const crossing = (xAt < 0 || yAt < 0 || biasAt < 0 || maskAt < 0) && isCrossing(dims);
    const pitch = crossing ? colCount + CROSSING_GAP : colCount;
    const inner = rows.at(-1) ?? ONE_ROW;
    const rowBytes =
      (staged ? pitch * size : 0) +
      (reduces && yAt < 0 ? size : 0) +
      (biasAt < 0 && inner.bias !== 0 ? colCount * size : 0) +
      (maskAt < 0 && inner.mask !== 0 ? colCount : 0);
    const rowCount = countOf(rows);
    let most = rows.length < 2 ? rowCount : MOST_RUNS * inner.size;
    if (rowBytes > 0) {
      most = Math.max(1, Math.floor(stageBytes / rowBytes));
      if (crossing) most = Math.max(most, Math.min(CROSSING_ROWS, Math.floor(MAX_CROSSING_BYTES / rowBytes)));
    }
    // As many inner dimensions as fit, and part of the next.
    let split = Math.max(rows.length - 1, 0);
    let inside = 1;
    for (; split > 0 && inside * (rows[split]?.size ?? 1) <= most; split--) inside *= rows[split]?.size ?? 1;
    const chunk = Math.max(1, Math.min(rows[split]?.size ?? 1, Math.floor(most / inside)));
    this.#split = split;
    this.#chunk = chunk;
    const boxRows = inside * chunk;

    const layout = new Layout();
    const rowsAt = staged ? layout.take(boxRows * pitch * size) : 0;
    const resultsAt = reduces && yAt < 0 ? layout.take(boxRows * size) : rowsAt;
    this.#x = { name: "x", data: x.data, size, address: xAt, at: rowsAt, pitch };
    this.#y = { name: "y", data: out.data, size, address: yAt, at: resultsAt, pitch: reduces ? 1 : pitch };
    this.#bias = bias && { name: "bias", data: bias.data, size, address: biasAt, at: biasAt < 0 ? layout.take(boxRows * colCount * size) : 0, pitch: colCount };
    this.#mask = mask && { name: "mask", data: mask.data, size: 1, address: maskAt, at: maskAt < 0 ? layout.take(boxRows * colCount) : 0, pitch: colCount };
    this.#columns = crossing ? layout.take(boxRows * colCount * size) : 0;
    this.stageBytes = layout.bytes;
    this.threadBytes = Math.max(STATE_BYTES, Math.ceil(colCount / BLOCK_ELEMENTS) * 4);
  }

  /** Whether kernels see copies only. */
  get #copiesAll(): boolean {
    return this.#x.address < 0 && this.#y.address < 0 && (this.#bias?.address ?? -1) < 0 && (this.#mask?.address ?? -1) < 0;
  }

  /** Whether it is a single stage of few elements, without bias and mask. */
  get isSmall(): boolean {
    const { rows, colCount } = this.#dims;
    return this.#bias === undefined && this.#mask === undefined && countOf(rows) * colCount <= SMALL_ELEMENTS && this.#chunk === (rows[0]?.size ?? 1);
  }

  stages(base: number): () => Stage | undefined {
    const { rows } = this.#dims;
    const [split, chunk] = [this.#split, this.#chunk];
    const along = rows[split] ?? ONE_ROW;
    const parts = Math.ceil(along.size / chunk);
    const count = countOf(rows.slice(0, split)) * parts;
    let box = 0;
    let before: { readonly offsets: Offsets; readonly size: number; readonly stage: Stage } | undefined;
    return () => {
      if (box >= count) return undefined;
      const first = (box % parts) * chunk;
      const offsets = box === 0 ? START : offsetsOf(rows, split, first, Math.floor(box / parts));
      box++;
      const size = Math.min(chunk, along.size - first);
      const dims = count === 1 ? rows : [{ ...along, size }, ...rows.slice(split + 1)];
      // In scratch, all boxes of one size look the same to kernels.
      const tasks = this.#copiesAll && before?.size === size ? before.stage.tasks : undefined;
      const stage = this.#stage(base, dims, offsets, before?.offsets, tasks);
      before = { offsets, size, stage };
      return stage;
    };
  }

  #stage(base: number, dims: readonly RowDim[], offsets: Offsets, before: Offsets | undefined, tasks: readonly Task[] | undefined): Stage {
    const [x, y, bias, mask] = [this.#x, this.#y, this.#bias, this.#mask];
    const { cols } = this.#dims;
    const columns = this.#columns === 0 ? 0 : base + this.#columns;
    const into: Copy[] = x.address < 0 ? [copyOf(x, base, offsets, dims, cols, columns)] : [];
    // Data that repeats from stage to stage is still there.
    if (bias !== undefined && bias.address < 0 && before?.bias !== offsets.bias) into.push(copyOf(bias, base, offsets, dims, cols, columns));
    if (mask !== undefined && mask.address < 0 && before?.mask !== offsets.mask) into.push(copyOf(mask, base, offsets, dims, cols, columns));
    const outOf = y.address < 0 ? [copyOf(y, base, offsets, dims, this.#reduces ? [] : cols, columns)] : [];
    return { tables: NO_TABLES, in: into, tasks: tasks ?? this.#tasks(base, dims, offsets), out: outOf };
  }

  #tasks(base: number, dims: readonly RowDim[], offsets: Offsets): readonly Task[] {
    const parts = [this.#x, this.#y, this.#bias, this.#mask] as const;
    const [x, y, bias, mask] = parts;
    const starts = [startOf(x, base, offsets), startOf(y, base, offsets), startOf(bias, base, offsets), startOf(mask, base, offsets)] as const;
    const rowNs = this.#dims.colCount * ELEMENT_NS[x.size === 4 ? "f32" : "f64"];
    return tasksOf(runsOf(dims, starts, parts), this.#machine, rowNs, (run) => this.#calls(base, run));
  }

  /** The calls that compute a run of rows. */
  #calls(base: number, run: Run): KernelCall[] {
    const { scale, safe } = this.#call;
    const { colCount } = this.#dims;
    const { size, pitch, at } = this.#x;
    const kernel = kernelOf(this.#call);
    const compute = (from: number, to: number, rows: number, fromStride: number): KernelCall => ({
      kernel,
      args: [from, to, rows, colCount, fromStride, run.yStride, 0, safe ? 1 : 0],
      relative: KERNEL_SCRATCH,
    });
    if (!this.#modified) return [compute(run.x, run.y, run.rows, run.xStride)];
    const made: KernelCall[] = [];
    const step = Math.max(1, Math.floor(MODIFIED_ELEMENTS / Math.max(colCount, 1)));
    for (let r = 0; r < run.rows; r += step) {
      const n = Math.min(step, run.rows - r);
      const to = run.y + r * run.yStride;
      // Through the result if possible, else through scratch.
      const target = this.#staged ? base + at + (run.first + r) * pitch * size : to;
      const targetStride = this.#staged ? pitch * size : run.yStride;
      const [from, biasRow, maskRow] = [run.x + r * run.xStride, run.bias + r * run.biasStride, run.mask + r * run.maskStride];
      made.push(
        {
          kernel: size === 4 ? "modify_f32" : "modify_f64",
          args: [from, target, n, colCount, run.xStride, targetStride, scale, biasRow, run.biasStride, maskRow, run.maskStride],
          relative: 0,
        },
        compute(target, to, n, targetStride),
      );
    }
    return made;
  }
}

/** The address of an operand whose rows are used in place, or −1. */
function placeOf(memory: Machine["memory"], { cols, colCount }: RowDims, name: Name, data: ArrayHandle): number {
  const inRow = colCount <= 1 || (cols.length === 1 && cols[0]?.[name] === 1);
  return inRow ? data.addressIn(memory) : -1;
}

function kernelOf({ op, algorithm, operands: { x } }: RowCall): RowKernelName {
  const dtype = computedType(x);
  if (op === "logSumExp") return `log_sum_exp_${dtype}`;
  if (op === "logSoftmax") return `log_softmax_${dtype}`;
  if (dtype === "f64") return "softmax_f64";
  return algorithm === "auto" ? "softmax_online_f32" : `softmax_${algorithm}_f32`;
}

function countOf(dims: readonly RowDim[]): number {
  let count = 1;
  for (const dim of dims) count *= dim.size;
  return count;
}

/** Whether rows cross the memory order. */
function isCrossing({ rows, cols }: RowDims): boolean {
  const col = cols.length === 1 ? cols[0] : undefined;
  const inner = rows.at(-1);
  return inner !== undefined && (inner.x < (col?.x ?? 0) || inner.y < (col?.y ?? 0));
}

/** Where a box begins: at `first` along the dimension that is cut, in the `outer`-th combination of those outside it. */
function offsetsOf(rows: readonly RowDim[], split: number, first: number, outer: number): Offsets {
  const at = { x: 0, y: 0, bias: 0, mask: 0 };
  for (let d = split; d >= 0; d--) {
    const dim = rows[d];
    if (dim === undefined) continue;
    const i = d === split ? first : outer % dim.size;
    if (d !== split) outer = Math.floor(outer / dim.size);
    at.x += i * dim.x;
    at.y += i * dim.y;
    at.bias += i * dim.bias;
    at.mask += i * dim.mask;
  }
  return at;
}

/** The distance, in rows, along each dimension of a copied box: 0 where a bias or mask repeats, since rows are copied once. */
function copiedStrides(dims: readonly RowDim[], name: Name): number[] {
  const strides = new Array<number>(dims.length);
  let rows = 1;
  for (let d = dims.length - 1; d >= 0; d--) {
    const dim = dims[d] ?? ONE_ROW;
    const repeats = (name === "bias" || name === "mask") && dim[name] === 0;
    strides[d] = repeats ? 0 : rows;
    if (!repeats) rows *= dim.size;
  }
  return strides;
}

/** A dimension of a copy into scratch or, for the result, out of it. */
function direct(name: Name, size: number, outside: number, inside: number): CopyDim {
  return name === "y" ? { size, from: inside, to: outside } : { size, from: outside, to: inside };
}

/** The dimensions of a row. */
function colDims(cols: readonly RowDim[], name: Name): CopyDim[] {
  const copied: CopyDim[] = [];
  let inside = 1;
  for (let d = cols.length - 1; d >= 0; d--) {
    const col = cols[d] ?? ONE_ROW;
    copied.push(direct(name, col.size, col[name], inside));
    inside *= col.size;
  }
  return copied;
}

/** The copy of a box of rows into scratch or, for the result, out of it. */
function copyOf({ name, data, at, pitch }: Part, base: number, offsets: Offsets, dims: readonly RowDim[], cols: readonly RowDim[], columns: number): Copy {
  const col = cols.length === 1 ? cols[0] : undefined;
  const copied: CopyDim[] = col === undefined ? colDims(cols, name) : [direct(name, col.size, col[name], 1)];
  if (dims.length > 0) {
    const strides = copiedStrides(dims, name);
    for (let d = 0; d < dims.length; d++) copied.push(direct(name, dims[d]?.size ?? 1, dims[d]?.[name] ?? 0, (strides[d] ?? 0) * pitch));
  }
  return { array: data, at: offsets[name], address: base + at, dims: copied, columns };
}

/** Evenly spaced rows: addresses of the first one, and strides in bytes. */
interface Run {
  readonly rows: number;
  /** Number of the first row in its box. */
  readonly first: number;
  readonly x: number;
  readonly xStride: number;
  readonly y: number;
  readonly yStride: number;
  readonly bias: number;
  readonly biasStride: number;
  readonly mask: number;
  readonly maskStride: number;
}

type PerPart<T> = readonly [x: T, y: T, bias: T, mask: T];

/** The address of a box's first row. */
function startOf(part: Part | undefined, base: number, offsets: Offsets): number {
  if (part === undefined) return 0;
  return part.address < 0 ? base + part.at : part.address + offsets[part.name] * part.size;
}

/** Dimensions with strides in bytes, for rows as kernels see them: in place or in scratch. */
function byteDims(dims: readonly RowDim[], parts: PerPart<Part | undefined>): RowDim[] {
  const strides = parts.map((part) => {
    if (part === undefined) return undefined;
    const { name, size, address, pitch } = part;
    if (address >= 0) return dims.map((dim) => dim[name] * size);
    return copiedStrides(dims, name).map((rows) => rows * pitch * size);
  });
  const joined: RowDim[] = [];
  for (let d = 0; d < dims.length; d++) {
    const at = (i: number): number => strides[i]?.[d] ?? 0;
    appendDim(joined, { size: dims[d]?.size ?? 1, x: at(0), y: at(1), bias: at(2), mask: at(3) });
  }
  return joined;
}

/** The rows of a box as runs, as few as the strides allow. */
function runsOf(dims: readonly RowDim[], [x, y, bias, mask]: PerPart<number>, parts: PerPart<Part | undefined>): readonly Run[] {
  const joined = dims.length === 0 ? undefined : byteDims(dims, parts);
  const inner = joined?.pop() ?? ONE_ROW;
  let runs: Run[] = [{ rows: inner.size, first: 0, x, xStride: inner.x, y, yStride: inner.y, bias, biasStride: inner.bias, mask, maskStride: inner.mask }];
  if (joined === undefined || joined.length === 0) return runs;
  let rows = inner.size;
  for (let d = joined.length - 1; d >= 0; d--) {
    const dim = joined[d] ?? ONE_ROW;
    const within = runs;
    const distance = rows;
    runs = Array.from({ length: dim.size }, (_, i) =>
      within.map((run) => ({
        ...run,
        first: run.first + i * distance,
        x: run.x + i * dim.x,
        y: run.y + i * dim.y,
        bias: run.bias + i * dim.bias,
        mask: run.mask + i * dim.mask,
      })),
    ).flat();
    rows *= dim.size;
  }
  return runs;
}

/** Cuts runs into tasks for all threads. */
function tasksOf(runs: readonly Run[], { threads, divides, tuning }: Machine, rowNs: number, calls: (run: Run) => KernelCall[]): Task[] {
  const [only] = runs;
  if (!divides) return [{ calls: runs.length === 1 && only !== undefined ? calls(only) : runs.flatMap(calls) }];
  const rows = runs.reduce((n, run) => n + run.rows, 0);
  const least = workPerTask(rows * rowNs, threads, tuning) / Math.max(rowNs, 1e-3);
  return cutRows(
    runs.map((run) => run.rows),
    least,
    threads * tuning.share,
  ).map((task) => ({
    calls: task.flatMap(({ segment, from, to }) => {
      const run = runs[segment];
      return run === undefined ? [] : calls(rowsOf(run, from, to));
    }),
  }));
}

/** Some rows of a run. */
function rowsOf(run: Run, from: number, to: number): Run {
  return {
    ...run,
    rows: to - from,
    first: run.first + from,
    x: run.x + from * run.xStride,
    y: run.y + from * run.yStride,
    bias: run.bias + from * run.biasStride,
    mask: run.mask + from * run.maskStride,
  };
}
