import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as onepass from "../../src/index.ts";

// The examples in the documentation of the sources run, and every value that a line ends with as a comment is what that
// line gives: `softmax(x).data; // [0.2689, 0.7311]`. Numbers are compared to the digits that are written.

const source = new URL("../../src/", import.meta.url);

interface Example {
  /** What the docstring stands on: an exported name, or a member of a class or interface. */
  readonly of: string;
  readonly file: string;
  readonly line: number;
  readonly code: string;
}

const DOCSTRING = /\/\*\*((?:(?!\*\/).)*)\*\/\s*((?:export |async |abstract |readonly |get |static |function |class |interface |type |const )*)(\w+)/gs;

function examplesOf(file: string): Example[] {
  const text = readFileSync(new URL(file, source), "utf8");
  return [...text.matchAll(DOCSTRING)].flatMap((docstring) =>
    [...(docstring[1] ?? "").matchAll(/@example[^\n]*\n\s*\* ```ts\n(.*?)\n\s*\* ```/gs)].map((match) => ({
      of: docstring[3] ?? "",
      file,
      line: text.slice(0, docstring.index + match.index).split("\n").length,
      code: (match[1] ?? "").replaceAll(/^\s*\* ?/gm, ""),
    })),
  );
}

/** The names are at hand already. Imports of anything else are left to fail: an example shows this package. */
function withoutImport(code: string): string {
  return code.replaceAll(/^import \{[^}]*\} from "onepass";\n+/gm, "");
}

/** Statements that end with a value become calls that compare with it. Other comments stay comments. */
function withChecks(code: string): { code: string; checks: number } {
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

const examples = readdirSync(source)
  .filter((file) => file.endsWith(".ts"))
  .flatMap(examplesOf);

// It has no name of its own.
const AsyncFunction = (async () => Promise.resolve()).constructor as new (...text: string[]) => (...values: unknown[]) => Promise<void>;

describe("examples in the documentation", () => {
  test.each(examples.map((example) => [`${example.of} (${example.file}:${example.line})`, example] as const))("%s", async (_, example) => {
    const { code } = withChecks(withoutImport(example.code));
    const run = new AsyncFunction("__check", ...Object.keys(onepass), `"use strict";\n${code}`);
    await run(check, ...Object.values(onepass));
  });

  test("every function and class has one, but for errors", () => {
    const withExample = examples.map(({ of }) => (onepass as Readonly<Record<string, unknown>>)[of]);
    const without = Object.entries(onepass).filter(([, value]) => !(value.prototype instanceof Error) && !withExample.includes(value));
    expect(without.map(([name]) => name)).toEqual([]);
  });

  test("most of them say what comes out", () => {
    const checked = examples.filter(({ code }) => withChecks(code).checks > 0);
    expect(checked.length).toBeGreaterThanOrEqual(examples.length / 2);
  });

  test("none is lost between its docstring and here", () => {
    const written = readdirSync(source, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts") && !file.includes("generated"))
      .map((file) => readFileSync(new URL(file, source), "utf8").split("@example").length - 1)
      .reduce((a, b) => a + b);
    expect(examples.length).toBe(written);
  });
});
