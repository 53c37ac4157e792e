import type { CallKind } from "../../../calls/call.ts";
import { UnsupportedError } from "../../../errors/errors.ts";
import type { RecordCall } from "../recorder/results.ts";
import { recordAttention } from "./attention.ts";
import { recordMerge } from "./merge.ts";
import { recordRows } from "./rows.ts";
import { recordScores } from "./scores.ts";

/** How each kind of call is recorded. */
export const RECORDERS = {
  rows: recordRows,
  attention: recordAttention,
  scores: recordScores,
  merge: recordMerge,
  // Dispatch keeps these on the CPU.
  rotary: (): never => {
    throw new UnsupportedError("rotary embedding has no GPU kernel yet");
  },
} as const satisfies Record<CallKind, RecordCall>;
