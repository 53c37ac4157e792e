import { headStrides } from "../../../calls/attention-call.ts";
import { inBhld, sizesOf } from "../../../calls/head-layout.ts";
import { type MergeCall, statesOf } from "../../../calls/merge-call.ts";
import type { ArrayHandle } from "../../../tensor/array.ts";
import { ATTENTION } from "../module/attention-family.ts";
import type { RowBox } from "./attention-blocks.ts";
import { BlockRows } from "./operand-rows.ts";
import { type KernelCall, Layout, type Planner, type Stage } from "./plan.ts";
import { joinTasks, workPerTask } from "./schedule.ts";

/** Time to merge one element of one state, in nanoseconds. */
const MERGE_NS = 1.5;

interface Strided {
  readonly data: ArrayHandle;
  readonly strides: readonly number[];
}

/** Plans merging states: rows are independent, and each merges left to right. */
export const planMerge: Planner<MergeCall> = (call, { out, lse }, { memory, threads, divides, stageBytes, tuning }) => {
  if (out === undefined || lse === undefined) throw new Error("merging has two results");
  const { batch, heads, length, dim } = sizesOf(call.results.out.shape, call.layout);
  const outRows = ({ data, strides }: Strided) => {
    const along = headStrides(strides, call.layout);
    return { rows: new BlockRows(memory, data, along, along.dim), width: dim };
  };
  const lseRows = ({ data, strides }: Strided) => {
    const [b, h, row] = inBhld([...strides, 1], "bhld", 0);
    return { rows: new BlockRows(memory, data, { batch: b, head: h, row }, 1), width: 1 };
  };
  const results = [outRows(out), lseRows(lse)];
  const states = statesOf(call).map((state) => [outRows(state.out), lseRows(state.lse)]);
  const arrays = [results, ...states].flat();

  // As many rows of a head as fit, then as many heads.
  const bytes = arrays.reduce((sum, { rows, width }) => sum + rows.roomFor([{ heads: 1, queries: 1 }], width), 0);
  const fitting = Math.max(1, Math.floor(Math.min(stageBytes / Math.max(bytes, 1), heads * length)));
  const size = { heads: Math.max(1, Math.floor(fitting / length)), queries: Math.min(length, fitting) };
  const layout = new Layout();
  const places = new Map(arrays.map((array) => [array, layout.take(array.rows.roomFor([size], array.width))]));

  const stages = (base: number): (() => Stage | undefined) => {
    const boxes = boxesOf(batch, heads, length, size);
    const placeOf = (array: (typeof arrays)[number]): number => base + (places.get(array) ?? 0);
    return () => {
      const box = boxes.next().value;
      if (box === undefined) return undefined;
      const rowsOf = (state: typeof results) => state.map((array) => array.rows.places(box, placeOf(array), array.width, 0));
      const [total, parts] = [rowsOf(results), states.map(rowsOf)];
      const callsOf = (h: number): KernelCall[] =>
        parts.map((part, p) => ({
          kernel: "merge_states_f32",
          args: [...[...total, ...part].flatMap(({ first, head, query }) => [first + h * head, query]), box.queries, dim, p === 0 ? 1 : 0],
          relative: 0,
        }));
      const costs = new Array<number>(box.heads).fill(box.queries * dim * states.length * MERGE_NS);
      const least = !divides ? Infinity : workPerTask(costs.length * (costs[0] ?? 0), threads, tuning);
      return {
        tables: [],
        in: states.flat().flatMap((array) => (array.rows.inPlace ? [] : [array.rows.copyIn(box, placeOf(array), array.width, 0)])),
        tasks: joinTasks(costs, least).map(({ from, to }) => ({ calls: Array.from({ length: to - from }, (_, i) => callsOf(from + i)).flat() })),
        out: results.flatMap((array) => (array.rows.inPlace ? [] : [array.rows.copyOut(box, placeOf(array), array.width, 0)])),
      };
    };
  };
  return { families: [ATTENTION], stageBytes: layout.bytes, threadBytes: 0, stages };
};

/** Boxes of at most `size` that cover all rows. */
function* boxesOf(batch: number, heads: number, length: number, size: Pick<RowBox, "heads" | "queries">): Generator<RowBox, undefined> {
  for (let b = 0; b < batch; b++) {
    const sequence = { batch: b, queryStart: 0 };
    for (let head = 0; head < heads; head += size.heads) {
      for (let query = 0; query < length; query += size.queries) {
        yield { sequence, head, heads: Math.min(size.heads, heads - head), query, queries: Math.min(size.queries, length - query) };
      }
    }
  }
}
