import { inBhld } from "../../../calls/head-layout.ts";
import { type MergeCall, statesOf } from "../../../calls/merge-call.ts";
import { TooLargeError } from "../../../errors/errors.ts";
import { contiguousStrides, elementCount } from "../../../tensor/shape.ts";
import type { View } from "../../../tensor/tensor.ts";
import { MERGED_ELEMENTS, MERGE_PAIR, PAIR_UNIFORMS } from "../kernels/merge.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";
import { type Binding, allBound, bindSpan } from "./attention-operands.ts";
import { pack } from "./pack.ts";
import { gridOf } from "./parts.ts";

/** One tensor of a state, with rows by batch, head and length. Strides are in elements. */
interface Rows {
  readonly slice: Slice;
  readonly strides: Triple;
  /** Elements of a row: the columns of an output, or 1 for a log-sum-exp. */
  readonly width: number;
}

/** A state for every row. */
interface State {
  readonly out: Rows;
  readonly lse: Rows;
}

/** One number each for batch, head and length. */
type Triple = readonly [batch: number, head: number, length: number];

/** The rows of a dispatch: `count` along each dimension, starting at `first`. */
interface Box {
  readonly first: Triple;
  readonly count: Triple;
}

const NAMES = ["outA", "lseA", "outB", "lseB", "out", "lse"] as const;
type Bound = Record<(typeof NAMES)[number], Binding>;

/**
 * Records mergeStates: left to right, two states at a time. `out` and `lse` receive the results, row-major.
 *
 * @throws TooLargeError if one row is too large for this GPU; nothing is recorded then
 */
export function recordMerge(recorder: Recorder, call: MergeCall, slices: { readonly out: Slice; readonly lse: Slice }): void {
  const { out, lse } = call.results;
  const [outStrides, lseStrides] = [contiguousStrides(out.shape), contiguousStrides(lse.shape)];
  const columns = out.shape.at(-1) ?? 0;
  const states = statesOf(call).map((state): State => {
    // Rows with gaps are packed first.
    const { data, strides } = state.out;
    const packs = data.place !== "gpu" && columns > 1 && strides.at(-1) !== 1;
    const packed: View = packs ? { ...state.out, data: pack(data, out.shape, strides), strides: outStrides } : state.out;
    return stateOf(call, recorder.input(packed.data), recorder.input(state.lse.data), packed.strides, state.lse.strides);
  });
  const gapless = (o: Slice, l: Slice): State => stateOf(call, o, l, outStrides, lseStrides);
  const scratch = (): State => gapless(recorder.scratch(elementCount(out.shape) * 4), recorder.scratch(elementCount(lse.shape) * 4));
  const [first, ...others] = states as [State, ...State[]];
  let merged = first;
  // Intermediate results alternate between two places, since a dispatch cannot read what it writes.
  const places: State[] = [];
  const steps = others.length === 0 ? [undefined] : others;
  steps.forEach((state, i) => {
    const target = i === steps.length - 1 ? gapless(slices.out, slices.lse) : (places[i % 2] ??= scratch());
    recordPair(recorder, call, merged, state, target);
    merged = target;
  });
}

/** A state in two slices. */
function stateOf({ layout, results }: MergeCall, out: Slice, lse: Slice, outStrides: readonly number[], lseStrides: readonly number[]): State {
  const [batch, head, length] = inBhld(outStrides, layout, 0);
  const [lseBatch, lseHead, lseLength] = inBhld([...lseStrides, 0], "bhld", 0);
  return {
    out: { slice: out, strides: [batch, head, length], width: results.out.shape.at(-1) ?? 0 },
    lse: { slice: lse, strides: [lseBatch, lseHead, lseLength], width: 1 },
  };
}

/** Records one merge, in as many dispatches as the binding limit requires. Without `b`, it only cleans `a`: rows that see nothing become 0. */
function recordPair(recorder: Recorder, call: MergeCall, a: State, b: State | undefined, target: State): void {
  const columns = target.out.width;
  const count = [1, 1, 1, ...call.results.lse.shape].slice(-3) as unknown as Triple;
  for (const { box, bound } of cutBoxes(recorder, { first: [0, 0, 0], count }, a, b ?? a, target)) {
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

/** Splits rows into boxes small enough to bind: along batch, then heads, then length. */
function cutBoxes(recorder: Recorder, box: Box, a: State, b: State, target: State): { readonly box: Box; readonly bound: Bound }[] {
  if (box.count.includes(0)) return [];
  const bind = ({ slice, strides, width }: Rows): Binding | undefined => {
    const from = dot(box.first, strides);
    const last = dot([box.count[0] - 1, box.count[1] - 1, box.count[2] - 1], strides);
    return bindSpan(recorder, slice, 4, { from, to: from + last + width });
  };
  const bound = allBound({ outA: bind(a.out), lseA: bind(a.lse), outB: bind(b.out), lseB: bind(b.lse), out: bind(target.out), lse: bind(target.lse) });
  // Elements are counted in 32 bits.
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
