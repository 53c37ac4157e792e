import type { MergeCall } from "../../../calls/merge-call.ts";
import { TooLargeError } from "../../../errors/errors.ts";
import { inBhld } from "../../../calls/head-layout.ts";
import type { FloatView } from "../../../calls/arguments.ts";
import { contiguousStrides, elementCount, extentOf } from "../../../tensor/shape.ts";
import { DeviceArray } from "../../../tensor/tensor.ts";
import { type Binding, allBound, bindSpan, gridOf } from "./attention-operands.ts";
import { MERGED_ELEMENTS, MERGE_PAIR, PAIR_UNIFORMS } from "../kernels/merge.ts";
import { pack } from "./pack.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";

/** A tensor of a state, rows by batch, head and length: strides in elements. */
interface Rows {
  readonly slice: Slice;
  readonly strides: Triple;
  /** Elements of a row: the columns of an output, 1 of a log-sum-exp. */
  readonly width: number;
}

/** A state of every row. */
interface State {
  readonly out: Rows;
  readonly lse: Rows;
}

/** Something along batch, head and length. */
type Triple = readonly [batch: number, head: number, length: number];

/** The rows of a dispatch: from `first`, `count` along each dimension. */
interface Box {
  readonly first: Triple;
  readonly count: Triple;
}

const NAMES = ["outA", "lseA", "outB", "lseB", "out", "lse"] as const;
type Bound = Record<(typeof NAMES)[number], Binding>;

/**
 * Records mergeStates: left to right, two states at a time. `out` and `lse` take the results, row-major.
 *
 * @throws TooLargeError if one row is too large for this GPU; nothing is recorded then
 */
export function recordMergeStates(recorder: Recorder, call: MergeCall, out: Slice, lse: Slice): void {
  const { parts, shape, lseShape } = call;
  const states = parts.map((part): State => ({ out: rowsOf(recorder, call, part.out, shape), lse: rowsOf(recorder, call, part.lse, lseShape) }));
  const contiguous = (o: Slice, l: Slice): State => ({
    out: { slice: o, strides: triple(call, contiguousStrides(shape), true), width: shape.at(-1) ?? 0 },
    lse: { slice: l, strides: triple(call, contiguousStrides(lseShape), false), width: 1 },
  });
  const scratch = (): State => contiguous(recorder.scratch(elementCount(shape) * 4), recorder.scratch(elementCount(lseShape) * 4));
  const [first, ...others] = states as [State, ...State[]];
  let merged = first;
  // Intermediate results take turns in two places, since a dispatch cannot read what it writes.
  const places: State[] = [];
  const steps = others.length === 0 ? [undefined] : others;
  steps.forEach((state, i) => {
    const target = i === steps.length - 1 ? contiguous(out, lse) : (places[i % 2] ??= scratch());
    recordPair(recorder, call, merged, state, target);
    merged = target;
  });
}

/** One merge, in as many dispatches as bindings allow. Without `b`, `a` is only cleaned: rows that see nothing become 0. */
function recordPair(recorder: Recorder, call: MergeCall, a: State, b: State | undefined, target: State): void {
  const [batch, heads, length] = sizesOf(call);
  const columns = target.out.width;
  for (const { box, bound } of cutBoxes(recorder, { first: [0, 0, 0], count: [batch, heads, length] }, a, b ?? a, target)) {
    const elements = box.count[0] * box.count[1] * box.count[2] * Math.max(1, columns);
    const grid = gridOf(Math.ceil(elements / MERGED_ELEMENTS), recorder);
    const at = ({ strides }: Rows, { base }: Binding): number[] => [base + dot(box.first, strides), ...strides].map((n) => n >>> 0);
    recorder.run(
      MERGE_PAIR,
      PAIR_UNIFORMS.pack({
        columns,
        heads: box.count[1],
        length: box.count[2],
        elements,
        gridX: grid[0],
        pair: b === undefined ? 0 : 1,
        outs: [...at(a.out, bound.outA), ...at((b ?? a).out, bound.outB), ...at(target.out, bound.out)],
        lses: [...at(a.lse, bound.lseA), ...at((b ?? a).lse, bound.lseB), ...at(target.lse, bound.lse)],
      }),
      NAMES.map((name) => bound[name].slice),
      grid,
    );
  }
}

/** Cuts rows into boxes that can be bound: along batch, then heads, then length. */
function cutBoxes(recorder: Recorder, box: Box, a: State, b: State, target: State): { readonly box: Box; readonly bound: Bound }[] {
  if (box.count.includes(0)) return [];
  const bind = ({ slice, strides, width }: Rows): Binding | undefined => {
    const from = dot(box.first, strides);
    const last = dot([box.count[0] - 1, box.count[1] - 1, box.count[2] - 1], strides);
    return bindSpan(recorder, slice, 4, { from, to: from + last + width });
  };
  const bound = allBound({ outA: bind(a.out), lseA: bind(a.lse), outB: bind(b.out), lseB: bind(b.lse), out: bind(target.out), lse: bind(target.lse) });
  // Rows are counted in 32 bits.
  const elements = box.count[0] * box.count[1] * box.count[2] * Math.max(1, target.out.width);
  if (bound !== undefined && elements < 2 ** 32) return [{ box, bound }];
  const along = ([0, 1, 2] as const).find((d) => box.count[d] > 1);
  if (along === undefined) throw new TooLargeError("one row of a state is larger than what this GPU can bind at once (its maxStorageBufferBindingSize)");
  const half = Math.ceil(box.count[along] / 2);
  const halves: Box[] = [
    { first: box.first, count: replaced(box.count, along, half) },
    { first: replaced(box.first, along, box.first[along] + half), count: replaced(box.count, along, box.count[along] - half) },
  ];
  return halves.flatMap((part) => cutBoxes(recorder, part, a, b, target));
}

function replaced(values: Triple, at: 0 | 1 | 2, value: number): Triple {
  return values.map((v, i) => (i === at ? value : v)) as unknown as Triple;
}

function dot(a: Triple, b: Triple): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/** Batch, heads and length of a call's outputs. */
function sizesOf({ lseShape }: MergeCall): Triple {
  return [1, 1, 1, ...lseShape].slice(-3) as unknown as Triple;
}

/** Strides along batch, head and length, of an output (whose layout decides their order, and which has columns) or a log-sum-exp. */
function triple({ layout }: MergeCall, strides: readonly number[], isOut: boolean): Triple {
  const [batch, head, row] = isOut ? inBhld(strides, layout, 0) : inBhld([...strides, 0], "bhld", 0);
  return [batch, head, row];
}

/** A tensor of a state on the GPU; rows whose elements are no neighbours are packed first. */
function rowsOf(recorder: Recorder, call: MergeCall, view: FloatView, shape: readonly number[]): Rows {
  const isOut = shape === call.shape;
  const width = isOut ? (shape.at(-1) ?? 0) : 1;
  const { data } = view;
  if (data instanceof DeviceArray) return { slice: recorder.input(data), strides: triple(call, view.strides, isOut), width };
  if (isOut && view.strides.at(-1) !== 1 && width > 1) {
    return { slice: recorder.input(pack(data, shape, view.strides)), strides: triple(call, contiguousStrides(shape), isOut), width };
  }
  return { slice: recorder.input(data, extentOf(shape, view.strides)), strides: triple(call, view.strides, isOut), width };
}
