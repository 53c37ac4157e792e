import { attentionSuite, decodeSuite, modifiersSuite } from "./cases/attention.ts";
import { logRowsSuite } from "./cases/log-rows.ts";
import { smallCallSuite } from "./cases/small-call.ts";
import { softmaxSuite } from "./cases/softmax.ts";
import type { Context } from "./context.ts";
import type { Suite } from "./contender.ts";

/** Every suite, in the order of the report. A new operation is one more file in cases/ and one more line here. */
export function allSuites(context: Context): readonly Suite[] {
  return [softmaxSuite(context), logRowsSuite(context), smallCallSuite(context), attentionSuite(context), decodeSuite(context), modifiersSuite(context)];
}
