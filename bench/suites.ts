import { attentionSuite, decodeSuite, modifiersSuite } from "./cases/attention.ts";
import { attentionOnEngines, decodeOnEngines, softmaxOnEngines } from "./cases/engine.ts";
import { logRowsSuite } from "./cases/log-rows.ts";
import { smallCallSuite } from "./cases/small-call.ts";
import { softmaxSuite } from "./cases/softmax.ts";
import { smallThreadsSuite, threadsSuite } from "./cases/threads.ts";
import type { Context, EngineContext } from "./context.ts";
import type { Suite } from "./contender.ts";

/** Every suite, in the order of the report. A new operation is one more file in cases/ and one more line here. */
export function allSuites(context: Context, engineContext: EngineContext): readonly Suite[] {
  return [
    softmaxSuite(context),
    logRowsSuite(context),
    smallCallSuite(context),
    attentionSuite(context),
    decodeSuite(context),
    modifiersSuite(context),
    threadsSuite(engineContext),
    smallThreadsSuite(engineContext),
    ...engineSuites(engineContext),
  ];
}

/** The suites that need nothing but the package's sources, and a GPU if there is one. */
export function engineSuites(context: EngineContext): readonly Suite[] {
  return [softmaxOnEngines(context), attentionOnEngines(context), decodeOnEngines(context)];
}
