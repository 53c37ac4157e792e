import type { Context, EngineContext } from "../contenders/context.ts";
import type { Suite } from "../measure/contender.ts";
import { attentionSuite, decodeSuite, optionsSuite } from "./attention.ts";
import { engineSuites } from "./engine.ts";
import { linearSuite } from "./linear.ts";
import { logRowsSuite, smallCallSuite, softmaxSuite } from "./rows.ts";
import { samplingSuite } from "./sampling.ts";
import { smallThreadsSuite, threadsSuite } from "./threads.ts";

/** Every suite, in the order of the report; those of the engine alone where that is all there is. */
export function allSuites(context: Context | EngineContext): readonly Suite[] {
  if (!("machine" in context)) return engineSuites(context);
  const suites = [
    softmaxSuite,
    logRowsSuite,
    smallCallSuite,
    samplingSuite,
    attentionSuite,
    decodeSuite,
    optionsSuite,
    linearSuite,
    threadsSuite,
    smallThreadsSuite,
  ];
  return [...suites.map((suite) => suite(context)), ...engineSuites(context)];
}
