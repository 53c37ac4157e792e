import { type SamplingCall, logitsOf } from "../../../calls/sampling-call.ts";
import { resultsOf } from "../../../calls/call.ts";
import type { ArrayHandle } from "../../../tensor/array.ts";
import { elementCount } from "../../../tensor/shape.ts";
import { SAMPLING } from "../module/sampling-family.ts";
import { type Copy, Layout, type Plan, type Planner, type Stage, type Task } from "./plan.ts";
import { type Rows, computationOf } from "./sampling-kernels.ts";
import { cutRows, workPerTask } from "./schedule.ts";

/** Rows that cross the memory order are copied this many at a time, a cache line of them, … */
const CROSSING_ROWS = 16;
/** … unless they would take more bytes than this. */
const MAX_CROSSING_BYTES = 1 << 23;

/** The logits, or a result with something for each row of them. Distances are in elements. */
interface RowTensor {
  readonly name: string;
  readonly data: ArrayHandle;
  /** Elements in a row, and the distance between them. */
  readonly width: number;
  readonly step: number;
  /** Distance between rows, along each dimension of rows. */
  readonly strides: readonly number[];
  /** Its address if rows are used in place; −1 if they are in scratch. */
  readonly address: number;
  /** Whether scratch has all rows, which leave it at the end, and not only those of a stage. */
  readonly kept: boolean;
}

/**
 * Plans calls that leave a few numbers for each row of logits, or another row. Logits that are contiguous in module memory are read in
 * place. Others pass through scratch, as many rows at a time as a stage may take.
 */
export const planSampling: Planner<SamplingCall> = (call, outputs, { memory, divides, threads, tuning, stageBytes }): Plan => {
  const computation = computationOf(call);
  const { axis } = call;
  const { shape, ...logits } = logitsOf(call);
  const cols = shape[axis] ?? 1;
  const rank = shape.length;
  const across = (list: readonly number[]): number[] => list.filter((_, d) => d !== axis || list.length < rank);

  const placed = (name: string, data: ArrayHandle, width: number, strides: readonly number[], mayBeUsed: boolean): RowTensor => {
    const step = strides.length < rank ? 1 : (strides[axis] ?? 1);
    const address = mayBeUsed && (step === 1 || width === 1) ? data.addressIn(memory) : -1;
    return { name, data, width, step, strides: across(strides), address, kept: computation.kept.has(name) };
  };
  const input = placed("logits", logits.data, cols, logits.strides, !computation.changesLogits);
  const results = resultsOf(call).flatMap(([name, result]) => {
    const out = outputs[name];
    const width = result.shape.length < rank ? 1 : (result.shape[axis] ?? 1);
    return out === undefined ? [] : [placed(name, out.data, width, out.strides, name === computation.inPlace)];
  });

  const { sizes, tensors } = joinRows(across(shape), [input, ...results]);
  const rowCount = elementCount(sizes);
  const staged = tensors.filter(({ name, address, kept }) => address < 0 && !kept && (name !== computation.inPlace || input.address >= 0));
  const crossing = input.address < 0 && (tensors[0]?.strides.at(-1) ?? 0) < input.step;
  const rowBytes = staged.reduce((sum, { width }) => sum + width * 4, computation.tableBytes);
  let most = Math.floor(stageBytes / Math.max(rowBytes, 1));
  if (crossing) most = Math.max(most, Math.min(CROSSING_ROWS, Math.floor(MAX_CROSSING_BYTES / rowBytes)));
  const chunk = Math.max(1, Math.min(most, rowCount));

  const layout = new Layout();
  const scratch = new Map<string, number>();
  for (const { name, address, kept, width } of tensors) {
    // A row that replaces the logits takes their place.
    const shared = name === computation.inPlace && input.address < 0 ? scratch.get(input.name) : undefined;
    if (address < 0) scratch.set(name, shared ?? layout.take((kept ? Math.max(rowCount, 1) : chunk) * width * 4));
  }
  const tablesAt = layout.take(chunk * computation.tableBytes);
  const columnsAt = crossing ? layout.take(chunk * cols * 4) : 0;

  const stages = (base: number): (() => Stage | undefined) => {
    /** Where a stage's rows are from `row` on. */
    const placeOf = (name: string, row: number, from: number): { readonly at: number; readonly stride: number } => {
      const tensor = tensors.find((t) => t.name === name);
      if (tensor === undefined) return { at: 0, stride: 0 };
      const { address, width, kept, strides } = tensor;
      if (address >= 0) return { at: address + offsetOf(sizes, strides, row) * 4, stride: (strides.at(-1) ?? 0) * 4 };
      return { at: base + (scratch.get(name) ?? 0) + (row - (kept ? 0 : from)) * width * 4, stride: width * 4 };
    };
    /** Copies of rows `from` … `to` between a tensor and scratch: distances outside and inside. */
    const copiesOf = (
      tensor: RowTensor,
      from: number,
      to: number,
      stage: number,
      dim: (size: number, outside: number, inside: number) => Copy["dims"][number],
    ): Copy[] =>
      runsOf(sizes, from, to).map(({ first, rows }) => ({
        array: tensor.data,
        at: offsetOf(sizes, tensor.strides, first),
        address: placeOf(tensor.name, first, stage).at,
        dims: [dim(tensor.width, tensor.step, 1), dim(rows, tensor.strides.at(-1) ?? 0, tensor.width)],
        columns: crossing && tensor.width === cols ? base + columnsAt : 0,
      }));
    let next = 0;
    let isLast = false;
    return () => {
      if (isLast) return undefined;
      const from = next;
      const to = (next = Math.min(from + chunk, rowCount));
      isLast = to === rowCount;
      const runs = tensors.some(({ address }) => address >= 0) ? runsOf(sizes, from, to) : [{ first: from, rows: to - from }];
      const rowNs = Math.max(cols * computation.elementNs, 1e-3);
      const least = divides ? workPerTask((to - from) * rowNs, threads, tuning) / rowNs : Infinity;
      const parts = cutRows(
        runs.map(({ rows }) => rows),
        least,
        threads * tuning.share,
      );
      const tasks = parts.map((task): Task => {
        const calls = task.flatMap(({ segment, from: begin, to: end }) => {
          const first = (runs[segment]?.first ?? 0) + begin;
          const rows: Rows = { first, count: end - begin, stage: from, tables: base + tablesAt, placeOf: (name) => placeOf(name, first, from) };
          return computation.calls(rows);
        });
        return { calls };
      });
      const leaving = tensors.slice(1).filter(({ address, kept }) => address < 0 && (!kept || isLast));
      return {
        tables: computation.tables(from, to, base + tablesAt),
        in: input.address >= 0 ? [] : copiesOf(tensors[0] ?? input, from, to, from, (size, outside, inside) => ({ size, from: outside, to: inside })),
        tasks,
        conclude: isLast ? (m) => computation.conclude(m, (name) => placeOf(name, 0, 0).at, rowCount) : undefined,
        out: leaving.flatMap((tensor) =>
          tensor.kept && computation.reduces
            ? [{ array: tensor.data, at: 0, address: placeOf(tensor.name, 0, 0).at, dims: [{ size: 1, from: 1, to: 1 }], columns: 0 }]
            : copiesOf(tensor, tensor.kept ? 0 : from, to, from, (size, outside, inside) => ({ size, from: inside, to: outside })),
        ),
      };
    };
  };
  return { families: [SAMPLING], stageBytes: layout.bytes, threadBytes: computation.threadBytes, stages };
};

