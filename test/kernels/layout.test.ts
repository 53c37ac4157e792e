import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { BLOCK_ROWS, CHUNK_KEYS, TILE_KEYS } from "../../src/calls/blocks.ts";
import { TILE } from "../../src/calls/block-mask.ts";
import { PART_KEYS } from "../../src/backend/wasm/plans/attention-stages.ts";
import * as layout from "../../src/backend/wasm/plans/attention-layout.ts";

// Kernels and TypeScript each state where things lie; this reads the kernels' source and compares.

/** Constants of an AssemblyScript file: `const NAME: type = expression;` with numbers, other constants, and + · << between them. */
function constantsOf(file: string): Map<string, number> {
  const constants = new Map<string, number>();
  const text = readFileSync(new URL(`../../assembly/${file}`, import.meta.url), "utf8");
  for (const [, name = "", expression = ""] of text.matchAll(/^(?:export )?const (\w+): (?:usize|u32|i32) = ([^;]+);/gm)) {
    constants.set(name, evaluate(expression, constants));
  }
  return constants;
}

function evaluate(expression: string, constants: ReadonlyMap<string, number>): number {
  const parts = (separator: string): number[] => expression.split(separator).map((part) => evaluate(part, constants));
  if (expression.includes("<<")) return parts("<<").reduce((value, shift) => value << shift);
  if (expression.includes("+")) return parts("+").reduce((sum, value) => sum + value);
  if (expression.includes("*")) return parts("*").reduce((product, value) => product * value);
  const term = expression.trim();
  const value = /^\d+$/.test(term) ? Number(term) : constants.get(term);
  if (value === undefined) throw new Error(`cannot evaluate "${term}"`);
  return value;
}

describe("the layout of attention in the kernels and in TypeScript", () => {
  const kernel = constantsOf("attention/layout.ts");
  const valueOf = (name: string): number => kernel.get(name) ?? NaN;

  test("sizes of blocks and tiles", () => {
    expect(BLOCK_ROWS).toBe(valueOf("BLOCK_ROWS"));
    expect(TILE_KEYS).toBe(valueOf("TILE_KEYS"));
    expect(TILE).toBe(valueOf("TILE_KEYS"));
    expect(TILE).toBe(valueOf("BLOCK_ROWS"));
  });

  test("chunks and parts of a call end where tiles do", () => {
    expect(PART_KEYS % CHUNK_KEYS.wasm).toBe(0);
    expect(CHUNK_KEYS.wasm % valueOf("TILE_KEYS")).toBe(0);
  });

  /** "valueDim" as PARAM_VALUE_DIM, TILE_VALUE_DIM … */
  const nameOf = (prefix: string, field: string): string => prefix + field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
  const namesOf = (prefix: string): string[] => [...kernel.keys()].filter((name) => name.startsWith(prefix));

  test("parameters of a block and tile records: the same fields in the same order, in bytes there and in words here", () => {
    const records = [
      ["PARAM_", layout.PARAMETERS, layout.PARAMETER],
      ["TILE_", layout.TILE_RECORD, layout.TILE],
    ] as const;
    for (const [prefix, fields, words] of records) {
      const there = namesOf(prefix).filter((name) => name !== "TILE_KEYS" && name !== "TILE_BYTES");
      expect(fields.map((field) => nameOf(prefix, field))).toEqual(there);
      expect(Object.values(words).map((word) => word * 4)).toEqual(there.map(valueOf));
    }
    expect(layout.TILE_WORDS * 4).toBe(valueOf("TILE_BYTES"));
    expect(layout.descriptionWords(0) * 4).toBe(valueOf("PARAMETERS"));
    expect(layout.PARAMETERS.length * 4).toBeLessThanOrEqual(valueOf("PARAMETERS"));
  });

  test("columns of the row table, in bytes there and in words here", () => {
    const there = namesOf("ROW_").filter((name) => name !== "ROW_GROUP");
    const here = Object.entries(layout).filter(([name]) => name.startsWith("ROW_") && name !== "ROW_GROUP");
    expect(there.length).toBeGreaterThan(5);
    expect(Object.fromEntries(here.map(([name, words]) => [name, Number(words) * 4]))).toEqual(Object.fromEntries(there.map((name) => [name, valueOf(name)])));
    expect(layout.GROUP_ROWS).toBe(valueOf("GROUP_ROWS"));
    expect(layout.ROW_GROUP * 4).toBe(valueOf("ROW_GROUP"));
    for (const [rows, groups] of [
      [1, 1],
      [8, 1],
      [9, 2],
      [64, 8],
    ] as const) {
      const bytes = valueOf("PARAMETERS") + groups * valueOf("ROW_GROUP");
      expect(layout.descriptionWords(rows) * 4).toBe(bytes);
      // The last entry of the last row.
      expect(layout.entryOf(layout.ROW_SINK, rows - 1) * 4).toBe(bytes - valueOf("GROUP_ROWS") * 4 + ((rows - 1) % 8) * 4);
    }
  });

  test("scratch of a block: tiles, packed queries and the state", () => {
    const accumulator = (valueDim: number): number => ((valueDim + 7) & ~7) << 2;
    expect(valueOf("PACKED_QUERIES")).toBeGreaterThan(0);
    for (const [dim, valueDim] of [
      [1, 1],
      [8, 8],
      [64, 80],
      [5, 9],
      [512, 512],
    ] as const) {
      const state = valueOf("PACKED_QUERIES") + valueOf("BLOCK_ROWS") * 4 * dim;
      expect(layout.stateIn(4096, dim)).toBe(4096 + state);
      expect(layout.stateBytes(3, valueDim)).toBe(valueOf("STATE_ROWS") + 3 * accumulator(valueDim));
      expect(layout.blockScratchBytes(dim, valueDim)).toBe(state + valueOf("STATE_ROWS") + valueOf("BLOCK_ROWS") * accumulator(valueDim));
    }
  });

  test("flags and stages", () => {
    for (const name of ["FIRST", "LAST", "RESTART", "BIAS", "MASK"] as const) expect(layout[name], name).toBe(valueOf(name));
    const stages = constantsOf("kernels/attention-scores.ts");
    expect([layout.STAGE_RAW, layout.STAGE_SOFTCAPPED]).toEqual([stages.get("RAW"), stages.get("SOFTCAPPED")]);
    expect(layout.STAGE_MASKED).toBeGreaterThan(layout.STAGE_SOFTCAPPED);
  });
});
