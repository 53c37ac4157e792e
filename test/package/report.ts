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

/** The same of an engine, and what it ran on. */
export type EngineOutcome =
  (Result & { readonly variant: Variant; readonly threads: number; readonly gpu: boolean; readonly off: readonly string[] }) | { readonly error: string };

/** What apps/everything.js reports. */
export interface Everything {
  readonly sample: Sample;
  readonly relaxed: boolean;
  readonly runs: {
    readonly plain: Outcome;
    readonly baseline: EngineOutcome;
    readonly relaxed: EngineOutcome;
    /** Two threads asked for, from the inlined script and from the file. */
    readonly threads: EngineOutcome;
    readonly workerUrl?: EngineOutcome;
    readonly webgpu?: EngineOutcome;
    readonly auto: EngineOutcome;
  };
}

/** What an environment has. */
export interface Environment {
  readonly relaxed: boolean;
  /** Threads that an engine gets of the two it asks for. */
  readonly threads: 1 | 2;
  /** The same with `workerUrl`. */
  readonly threadsByUrl: 1 | 2;
  /** Whether there has to be a GPU, may be one, or cannot be one. */
  readonly gpu: "required" | "possible" | "none";
}

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

/** Throws unless every way to compute is right, and what the environment lacks says so. */
export function assertEverything(name: string, { sample, relaxed, runs }: Everything, has: Environment): void {
  assert.equal(relaxed, has.relaxed, `${name}: whether there is relaxed SIMD`);
  for (const variant of VARIANTS) {
    const outcome = runs[variant];
    if (variant === "relaxed" && !has.relaxed) {
      assertError(`${name}, relaxed`, outcome, /^UnsupportedError/);
      continue;
    }
    assertRight(`${name}, ${variant}`, outcome, sample);
    assert.equal(outcome.variant, variant, `${name}: variant`);
  }
  assertThreads(`${name}, threads`, runs.threads, runs, has.threads);
  if (runs.workerUrl !== undefined) assertThreads(`${name}, threads by workerUrl`, runs.workerUrl, runs, has.threadsByUrl);
  assertRight(`${name}, auto`, runs.auto, sample);
  if (runs.webgpu === undefined) return;
  if (has.gpu === "none" || (has.gpu === "possible" && "error" in runs.webgpu)) {
    assertError(`${name}, webgpu`, runs.webgpu, /^BackendError/);
    return;
  }
  assertRight(`${name}, webgpu`, runs.webgpu, sample);
  assert.ok(runs.webgpu.gpu, `${name}: an engine on the GPU says that it has none`);
}

/** Throws unless an engine that asked for two threads got as many as it can, with the bits of one thread, and says why not more. */
function assertThreads(name: string, outcome: EngineOutcome, runs: Everything["runs"], threads: 1 | 2): void {
  if ("error" in outcome) assert.fail(`${name}: ${outcome.error}`);
  assert.equal(outcome.threads, threads, `${name}: number of threads (${outcome.off.join("; ")})`);
  if (threads === 1) assert.match(outcome.off.join("; "), /thread|worker/, `${name}: no reason for one thread`);
  assert.doesNotMatch(outcome.off.join("; "), /did not start within/, `${name}: a worker was slow`);
  assertSame(`${name}: other numbers than on one thread`, outcome, runs[outcome.variant]);
}

/** Throws unless two outcomes are the same numbers, to the last bit. */
export function assertSame(message: string, a: Outcome, b: Outcome): void {
  if ("error" in a || "error" in b) assert.fail(message);
  for (const key of ["softmax", "attention", "lse"] as const) assert.deepEqual(a[key], b[key], `${message}: ${key}`);
}
