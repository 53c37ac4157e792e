import type { AttentionCall, Sequence } from "../../../calls/attention-call.ts";
import type { ScoresCall } from "../../../calls/scores-call.ts";
import { contiguousStrides, elementCount } from "../../../tensor/shape.ts";
import { storageOf } from "../device/traits.ts";
import { SEQUENCE_WORDS, pushSequence } from "../kernels/score-modifiers.ts";
import { SCORE_KEYS, SCORE_ROWS, SCORES_UNIFORMS, STAGES, scoresProgram } from "../kernels/scores.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";
import { AttentionOperands, type RowSlice, allBound, rowExtent, startOf } from "./attention-operands.ts";
import { recordAttention } from "./attention.ts";
import { type Part, cutParts, gridOf, mostRows } from "./parts.ts";

/**
 * Records attentionScores. `out` receives the scores [B, Hq, L, S], row-major. Probabilities are exp(score − log-sum-exp), with the
 * log-sum-exps that attention computes, sinks included.
 *
 * @throws TooLargeError if the keys of one head, or a block of its rows, are too large for this GPU; nothing is recorded then
 */
export function recordScores(recorder: Recorder, call: ScoresCall, slices: { readonly out: Slice }): void {
  const { keyLength, heads, sequences, stage } = call;
  // Raw and softcapped scores cover all keys, so all keys are uploaded.
  const whole = sequences.map((s): Sequence => ({ ...s, keyLength }));
  const operands = new AttentionOperands(recorder, { ...call, sequences: whole });
  const length = sequences[0]?.rows ?? 0;
  const rowsOf = (slice: Slice, width: number): RowSlice => {
    const [batch = 0, head = 0, row = 0] = contiguousStrides([sequences.length, heads, length, width]);
    return { slice, bytesPerElement: 4, batch, head, row, last: 1, group: 1, extent: rowExtent(width) };
  };
  const out = rowsOf(slices.out, keyLength);
  const lse = stage === "probabilities" ? rowsOf(recorder.scratch(sequences.length * heads * length * 4), 1) : undefined;
  const bind = (part: Part) => {
    const bound = operands.bind(part);
    return bound && allBound({ ...bound, out: operands.bindOne(out, part), lse: operands.bindOne(lse, part) });
  };
  const isEmpty = elementCount([sequences.length, heads, length, keyLength]) === 0;
  const parts = isEmpty ? [] : cutParts({ sequences: whole, firstHead: 0, heads }, 1, () => false, bind);
  if (parts.length === 0) return;
  if (lse !== undefined) recordLse(recorder, call, lse.slice);

  const { tables } = operands;
  const runs = parts.map(({ part, bound }) => {
    const sequencesAt = tables.length;
    for (const s of part.sequences) {
      // How many of the bound keys are in use.
      const keys = sequences[s.batch]?.keyLength ?? keyLength;
      pushSequence(tables, {
        ...operands.record({ ...s, keyLength: keys }, bound),
        out: startOf(out, bound.out, s),
        lse: startOf(lse, bound.lse, s),
        chunk: 0,
      });
    }
    const keyBlocks = Math.ceil(keyLength / SCORE_KEYS);
    const rowBlocks = Math.ceil(mostRows(part) / SCORE_ROWS);
    const workgroups = keyBlocks * rowBlocks * part.heads * part.sequences.length;
    const grid = gridOf(workgroups, recorder);
    const { sinksAt: _, ...uniforms } = operands.uniforms();
    const packed = SCORES_UNIFORMS.pack({
      ...uniforms,
      outHead: out.head,
      keys: keyLength,
      lseHead: lse?.head ?? 0,
      stage: STAGES.indexOf(stage),
      keyBlocks,
      rowBlocks,
      firstHead: part.firstHead,
      heads: part.heads,
      sequencesAt,
      sequenceWords: SEQUENCE_WORDS,
      gridX: grid[0],
      workgroups,
    });
    const program = scoresProgram(storageOf(call.operands.q.data.dtype, recorder.traits));
    const { q, k, bias, mask } = bound;
    return (words: Slice) => recorder.run(program, packed, [q.slice, k.slice, bias.slice, mask.slice, words, bound.lse.slice, bound.out.slice], grid);
  });
  const words = tables.upload(recorder);
  for (const run of runs) run(words);
}

/** Records the log-sum-exps of all rows, as attention with values that have no columns. */
function recordLse(recorder: Recorder, call: ScoresCall, lse: Slice): void {
  const { sequences, heads, operands } = call;
  const shape = [sequences.length, heads, sequences[0]?.rows ?? 0];
  const [batch = 0, head = 0, row = 0] = contiguousStrides(shape);
  const result = (of: readonly number[]) => ({ shape: of, dtype: "f32", out: undefined }) as const;
  const attention: AttentionCall = {
    ...call,
    kind: "attention",
    op: "attention",
    operands: { ...operands, v: operands.k },
    layout: "bhld",
    lseStrides: { batch, head, row },
    results: { out: result([...shape, 0]), lse: result(shape) },
  };
  recordAttention(recorder, attention, { out: recorder.scratch(4), lse });
}
