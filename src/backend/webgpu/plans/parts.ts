import type { Sequence } from "../../../calls/attention-call.ts";
import { TooLargeError } from "../../../errors/errors.ts";
import { TILE } from "../kernels/score-modifiers.ts";
import type { Recorder } from "../recorder/recorder.ts";

/** The sequences and heads of a call that one dispatch computes. */
export interface Part {
  readonly sequences: readonly Sequence[];
  readonly firstHead: number;
  readonly heads: number;
}

/**
 * Splits a call until every part can be bound and, as long as it can be split, is not too much at once (`isMuch`): sequences first, then
 * heads, then rows. Nothing is recorded until everything is planned, so a call that cannot run leaves nothing behind.
 */
export function cutParts<B>(
  whole: Part,
  granularity: number,
  isMuch: (part: Part) => boolean,
  bind: (part: Part) => B | undefined,
): { readonly part: Part; readonly bound: B }[] {
  if (whole.sequences.length === 0 || whole.heads === 0) return [];
  const halves = halvesOf(whole, granularity);
  const bound = halves !== undefined && isMuch(whole) ? undefined : bind(whole);
  if (bound !== undefined) return [{ part: whole, bound }];
  if (halves === undefined)
    throw new TooLargeError(`the keys of one head, or ${TILE} of its rows, are more than this GPU can bind at once (its maxStorageBufferBindingSize)`);
  return halves.flatMap((half) => cutParts(half, granularity, isMuch, bind));
}

/** Two non-empty halves of a part, or `undefined` if it cannot be split further. */
function halvesOf(whole: Part, granularity: number): readonly Part[] | undefined {
  const { sequences, firstHead, heads } = whole;
  const [first] = sequences;
  if (first === undefined) return undefined;
  if (sequences.length > 1) {
    const half = Math.ceil(sequences.length / 2);
    return [sequences.slice(0, half), sequences.slice(half)].map((some) => ({ ...whole, sequences: some }));
  }
  if (heads > granularity) {
    const half = Math.ceil(heads / granularity / 2) * granularity;
    return [
      { ...whole, heads: half },
      { ...whole, firstHead: firstHead + half, heads: heads - half },
    ];
  }
  if (first.rows <= TILE) return undefined;
  // At the border of a block, which is also the border of a block mask's tile, so that no bit changes.
  const half = Math.ceil(first.rows / TILE / 2) * TILE;
  return [someRows(first, 0, half), someRows(first, half, first.rows - half)].map((some) => ({ ...whole, sequences: [some] }));
}

/** Some rows of a sequence, as a sequence of their own. */
function someRows(s: Sequence, from: number, rows: number): Sequence {
  const queryLength = Math.max(0, Math.min(rows, s.queryLength - from));
  return { ...s, queryStart: s.queryStart + from, rows, queryLength, offset: s.offset + from };
}

/** The number of rows in a part's longest sequence. */
export function mostRows({ sequences }: Part): number {
  return sequences.reduce((most, { rows }) => Math.max(most, rows), 0);
}

/** A grid of `count` workgroups: along x, and also along y if x is too narrow. */
export function gridOf(count: number, { traits }: Pick<Recorder, "traits">): readonly [number, number, number] {
  const most = traits.workgroupsPerDimension;
  const x = Math.min(count, most);
  const y = x === 0 ? 0 : Math.ceil(count / x);
  if (y > most) throw new TooLargeError(`${count} workgroups are needed, but this GPU allows ${most} along each of two dimensions`);
  return [x, y, 1];
}
