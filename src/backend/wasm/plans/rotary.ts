import { headStrides } from "../../../calls/attention-call.ts";
import type { RotaryCall } from "../../../calls/rotary-call.ts";
import { ATTENTION } from "../module/attention-family.ts";
import { BlockRows } from "./operand-rows.ts";
import { Layout, type Planner, type Stage } from "./plan.ts";
import { workPerTask } from "./schedule.ts";

/** Time to turn a number, in nanoseconds. */
const TURN_NS = 0.5;

/** Plans rotary embedding: as many rows of all heads as fit are copied in, turned and copied out. */
export const planRotary: Planner<RotaryCall> = (call, { out }, { memory, threads, divides, stageBytes, tuning }) => {
  if (out === undefined) throw new Error("rotary embedding has a result");
  const { operands, sizes, rotaryDim, interleaved, angles } = call;
  const { batch, heads, length, dim } = sizes;
  const { x } = operands;
  const from = new BlockRows(memory, x.data, x, x.dim);
  const along = headStrides(out.strides, call.layout);
  const to = new BlockRows(memory, out.data, along, along.dim);
  const rows = Math.max(1, Math.min(length, Math.floor(stageBytes / ((heads * dim + rotaryDim) * 4))));
  const layout = new Layout();
  const xAt = layout.take(heads * rows * dim * 4);
  const tableAt = layout.take(rows * rotaryDim * 4);

  const stages = (base: number): (() => Stage | undefined) => {
    let row = 0;
    return () => {
      if (row >= batch * length) return undefined;
      const [b, query] = [Math.floor(row / length), row % length];
      const queries = Math.min(rows, length - query);
      const box = { sequence: { batch: b, queryStart: 0 }, head: 0, heads, query, queries };
      const first = (angles.length === length * rotaryDim ? query : row) * rotaryDim;
      row += queries;
      const least = divides ? workPerTask(heads * queries * dim * TURN_NS, threads, tuning) / (queries * dim * TURN_NS) : heads;
      const step = Math.max(1, Math.ceil(least));
      return {
        tables: [{ address: base + tableAt, words: new Int32Array(angles.buffer, first * 4, queries * rotaryDim) }],
        in: [from.copyIn(box, base + xAt, dim, 0)],
        tasks: Array.from({ length: Math.ceil(heads / step) }, (_, t) => ({
          calls: [
            {
              kernel: "rotary_f32" as const,
              args: [
                base + xAt + t * step * queries * dim * 4,
                Math.min(step, heads - t * step),
                queries,
                dim,
                rotaryDim / 2,
                interleaved ? 1 : 0,
                base + tableAt,
              ],
              relative: 0,
            },
          ],
        })),
        out: [to.copyOut(box, base + xAt, dim, 0)],
      };
    };
  };
  return { families: [ATTENTION], stageBytes: layout.bytes, threadBytes: 0, stages };
};
