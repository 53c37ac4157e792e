import type { ScoresCall } from "../../attention-scores.ts";
import type { Recorder, Slice } from "./recorder.ts";
export function recordScores(_r: Recorder, _c: ScoresCall, _o: Slice): void {
  throw new Error("not yet");
}
