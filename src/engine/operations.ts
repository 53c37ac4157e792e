import type { MergeCall } from "../calls/merge-call.ts";
import type { AbortSignalLike } from "../errors/signal.ts";
import type { ScoresCall } from "../calls/scores-call.ts";
import { type AttentionCall, hostScoreCall } from "../calls/attention-call.ts";
import { runScoresCall } from "../ops/attention-scores.ts";
import type { Cpu } from "../backend/wasm/drivers/cpu.ts";
import type { Gpu } from "../backend/webgpu/recorder/gpu.ts";
import { type MapCall, mapAttentionCall, mapMergeCall, mapRowCall, mapScoreCall } from "../calls/map-call.ts";
import { mergeOnHost } from "../ops/merge-states.ts";
import type { RowCall } from "../calls/row-call.ts";
import { usedInPlace } from "./side-order.ts";
import { type Work, attentionWork, mergeWork, rowWork, scoresWork } from "../calls/work.ts";
import { copyOutput, holdOutput, ownsOutput } from "./write-output.ts";

/** What an engine does with a checked call. */
export interface Operation<C> {
  readonly workOf: (call: C) => Work;
  readonly map: MapCall<C>;
  readonly onGpu: (gpu: Gpu, call: C, signal: AbortSignalLike | undefined) => unknown;
  readonly onCpu: (cpu: Cpu, call: C, signal: AbortSignalLike | undefined) => unknown;
}

/** Row operations. */
export const ROWS: Operation<RowCall> = {
  workOf: rowWork,
  map: mapRowCall,
  onGpu: (gpu, call, signal) => gpu.rows(call, signal),
  async onCpu(cpu, call, signal) {
    if (call.out === undefined || ownsOutput(cpu.runtime, call.out)) return cpu.rows(call, signal);
    const out = holdOutput(cpu.runtime.memory, call.out);
    return copyOutput(out, await cpu.rows({ ...call, out: undefined }, signal));
  },
};

/** Attention, padded or ragged. */
export const ATTENTION: Operation<AttentionCall> = {
  workOf: attentionWork,
  map: mapAttentionCall,
  onGpu: (gpu, call, signal) => gpu.attention(call, signal),
  async onCpu(cpu, call, signal) {
    const { result } = call;
    if (result.out === undefined || ownsOutput(cpu.runtime, result.out)) return cpu.attention(call, signal);
    const out = holdOutput(cpu.runtime.memory, result.out);
    const computed = await cpu.attention({ ...call, result: { ...result, out: undefined } }, signal);
    return "lse" in computed ? { out: copyOutput(out, computed.out), lse: computed.lse } : copyOutput(out, computed);
  },
};

/** The matrix of scores. */
export const SCORES: Operation<ScoresCall> = {
  workOf: scoresWork,
  map: mapScoreCall,
  onGpu: (gpu, call, signal) => gpu.attentionScores(call, signal),
  onCpu: (cpu, call, signal) => cpu.inTurn(hostScoreCall(call), mapScoreCall, runScoresCall, signal),
};

/** Merging partial results. */
export const MERGE: Operation<MergeCall> = {
  workOf: mergeWork,
  map: mapMergeCall,
  onGpu: (gpu, call, signal) => gpu.mergeStates(call, signal),
  onCpu(cpu, call, signal) {
    // Only what lies in module memory may be what a call before this one writes.
    if (!usedInPlace(cpu.runtime.memory, call, mapMergeCall).reads) return mergeOnHost(call);
    return cpu.inTurn(call, mapMergeCall, (_, c) => mergeOnHost(c), signal);
  },
};
