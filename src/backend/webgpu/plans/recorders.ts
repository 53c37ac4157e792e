import type { CallKind } from "../../../calls/call.ts";
import { UnsupportedError } from "../../../errors/errors.ts";
import type { RecordCall } from "../recorder/results.ts";
import { recordAttention } from "./attention.ts";
import { recordMerge } from "./merge.ts";
import { recordRows } from "./rows.ts";
import { recordScores } from "./scores.ts";

function noKernels(): never {
  throw new UnsupportedError("this operation has no GPU kernels: dispatch sends it to the CPU");
}

/** How each kind of call is recorded. */
export const RECORDERS = {
  rows: recordRows,
  attention: recordAttention,
  scores: recordScores,
  merge: recordMerge,
  // Dispatch keeps these on the CPU.
  sampling: noKernels,
  product: noKernels,
  rotary: noKernels,
} as const satisfies Record<CallKind, RecordCall>;
