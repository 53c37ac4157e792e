// What the programs in apps/ report, and the judgement: the float64 reference of the tests, on the inputs that they say they had.
import assert from "node:assert/strict";
import { attention } from "../reference/attention.ts";
import { softmax } from "../reference/rows.ts";

export const VARIANTS = ["baseline", "relaxed"] as const;
export type Variant = (typeof VARIANTS)[number];

interface Numbers {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

export interface Result {
  readonly softmax: Numbers;
  readonly attention: Numbers;
  readonly lse: Numbers;
}

/** What `compute` of apps/sample.js returns. */
export type Outcome = Result | { readonly error: string };

export type Sample = Readonly<Record<"x" | "q" | "k" | "v", Numbers>>;

// The largest distance from the float64 value that passes. The parity tests are stricter; what goes wrong in a bundle is wrong by far.
const TOLERANCE = { softmax: 1e-6, attention: 4e-6, lse: 1e-5 } as const;

const references = new Map<string, Result>();

/** The reference's results; every program has the same inputs, so this is computed once. */
function referenceOf({ x, q, k, v }: Sample): Result {
  const key = JSON.stringify([x, q, k, v]);
  const known = references.get(key);
  if (known !== undefined) return known;
  const { out, lse } = attention(q, k, v, { causal: true });
  const rows = q.shape.slice(0, -1);
  const result = {
    softmax: { shape: x.shape, values: [...softmax(x, { axes: [x.shape.length - 1] })] },
    attention: { shape: [...rows, ...v.shape.slice(-1)], values: [...out] },
    lse: { shape: rows, values: [...lse] },
  };
  references.set(key, result);
  return result;
}

/** Throws unless softmax, attention and log-sum-exp are there and right. */
export function assertRight(name: string, outcome: Outcome | undefined, sample: Sample): asserts outcome is Result {
  assert.ok(outcome !== undefined, `${name}: not reported`);
  if ("error" in outcome) assert.fail(`${name}: ${outcome.error}`);
  const reference = referenceOf(sample);
  for (const key of ["softmax", "attention", "lse"] as const) {
    const { shape, values }: Numbers = outcome[key];
    assert.deepEqual(shape, reference[key].shape, `${name}: shape of ${key}`);
    assert.equal(values.length, reference[key].values.length, `${name}: length of ${key}`);
    reference[key].values.forEach((expected, i) => {
      const actual = values[i];
      const right = typeof actual === "number" && Math.abs(actual - expected) <= TOLERANCE[key];
      assert.ok(right, `${name}: element ${i} of ${key}: expected ${expected}, got ${String(actual)}`);
    });
  }
}

/** Throws unless the outcome is this error. */
export function assertError(name: string, outcome: Outcome | undefined, expected: RegExp): void {
  assert.ok(outcome !== undefined && "error" in outcome, `${name}: expected an error`);
  assert.match(outcome.error, expected, name);
}