/** Joins neighbouring dimensions of rows that one stride covers in every tensor. */
function joinRows(sizes: readonly number[], tensors: readonly RowTensor[]): { readonly sizes: readonly number[]; readonly tensors: readonly RowTensor[] } {
  const joined: number[] = [];
  const strides = tensors.map((): number[] => []);
  sizes.forEach((size, d) => {
    if (size === 1) return;
    const stride = (t: number): number => tensors[t]?.strides[d] ?? 0;
    const outer = joined.length - 1;
    const joins = outer >= 0 && strides.every((of, t) => of[outer] === size * stride(t));
    if (joins) joined[outer] = (joined[outer] ?? 1) * size;
    else joined.push(size);
    strides.forEach((of, t) => (of[joined.length - 1] = stride(t)));
  });
  return { sizes: joined, tensors: tensors.map((tensor, t) => ({ ...tensor, strides: strides[t] ?? [] })) };
}

/** Rows `from` … `to` in runs that differ in the last dimension only. */
function runsOf(sizes: readonly number[], from: number, to: number): { readonly first: number; readonly rows: number }[] {
  const inner = sizes.at(-1) ?? 1;
  const runs: { first: number; rows: number }[] = [];
  for (let first = from; first < to; first += runs.at(-1)?.rows ?? 1) runs.push({ first, rows: Math.min(to - first, inner - (first % inner)) });
  return runs;
}

/** Where a row begins, in elements. */
function offsetOf(sizes: readonly number[], strides: readonly number[], row: number): number {
  let offset = 0;
  for (let d = sizes.length - 1; d >= 0; d--) {
    const size = sizes[d] ?? 1;
    offset += (row % size) * (strides[d] ?? 0);
    row = Math.floor(row / size);
  }
  return offset;
}
