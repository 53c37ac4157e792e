import type { ScoresCall } from "../../../calls/scores-call.ts";
import type { AttentionCall, Sequence } from "../../../calls/attention-call.ts";
import { contiguousStrides, elementCount } from "../../../tensor/shape.ts";
import { AttentionOperands, type Operand, type Part, allBound, cutParts, gridOf, mostRows } from "./attention-operands.ts";
import { recordAttention } from "./attention.ts";
import { SCORE_KEYS, SCORE_ROWS, SCORES_UNIFORMS, STAGES, scoresProgram } from "../kernels/scores.ts";
import { SEQUENCE_WORDS, pushSequence } from "../kernels/score-modifiers.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";
import { storageOf } from "../device/traits.ts";

/**
 * Records attentionScores. `out` takes the scores [B, Hq, L, S], row-major. Probabilities are exp(score − log-sum-exp), with the
 * log-sum-exps that attention computes, sinks included.
 *
 * @throws TooLargeError if the keys of one head, or a block of its rows, are too large for this GPU; nothing is recorded then
 */
export function recordAttentionScores(recorder: Recorder, call: ScoresCall, out: Slice): void {
  const { keyLength, heads, group, sequences, stage } = { ...call, group: call.heads / call.kvHeads };
  // Raw and softcapped scores are those of all keys, so that all of them are uploaded.
  const whole = sequences.map((s): Sequence => ({ ...s, keyLength }));
  const operands = new AttentionOperands(recorder, { ...call, sequences: whole, valueDim: 0 });
  const length = sequences[0]?.rows ?? 0;
  const [batch = 0, head = 0, row = 0] = contiguousStrides([sequences.length, heads, length, keyLength]);
  const target: Operand = { slice: out, bytesPerElement: 4, batch, head, row, last: 1 };
  const wantsLse = stage === "probabilities";
  const lse: Operand = {
    slice: wantsLse ? recorder.scratch(sequences.length * heads * length * 4) : recorder.nothing(),
    bytesPerElement: 4,
    batch: heads * length,
    head: length,
    row: 1,
    last: 1,
  };
  const parts =
    elementCount([sequences.length, heads, length, keyLength]) === 0 ? [] : cutParts({ sequences: whole, firstHead: 0, heads }, 1, () => false, bind);
  if (parts.length === 0) return;
  if (wantsLse) recordLse(recorder, call, lse.slice);

  function bind(part: Part) {
    const bound = operands.bind(part);
    const end = part.firstHead + part.heads;
    const results = (operand: Operand, width: number) =>
      operands.bindOne(operand, part.sequences, ({ queryStart, rows }) => ({ start: queryStart, rows, width }), part.firstHead, end);
    return bound && allBound({ ...bound, out: results(target, keyLength), lse: wantsLse ? results(lse, 1) : operands.absent() });
  }

  const { tables } = operands;
  const runs = parts.map(({ part, bound }) => {
    const sequencesAt = tables.length;
    for (const s of part.sequences) {
      const at = (operand: Operand, base: number): number => base + s.batch * operand.batch + s.queryStart * operand.row;
      const results = { out: at(target, bound.out.base), lse: wantsLse ? at(lse, bound.lse.base) : 0, chunk: 0 };
      // The keys in use, of all that were bound.
      const keys = sequences[s.batch]?.keyLength ?? keyLength;
      pushSequence(tables, { ...operands.record({ ...s, keyLength: keys }, bound), ...results });
    }
    const keyBlocks = Math.ceil(keyLength / SCORE_KEYS);
    const rowBlocks = Math.ceil(mostRows(part) / SCORE_ROWS);
    const workgroups = keyBlocks * rowBlocks * part.heads * part.sequences.length;
    const grid = gridOf(workgroups, recorder);
    const { sinksAt: _, ...uniforms } = operands.uniforms();
    const packed = SCORES_UNIFORMS.pack({
      ...uniforms,
      group,
      outHead: target.head,
      keys: keyLength,
      lseHead: lse.head,
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
    const { q, k, bias, mask } = bound;
    return (words: Slice) =>
      recorder.run(
        scoresProgram(storageOf(call.dtype, recorder.traits)),
        packed,
        [q.slice, k.slice, bias.slice, mask.slice, words, bound.lse.slice, bound.out.slice],
        grid,
      );
  });
  const words = tables.upload(recorder);
  for (const run of runs) run(words);
}

/** The log-sum-exps of all rows: attention to values without columns. */
function recordLse(recorder: Recorder, call: ScoresCall, lse: Slice): void {
  const { sequences, heads } = call;
  const length = sequences[0]?.rows ?? 0;
  const shape = [sequences.length, heads, length];
  const [batch = 0, head = 0, row = 0] = contiguousStrides(shape);
  const attention: AttentionCall = {
    ...call,
    valueDim: 0,
    result: { shape: [...shape, 0], layout: "bhld", out: undefined, lse: { shape, batch, head, row } },
  };
  recordAttention(recorder, attention, recorder.scratch(4), lse);
}
