import { MODEL_PRODUCTS } from "../../test/cases/shapes.ts";
import type { Context } from "../contenders/context.ts";
import { plainJavascript } from "../contenders/javascript.ts";
import { MULTIPLY_ADD, multiplyAddLimits, readLimit } from "../contenders/limits.ts";
import { onEachBinary } from "../contenders/onepass.ts";
import { byPeers } from "../contenders/peers.ts";
import type { Suite } from "../measure/contender.ts";
import { amountOf } from "../measure/problem.ts";

/** Linear layers: many rows are limited by arithmetic, one row by reading the weight. */
export function linearSuite(context: Context): Suite {
  const { instances, peers, quick } = context;
  return {
    id: "linear",
    title: "Linear layers",
    about:
      "f32, one thread, rows × inputs × outputs, two operations per multiply-add. Peak: independent multiply-adds in registers, fused for relaxed SIMD, mul and add for baseline. For one row the limit is reading the weight: a v128 sum over as many bytes.",
    unit: "GFLOP/s",
    compares: "rate",
    peak: MULTIPLY_ADD,
    cases: MODEL_PRODUCTS.slice(quick ? 1 : 0, quick ? 4 : undefined).map((shape) => {
      const { rows, cols, depth } = shape.call;
      const flops = amountOf(shape.call);
      return {
        ...shape,
        contenders: () => [
          ...onEachBinary(instances, "linear"),
          plainJavascript(shape.call, quick),
          ...byPeers(peers, shape.call),
          ...(rows === 1 ? [{ ...readLimit(context, 4 * cols * depth), amount: flops }] : []),
          ...multiplyAddLimits(context, flops),
        ],
      };
    }),
  };
}
