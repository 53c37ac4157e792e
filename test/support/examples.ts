// Examples of the documentation, run: every value that a line ends with as a comment is what that line gives, as in
// `softmax(x).data; // [0.2689, 0.7311]`. Numbers are compared to the digits that are written.
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import * as onepass from "../../src/index.ts";
import { maskBytes, numbers } from "./numbers.ts";

/** The names are at hand already. Imports of anything else are left to fail: an example shows this package. */
function withoutImport(code: string): string {
  return code.replaceAll(/^import \{[^}]*\} from "onepass";\n+/gm, "");
}

/** Statements that end with a value become calls that compare with it. Other comments stay comments. */
export function withChecks(code: string): { code: string; checks: number } {
  let checks = 0;
  const lines = code.split("\n").map((line) => {
    const [, statement, comment] = /^(\S.*);\s*\/\/ (.*)$/.exec(line) ?? [];
    if (statement === undefined || comment === undefined || !isJson(comment) || /^(const|let) /.test(statement)) return line;
    checks++;
    return `__check(${statement}, ${JSON.stringify(comment)});`;
  });
  return { code: lines.join("\n"), checks };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Compares with what the comment says; its numbers are rounded to their last digit. */
function check(actual: unknown, comment: string): void {
  if (typeof JSON.parse(comment) === "string") {
    expect(actual).toBe(JSON.parse(comment));
    return;
  }
  const written = [...comment.matchAll(/-?\d+(?:\.(\d+))?(?:e-?\d+)?/g)];
  const values = typeof actual === "number" ? [actual] : [...(actual as Iterable<number>)];
  expect(values.length, comment).toBe(written.length);
  written.forEach((match, i) => {
    const value = values[i] ?? NaN;
    // Half of the last digit, and the rounding to f32.
    const allowed = 0.5 * 10 ** -(match[1]?.length ?? 0) + Math.abs(value) * 2 ** -24;
    expect(Math.abs(value - Number(match[0])), `${comment}: ${value}`).toBeLessThanOrEqual(allowed);
  });
}

// It has no name of its own.
const AsyncFunction = (async () => Promise.resolve()).constructor as new (...text: string[]) => (...values: unknown[]) => Promise<void>;

/** Runs an example, in which the names of the package and of `scope` are known. It may declare them anew. */
export async function runExample(example: string, scope: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const { code } = withChecks(withoutImport(example));
  const known = { __check: check, ...onepass, ...scope };
  await new AsyncFunction(...Object.keys(known), `"use strict";\n{\n${code}\n}`)(...Object.values(known));
}

/** A block of code in README.md. */
export interface ReadmeBlock {
  readonly heading: string;
  readonly line: number;
  /** What stands behind the three ticks: "ts", or "ts webgpu" for what needs a GPU. */
  readonly language: string;
  readonly code: string;
}

/** All blocks of README.md. */
export function readmeBlocks(): ReadmeBlock[] {
  const text = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  return [...text.matchAll(/^```(.+)\n([\s\S]*?)^```$/gm)].map(({ index, 1: language = "", 2: code = "" }) => {
    const before = text.slice(0, index);
    return { heading: [...before.matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? "", line: before.split("\n").length, language, code };
  });
}

/** What the blocks of README.md take for granted. */
export function readmeScope(): Readonly<Record<string, unknown>> {
  const { tensor } = onepass;
  const filled = (...shape: number[]) =>
    tensor(
      numbers(
        "normal",
        shape.reduce((n, size) => n * size, 1),
      ),
      shape,
    );
  const [B, Hq, L, S] = [2, 4, 3, 5];
  return {
    rows: 2,
    cols: 3,
    logits: numbers("normal", 6),
    x: filled(2, 3),
    blocks: [numbers("normal", 2), numbers("normal", 5)],
    ...{ B, Hq, L, S },
    ...{ q: filled(B, Hq, L, 8), k: filled(B, 2, S, 8), v: filled(B, 2, S, 6) },
    ...{ k1: filled(B, 2, 3, 8), v1: filled(B, 2, 3, 6), k2: filled(B, 2, 2, 8), v2: filled(B, 2, 2, 6) },
    ...{ newQ: filled(1, 32, 64), newK: filled(1, 8, 64), newV: filled(1, 8, 64) },
    ...{ bytes: maskBytes(L * S), padding: maskBytes(B * S), keep: maskBytes(S), biases: numbers("normal", Hq * L * S) },
    feeds: {},
    session: { run: () => Promise.resolve({ logits: new OnnxTensor("float32", numbers("normal", 6), [2, 3]) }) },
    ort: { Tensor: OnnxTensor },
  };
}

/** What is used of ONNX Runtime's class. */
class OnnxTensor {
  readonly type: string;
  readonly data: Float32Array;
  readonly dims: readonly number[];

  constructor(type: string, data: Float32Array, dims: readonly number[]) {
    [this.type, this.data, this.dims] = [type, data, dims];
  }
}
