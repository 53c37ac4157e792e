// Runs the examples of the documentation. A value in a comment at the end of a line is what that line must give, as in
// `softmax(x).data; // [0.2689, 0.7311]`. Numbers are compared to the digits given.
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import * as onepass from "../../src/index.ts";
import { numbers } from "./numbers.ts";

/** Removes the import: the names are already defined. Imports of anything else fail, since an example shows this package. */
function withoutImport(code: string): string {
  return code.replaceAll(/^import \{[^}]*\} from "onepass";\n+/gm, "");
}

/** Turns statements that end with a value into calls that compare with it. Other comments stay comments. */
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

/** Compares with what the comment says. Its numbers are rounded to their last digit. */
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
    // Half of the last digit, plus the rounding to f32.
    const allowed = 0.5 * 10 ** -(match[1]?.length ?? 0) + Math.abs(value) * 2 ** -24;
    expect(Math.abs(value - Number(match[0])), `${comment}: ${value}`).toBeLessThanOrEqual(allowed);
  });
}

// This constructor has no global name.
const AsyncFunction = (async () => Promise.resolve()).constructor as new (...text: string[]) => (...values: unknown[]) => Promise<void>;

/** Runs an example with the names of the package and of `scope` defined. The example may declare them anew. */
export async function runExample(example: string, scope: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const { code } = withChecks(withoutImport(example));
  const known = { __check: check, ...onepass, ...scope };
  await new AsyncFunction(...Object.keys(known), `"use strict";\n{\n${code}\n}`)(...Object.values(known));
}

/** A code block of README.md. */
export interface ReadmeBlock {
  readonly heading: string;
  readonly line: number;
  /** What follows the three backticks: "ts", or "ts webgpu" for code that needs a GPU. */
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

/** What the code blocks of README.md assume: an ONNX Runtime session. */
export function readmeScope(): Readonly<Record<string, unknown>> {
  return {
    feeds: {},
    session: { run: () => Promise.resolve({ logits: new OnnxTensor("float32", numbers("normal", 6), [2, 3]) }) },
    ort: { Tensor: OnnxTensor },
  };
}

/** The parts of ONNX Runtime's class that are used. */
class OnnxTensor {
  readonly type: string;
  readonly data: Float32Array;
  readonly dims: readonly number[];

  constructor(type: string, data: Float32Array, dims: readonly number[]) {
    [this.type, this.data, this.dims] = [type, data, dims];
  }
}
