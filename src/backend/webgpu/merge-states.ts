import type { MergeCall } from "../../merge-states.ts";
import type { Recorder, Slice } from "./recorder.ts";
export function recordMerge(_r: Recorder, _c: MergeCall, _o: Slice, _l: Slice): void {
  throw new Error("not yet");
}
