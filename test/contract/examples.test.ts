import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as onepass from "../../src/index.ts";
import { readmeBlocks, readmeScope, runExample, withChecks } from "../support/examples.ts";

// The examples in the documentation of the sources and in README.md run.

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

const examples = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !file.includes("generated"))
  .flatMap(examplesOf);

describe("examples in the documentation", () => {
  test.each(examples.map((example) => [`${example.of} (${example.file}:${example.line})`, example] as const))("%s", async (_, example) => {
    await runExample(example.code);
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

describe("README.md", () => {
  const blocks = readmeBlocks();

  test.each(blocks.filter(({ language }) => language === "ts").map((block) => [`${block.heading}, line ${block.line}`, block] as const))(
    "%s",
    async (_, { code }) => runExample(code, readmeScope()),
  );

  test("has no code that runs nowhere", () => {
    // Those that need a GPU run in test/webgpu.
    expect(new Set(blocks.map(({ language }) => language))).toEqual(new Set(["sh", "ts", "ts webgpu", "text"]));
  });
});
