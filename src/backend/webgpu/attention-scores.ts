import type { AttentionCall, Sequence } from "../../attention-call.ts";
import type { ScoresCall } from "../../attention-scores.ts";
import { contiguousStrides, elementCount } from "../../shape.ts";
import { AttentionOperands, type Operand, type Part, allBound, cutParts, gridOf } from "./attention-operands.ts";
import { recordAttention } from "./attention.ts";
import { SCORE_KEYS, SCORE_ROWS, SCORES_UNIFORMS, STAGES, scoresProgram } from "./kernels/scores.ts";
import { SEQUENCE_WORDS, pushSequence } from "./kernels/score-modifiers.ts";
import type { Recorder, Slice } from "./recorder.ts";
import { storageOf } from "./traits.ts";

/**
 * Records attentionScores. `out` takes the scores [B, Hq, L, S], row-major. Probabilities are exp(score − log-sum-exp), with the
 * log-sum-exps that attention computes, sinks included.
 *
 * @throws BackendError if one head of one batch is too large for this GPU; nothing is recorded then
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
  const parts = elementCount([sequences.length, heads, length, keyLength]) === 0 ? [] : cutParts({ sequences: whole, firstHead: 0, heads }, 1, bind);
  if (parts.length > 0 && wantsLse) recordLse(recorder, call, lse.slice);

  function bind(part: Part) {
    const bound = operands.bind(part);
    const end = part.firstHead + part.heads;
    const outs = operands.bindOne(target, part.sequences, ({ rows }) => ({ start: 0, rows, width: keyLength }), part.firstHead, end);
    const lses = wantsLse ? operands.bindOne(lse, part.sequences, ({ rows }) => ({ start: 0, rows, width: 1 }), part.firstHead, end) : operands.absent();
    const results = bound && allBound({ out: outs, lse: lses });
    return results && { ...bound, ...results };
  }

  for (const { part, bound } of parts) {
    const tables = operands.tables();
    const sequencesAt = tables.length;
    for (const s of part.sequences) {
      const given = sequences[whole.indexOf(s)] ?? s;
      const at = (operand: Operand, base: number): number => base + s.batch * operand.batch;
      const results = { out: at(target, bound.out.base), lse: wantsLse ? at(lse, bound.lse.base) : 0, chunk: 0 };
      pushSequence(tables, { ...operands.record(given, bound), ...results });
    }
    const keyBlocks = Math.ceil(keyLength / SCORE_KEYS);
    const rowBlocks = Math.ceil(length / SCORE_ROWS);
    const workgroups = keyBlocks * rowBlocks * part.heads * part.sequences.length;
    const grid = gridOf(workgroups, recorder);
    const { sinksAt: _, ...uniforms } = operands.uniforms();
    recorder.run(
      scoresProgram(storageOf(call.dtype, recorder.traits)),
      SCORES_UNIFORMS.pack({
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
      }),
      [bound.q.slice, bound.k.slice, bound.bias.slice, bound.mask.slice, recorder.input(Uint32Array.from(tables)), bound.lse.slice, bound.out.slice],
      grid,
    );
  }
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
