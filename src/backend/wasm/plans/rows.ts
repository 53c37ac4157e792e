import type { Output } from "../../../calls/call.ts";
import { type RowCall, resultStrides } from "../../../calls/row-call.ts";
import { type RowDim, type RowDims, appendDim, rowDims } from "../../../calls/row-dims.ts";
import { type ArrayHandle, BYTES } from "../../../tensor/array.ts";
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

/** A place in each array: in elements from its start, or an address. */
type Places = Omit<RowDim, "size">;

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

/** Evenly spaced rows: the addresses of the first, and strides in bytes. */
interface Run {
  readonly first: Places;
  readonly dim: RowDim;
}

const START: Places = { x: 0, y: 0, bias: 0, mask: 0 };
const ONE_ROW: RowDim = { size: 1, x: 0, y: 0, bias: 0, mask: 0 };
const NOTHING: readonly never[] = [];
const ROW_FAMILIES = [ROWS];

// Arguments of kernels that are offsets into a thread's scratch.
const SOURCE = 1 << 0;
const TARGET = 1 << 1;
const KERNEL_SCRATCH = 1 << 6;

/**
 * Plans a row operation. Rows that are contiguous in module memory are used in place; all others pass through scratch, as many at a
 * time as a stage may take.
 */
export function planRows(call: RowCall, { out }: { readonly out?: Output }, machine: Machine): Plan {
  if (out === undefined) throw new Error("a row operation has one result");
  if (!machine.divides && latest?.fits(call, out, machine.memory) === true) return latest.again(call, out);
  const plan = new RowsPlan(call, out, machine);
  if (!machine.divides) latest = plan.isSmall ? new KeptPlan(call, out, machine.memory, plan) : undefined;
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
 * and differ only in their arrays. Planning would take half of the time of a call on ten elements.
 */
class KeptPlan {
  readonly memory: Machine["memory"];
  readonly #call: RowCall;
  readonly #out: Output;
  readonly #plan: RowsPlan;
  #base = -1;
  #stage: Stage | undefined;

  constructor(call: RowCall, out: Output, memory: Machine["memory"], plan: RowsPlan) {
    this.memory = memory;
    this.#call = call;
    this.#out = out;
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
      tables: NOTHING,
      in: into === undefined ? NOTHING : [copyWith(into, x)],
      tasks: this.#stage.tasks,
      out: from === undefined ? NOTHING : [copyWith(from, y)],
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

class RowsPlan implements Plan {
  readonly families = ROW_FAMILIES;
  readonly stageBytes: number;
  readonly threadBytes: number;
  readonly #call: RowCall;
  readonly #machine: Machine;
  readonly #dims: RowDims;
  readonly #reduces: boolean;
  readonly #modified: boolean;
  readonly #parts: readonly [x: Part, y: Part, bias: Part | undefined, mask: Part | undefined];
  readonly #columns: number;
  /** Where a thread keeps modified rows that have no other place. */
  readonly #modifiedAt: number;
  /** The dimension along which rows are cut, `#chunk` at a time, with everything inside it. */
  readonly #split: number;
  readonly #chunk: number;

  constructor(call: RowCall, out: Output, machine: Machine) {
    const { op, shape, axes, scale, operands } = call;
    const { x, bias, mask } = operands;
    const { memory, stageBytes } = machine;
    const reduces = op === "logSumExp";
    const modified = bias !== undefined || mask !== undefined || scale !== 1;
    const dims = rowDims(shape, axes, { x: x.strides, y: resultStrides(call, out.strides), bias: bias?.strides, mask: mask?.strides });
    const { rows, colCount } = dims;
    const size = BYTES[x.data.dtype];
    const xAt = placeOf(memory, dims, "x", x.data);
    const yAt = reduces ? out.data.addressIn(memory) : placeOf(memory, dims, "y", out.data);
    const biasAt = bias === undefined ? 0 : placeOf(memory, dims, "bias", bias.data);
    const maskAt = mask === undefined ? 0 : placeOf(memory, dims, "mask", mask.data);
    // A result is computed where its input was copied to.
    const rowsCopied = xAt < 0 || (!reduces && yAt < 0);

    const crossing = (xAt < 0 || yAt < 0 || biasAt < 0 || maskAt < 0) && isCrossing(dims);
    const pitch = crossing ? colCount + CROSSING_GAP : colCount;
    const inner = rows.at(-1) ?? ONE_ROW;
    const rowBytes =
      (rowsCopied ? pitch * size : 0) +
      (reduces && yAt < 0 ? size : 0) +
      (biasAt < 0 && inner.bias !== 0 ? colCount * size : 0) +
      (maskAt < 0 && inner.mask !== 0 ? colCount : 0);
    let most = rows.length < 2 ? inner.size : MOST_RUNS * inner.size;
    if (rowBytes > 0) {
      most = Math.max(1, Math.floor(stageBytes / rowBytes));
      if (crossing) most = Math.max(most, Math.min(CROSSING_ROWS, Math.floor(MAX_CROSSING_BYTES / rowBytes)));
    }
    // As many inner dimensions as fit, and part of the next.
    let split = Math.max(rows.length - 1, 0);
    let inside = 1;
    for (; split > 0 && inside * (rows[split]?.size ?? 1) <= most; split--) inside *= rows[split]?.size ?? 1;
    const chunk = Math.max(1, Math.min(rows[split]?.size ?? 1, Math.floor(most / inside)));
    const boxRows = inside * chunk;

    const layout = new Layout();
    const rowsAt = rowsCopied ? layout.take(boxRows * pitch * size) : 0;
    const resultsAt = reduces && yAt < 0 ? layout.take(boxRows * size) : rowsAt;
    this.#parts = [
      { name: "x", data: x.data, size, address: xAt, at: rowsAt, pitch },
      { name: "y", data: out.data, size, address: yAt, at: resultsAt, pitch: reduces ? 1 : pitch },
      bias && { name: "bias", data: bias.data, size, address: biasAt, at: biasAt < 0 ? layout.take(boxRows * colCount * size) : 0, pitch: colCount },
      mask && { name: "mask", data: mask.data, size: 1, address: maskAt, at: maskAt < 0 ? layout.take(boxRows * colCount) : 0, pitch: colCount },
    ];
    this.#columns = crossing ? layout.take(boxRows * colCount * size) : 0;
    this.stageBytes = layout.bytes;
    const thread = new Layout();
    thread.take(Math.max(STATE_BYTES, Math.ceil(colCount / BLOCK_ELEMENTS) * 4));
    this.#modifiedAt = modified && reduces ? thread.take(Math.max(MODIFIED_ELEMENTS, colCount) * size) : 0;
    this.threadBytes = thread.bytes;
    this.#call = call;
    this.#machine = machine;
    this.#dims = dims;
    this.#reduces = reduces;
    this.#modified = modified;
    this.#split = split;
    this.#chunk = chunk;
  }

  /** Whether it is a single stage of few elements, without bias and mask. */
  get isSmall(): boolean {
    const { rows, colCount } = this.#dims;
    const [, , bias, mask] = this.#parts;
    return bias === undefined && mask === undefined && countOf(rows) * colCount <= SMALL_ELEMENTS && this.#chunk === (rows[0]?.size ?? 1);
  }

  stages(base: number): () => Stage | undefined {
    const { rows } = this.#dims;
    const outer = rows.slice(0, this.#split);
    const along = rows[this.#split] ?? ONE_ROW;
    const parts = Math.ceil(along.size / this.#chunk);
    const count = countOf(outer) * parts;
    let box = 0;
    let before: Places | undefined;
    return () => {
      if (box >= count) return undefined;
      const first = (box % parts) * this.#chunk;
      const places = step(step(START, outer, Math.floor(box / parts)), [along], first);
      const dims = count === 1 ? rows : [{ ...along, size: Math.min(this.#chunk, along.size - first) }, ...rows.slice(this.#split + 1)];
      const stage = this.#stage(base, dims, places, before);
      box++;
      before = places;
      return stage;
    };
  }

  #stage(base: number, dims: readonly RowDim[], places: Places, before: Places | undefined): Stage {
    const [x, y, bias, mask] = this.#parts;
    const copy = (part: Part): Copy => this.#copy(part, base, dims, places);
    const into = x.address < 0 ? [copy(x)] : [];
    // A bias or mask that repeats from stage to stage is still there.
    if (bias !== undefined && bias.address < 0 && before?.bias !== places.bias) into.push(copy(bias));
    if (mask !== undefined && mask.address < 0 && before?.mask !== places.mask) into.push(copy(mask));
    return { tables: NOTHING, in: into, tasks: this.#tasks(this.#runs(base, dims, places)), out: y.address < 0 ? [copy(y)] : [] };
  }

  /** The copy of a box of rows into scratch or, for the result, out of it. */
  #copy(part: Part, base: number, dims: readonly RowDim[], places: Places): Copy {
    const { name, data, at } = part;
    const copied: CopyDim[] = [];
    const add = (dim: RowDim, inside: number): void => {
      const outside = strideOf(name, dim);
      copied.push(name === "y" ? { size: dim.size, from: inside, to: outside } : { size: dim.size, from: outside, to: inside });
    };
    const cols = this.#reduces && name === "y" ? [] : this.#dims.cols;
    for (let d = cols.length - 1, inside = 1; d >= 0; d--) {
      const col = cols[d] ?? ONE_ROW;
      add(col, inside);
      inside *= col.size;
    }
    const strides = scratchStrides(part, dims);
    for (let d = 0; d < dims.length; d++) add(dims[d] ?? ONE_ROW, strides[d] ?? 0);
    return { array: data, at: strideOf(name, places), address: base + at, dims: copied, columns: this.#columns === 0 ? 0 : base + this.#columns };
  }

  /** The rows of a box as runs, as few as the strides allow. */
  #runs(base: number, dims: readonly RowDim[], places: Places): readonly Run[] {
    const [x, y, bias, mask] = this.#parts;
    const first = {
      x: startOf(x, base, places.x),
      y: startOf(y, base, places.y),
      bias: bias === undefined ? 0 : startOf(bias, base, places.bias),
      mask: mask === undefined ? 0 : startOf(mask, base, places.mask),
    };
    if (dims.length === 0) return [{ first, dim: ONE_ROW }];
    const strides = this.#parts.map((part) => part && byteStrides(part, dims));
    const seen: RowDim[] = [];
    for (let d = 0; d < dims.length; d++) {
      const at = (i: number): number => strides[i]?.[d] ?? 0;
      appendDim(seen, { size: dims[d]?.size ?? 1, x: at(0), y: at(1), bias: at(2), mask: at(3) });
    }
    const dim = seen.pop() ?? ONE_ROW;
    const runs: Run[] = [];
    for (let i = 0, count = countOf(seen); i < count; i++) runs.push({ first: step(first, seen, i), dim });
    return runs;
  }

  #tasks(runs: readonly Run[]): Task[] {
    const { divides, threads, tuning } = this.#machine;
    if (!divides) {
      const calls: KernelCall[] = [];
      for (const run of runs) this.#addCalls(calls, run, 0, run.dim.size);
      return [{ calls }];
    }
    const sizes = runs.map(({ dim }) => dim.size);
    const rowNs = Math.max(1e-3, this.#dims.colCount * ELEMENT_NS[this.#parts[0].size === 4 ? "f32" : "f64"]);
    const least = workPerTask(sizes.reduce((n, rows) => n + rows, 0) * rowNs, threads, tuning) / rowNs;
    return cutRows(sizes, least, threads * tuning.share).map((task) => {
      const calls: KernelCall[] = [];
      for (const { segment, from, to } of task) this.#addCalls(calls, runs[segment] ?? { first: START, dim: ONE_ROW }, from, to);
      return { calls };
    });
  }

  /** Adds the calls that compute rows `from` … `to` of a run. */
  #addCalls(calls: KernelCall[], { first, dim }: Run, from: number, to: number): void {
    const { scale, safe } = this.#call;
    const { colCount } = this.#dims;
    const [{ size }] = this.#parts;
    const kernel = kernelOf(this.#call);
    const rowsAtOnce = this.#modified ? Math.max(1, Math.floor(MODIFIED_ELEMENTS / Math.max(colCount, 1))) : to - from;
    for (let r = from; r < to; r += rowsAtOnce) {
      const rows = Math.min(rowsAtOnce, to - r);
      const [x, y] = [first.x + r * dim.x, first.y + r * dim.y];
      if (!this.#modified) {
        calls.push({ kernel, args: [x, y, rows, colCount, dim.x, dim.y, 0, safe ? 1 : 0], relative: KERNEL_SCRATCH });
        continue;
      }
      const [target, pitch] = this.#reduces ? [this.#modifiedAt, colCount * size] : [y, dim.y];
      calls.push(
        {
          kernel: size === 4 ? "modify_f32" : "modify_f64",
          args: [x, target, rows, colCount, dim.x, pitch, scale, first.bias + r * dim.bias, dim.bias, first.mask + r * dim.mask, dim.mask],
          relative: this.#reduces ? TARGET : 0,
        },
        { kernel, args: [target, y, rows, colCount, pitch, dim.y, 0, safe ? 1 : 0], relative: this.#reduces ? KERNEL_SCRATCH | SOURCE : KERNEL_SCRATCH },
      );
    }
  }
}

/** A part's stride or place. Written out, because properties with computed names would take longer than the rest of a small plan. */
function strideOf(name: Name, { x, y, bias, mask }: Places): number {
  return name === "x" ? x : name === "y" ? y : name === "bias" ? bias : mask;
}

/** Strides of copied rows in scratch, in elements: 0 where a bias or mask repeats, since such rows are copied once. */
function scratchStrides({ name, pitch }: Part, dims: readonly RowDim[]): number[] {
  const strides = new Array<number>(dims.length);
  for (let d = dims.length - 1, inside = pitch; d >= 0; d--) {
    const dim = dims[d] ?? ONE_ROW;
    const repeats = (name === "bias" && dim.bias === 0) || (name === "mask" && dim.mask === 0);
    strides[d] = repeats ? 0 : inside;
    if (!repeats) inside *= dim.size;
  }
  return strides;
}

/** Where a kernel finds the row that begins at an element. */
function startOf({ address, at, size }: Part, base: number, element: number): number {
  return address < 0 ? base + at : address + element * size;
}

/** Strides of rows as kernels see them, in bytes. */
function byteStrides(part: Part, dims: readonly RowDim[]): number[] {
  const strides = part.address < 0 ? scratchStrides(part, dims) : dims.map((dim) => strideOf(part.name, dim));
  return strides.map((stride) => stride * part.size);
}

/** The address of an operand whose rows are used in place, or −1. */
function placeOf(memory: Machine["memory"], { cols, colCount }: RowDims, name: Name, data: ArrayHandle): number {
  const inRow = colCount <= 1 || (cols.length === 1 && cols[0]?.[name] === 1);
  return inRow ? data.addressIn(memory) : -1;
}

function kernelOf({ op, algorithm, operands: { x } }: RowCall): RowKernelName {
  const dtype = x.data.dtype as "f32" | "f64";
  if (op === "logSumExp") return `log_sum_exp_${dtype}`;
  if (op === "logSoftmax") return `log_softmax_${dtype}`;
  if (dtype === "f64") return "softmax_f64";
  return algorithm === "auto" ? "softmax_online_f32" : `softmax_${algorithm}_f32`;
}

/** Whether rows cross the memory order. */
function isCrossing({ rows, cols }: RowDims): boolean {
  const col = cols.length === 1 ? cols[0] : undefined;
  const inner = rows.at(-1);
  return inner !== undefined && (inner.x < (col?.x ?? 0) || inner.y < (col?.y ?? 0));
}

function countOf(dims: readonly RowDim[]): number {
  let count = 1;
  for (const { size } of dims) count *= size;
  return count;
}

/** The place after `i` steps through some dimensions, the last one fastest. */
function step(from: Places, dims: readonly RowDim[], i: number): Places {
  if (i === 0) return from;
  let { x, y, bias, mask } = from;
  for (let d = dims.length - 1; d >= 0 && i > 0; d--) {
    const dim = dims[d] ?? ONE_ROW;
    const n = d === 0 ? i : i % dim.size;
    i = Math.floor(i / dim.size);
    x += n * dim.x;
    y += n * dim.y;
    bias += n * dim.bias;
    mask += n * dim.mask;
  }
  return { x, y, bias, mask };
}
