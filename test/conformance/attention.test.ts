import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { byName } from "../support/by-name.ts";
import { describeSubjects } from "../support/subjects.ts";
import { unavailable } from "../support/variants.ts";
import { type Attributes, type CaseTensor, type Inputs, attentionAdapter } from "./attention-adapter.ts";

// Every case of attention from the test suites of ONNX, ONNX Runtime, jax-js and others (shared/fixtures/README.md). They lie
// beside the project, not in it; ONEPASS_CONFORMANCE may say where.

const given = process.env["ONEPASS_CONFORMANCE"];
const root = fileURLToPath(new URL("../../", import.meta.url));
const directory = resolve(root, given ?? "../shared/fixtures/conformance");
const runner = `${directory}/run.mjs`;

/** What there is at the usual place. Cases in float64 are out: SEMANTICS has f32 attention only. */
const CASES = 177;
const CASES_IN_F64 = 1;

interface Case {
  readonly name: string;
  readonly op: string;
  readonly features: readonly string[];
  readonly attributes: Attributes;
  readonly expect?: "error";
  readonly inputs: readonly (CaseTensor & { readonly name: string })[];
  readonly outputs: readonly { readonly name: string }[];
}

/** What run.mjs exports. */
interface Runner {
  readonly loadCases: () => Case[];
  readonly runCase: (adapter: object, c: Case) => Promise<{ readonly status: string; readonly reason?: string }>;
}

/** What lib/tensor.mjs exports. */
interface Tensors {
  readonly toFloat64: (t: CaseTensor) => Float64Array;
}

if (existsSync(runner)) {
  const { loadCases, runCase } = (await import(pathToFileURL(runner).href)) as Runner;
  const { toFloat64 } = (await import(pathToFileURL(`${directory}/lib/tensor.mjs`).href)) as Tensors;
  const all = loadCases().filter(({ op }) => op === "attention");
  const cases = all.filter(({ features }) => !features.includes("fp64"));
  const failing = cases.filter((c) => c.expect === "error");

  test("all cases but those in float64 are run", () => {
    expect(all.filter(({ inputs }) => inputs.some(({ dtype }) => dtype === "float64"))).toHaveLength(all.length - cases.length);
    expect(failing.length).toBeGreaterThan(0);
    if (given === undefined) expect([all.length, all.length - cases.length]).toEqual([CASES, CASES_IN_F64]);
  });

  describeSubjects("conformance of attention", (subject) => {
    const attention = attentionAdapter(subject, toFloat64);
    const passed = new Set<string>();
    let used: number | undefined;
    beforeAll(async () => {
      used = await subject.usedBytes?.();
    });
    const promised = cases.filter(({ inputs }) => subject.propagates || inputs.every((x) => Array.from(toFloat64(x)).every((v) => v < Infinity)));

    test("few cases are about NaN and +inf", () => expect(cases.length - promised.length).toBeLessThanOrEqual(10));

    test.each(byName(promised))("%s", async (name, c) => {
      expect(await runCase({ attention }, c)).toMatchObject({ status: "passed" });
      passed.add(name);
    });

    // The runner takes any throw for the refusal that a case wants; a mistake in the adapter would be one too.
    test.each(byName(failing))("%s, by an error that says what is wrong", async (_, c) => {
      const inputs = Object.fromEntries(c.inputs.map((input) => [input.name, input])) as unknown as Inputs;
      await expect(attention(inputs, c.attributes, [])).rejects.toThrow(RangeError);
      await expect(attention(inputs, c.attributes, [])).rejects.toThrow(/^"\w+" .*expected/);
    });

    test("every case has run, and leaves no memory in use", async () => {
      expect(passed.size).toBe(promised.length);
      expect(await subject.usedBytes?.()).toBe(used);
    });
  });
} else {
  describe("conformance of attention", () => {
    test("needs the fixtures", ({ skip }) => unavailable(skip, `${runner} is absent; ONEPASS_CONFORMANCE may say where the cases are`));
  });
}
