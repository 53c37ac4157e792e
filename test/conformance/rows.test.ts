import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { type TensorLike, tensor } from "../../src/index.ts";
import { byName } from "../support/by-name.ts";
import { type Subject, describeSubjects } from "../support/subjects.ts";
import { unavailable } from "../support/variants.ts";

// Cases from the test suites of ONNX, ONNX Runtime, web-platform-tests, tfjs, jax-js and others, as plain data that lies
// beside the project, not in it.

const root = fileURLToPath(new URL("../../", import.meta.url));
const directory = resolve(root, process.env["ONEPASS_CONFORMANCE"] ?? "../shared/fixtures/conformance");
const runner = `${directory}/run.mjs`;

/** A tensor as the cases hold it. */
interface CaseTensor {
  readonly dims: readonly number[];
  readonly dtype: string;
  readonly data: Float32Array | Float64Array | Uint16Array;
}

interface Case {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly CaseTensor[];
}

interface Result {
  readonly status: "passed" | "failed" | "skipped";
  readonly reason?: string;
}

/** What run.mjs exports. */
interface Runner {
  readonly loadCases: () => Case[];
  readonly runCase: (adapter: object, c: Case) => Promise<Result>;
}

/** What lib/tensor.mjs exports. */
interface Tensors {
  readonly toFloat64: (t: CaseTensor) => Float64Array;
}

const OPS = ["softmax", "logSoftmax", "logSumExp"];

/** The one case whose source wants zeros for a row of −inf: that is our `safe: true`. */
const WANTS_SAFE = "softmax_webgpu_nan";

if (existsSync(runner)) {
  const { loadCases, runCase } = (await import(pathToFileURL(runner).href)) as Runner;
  const { toFloat64 } = (await import(pathToFileURL(`${directory}/lib/tensor.mjs`).href)) as Tensors;
  const cases = loadCases().filter(({ op }) => OPS.includes(op));

  /** Floats as they are, in whatever storage; anything else in f32. */
  const inputOf = ({ dims, dtype, data }: CaseTensor): TensorLike =>
    dtype.includes("float") ? { data, dims, type: dtype } : tensor(Float32Array.from(toFloat64({ dims, dtype, data })), dims);

  const outputOf = ({ shape, data }: { shape: readonly number[]; data: Float32Array | Float64Array }) => ({ dims: shape, data, dtype: data instanceof Float64Array ? "float64" : "float32" }); // prettier-ignore

  const adapterOf = (subject: Subject, safe: boolean): object => ({
    softmax: async (x: CaseTensor, { axis }: { axis?: number }) => outputOf(await subject.softmax(inputOf(x), { axis: axis ?? -1, safe })),
    logSoftmax: async (x: CaseTensor, { axis }: { axis?: number }) => outputOf(await subject.logSoftmax(inputOf(x), { axis: axis ?? -1, safe })),
    logSumExp: async (x: CaseTensor, { axes, keepdims }: { axes?: number[] | null; keepdims?: boolean }) =>
      outputOf(await subject.logSumExp(inputOf(x), { axis: axes ?? x.dims.map((_, d) => d), keepDims: keepdims ?? false })),
  });

  test("there are more than a hundred cases of the row operations", () => {
    expect(cases.length).toBeGreaterThan(100);
    for (const op of OPS) expect(cases.filter((c) => c.op === op).length, op).toBeGreaterThan(5);
  });

  describeSubjects("conformance", (subject) => {
    const passed = new Set<string>();
    // f64 stays on the CPU, where everything propagates.
    const promised = cases.filter(({ inputs }) => subject.propagates || inputs.every((x) => x.dtype === "float64" || toFloat64(x).every((v) => v < Infinity)));

    test("few cases are about NaN and +inf", () => expect(cases.length - promised.length).toBeLessThanOrEqual(10));

    test.each(byName(promised))("%s", async (name, c) => {
      expect(await runCase(adapterOf(subject, c.name.includes(WANTS_SAFE)), c)).toMatchObject({ status: "passed" });
      passed.add(name);
    });

    test("every case has run", () => expect(passed.size).toBe(promised.length));
  });
} else {
  describe("conformance", () => {
    test("needs the fixtures", ({ skip }) => unavailable(skip, `${runner} is absent; ONEPASS_CONFORMANCE may say where the cases are`));
  });
}
