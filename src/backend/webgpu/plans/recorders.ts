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
  sampling: () => {
    throw new UnsupportedError("sampling has no GPU kernels: dispatch sends it to the CPU");
  },
  product: () => {
    throw new UnsupportedError("matrix products have no GPU kernels: dispatch sends them to the CPU");
  },
} as const satisfies Record<CallKind, RecordCall>;
