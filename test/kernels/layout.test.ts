import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { BLOCK_ROWS, CHUNK_KEYS, TILE_KEYS } from "../../src/calls/blocks.ts";
import { TILE } from "../../src/calls/block-mask.ts";
import { STAGED_KEYS } from "../../src/backend/wasm/plans/attention-operands.ts";
import * as layout from "../../src/backend/wasm/plans/attention-layout.ts";
import { STAGE_MASKED, STAGE_RAW, STAGE_SOFTCAPPED } from "../../src/backend/wasm/plans/attention-scores.ts";

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

  test("chunks and parts of a staged call end where tiles do", () => {
    expect(STAGED_KEYS).toBe(CHUNK_KEYS.wasm);
    expect(CHUNK_KEYS.wasm % valueOf("TILE_KEYS")).toBe(0);
  });

  test("columns of the row table, in bytes there and in words here", () => {
    const there = [...kernel].filter(([name]) => name.startsWith("ROW_"));
    const here = Object.entries(layout).filter(([name]) => name.startsWith("ROW_") && name !== "ROW_TABLE_BYTES");
    expect(there.length).toBeGreaterThan(5);
    expect(Object.fromEntries(here.map(([name, words]) => [name, Number(words) * 4]))).toEqual(Object.fromEntries(there));
    expect(layout.ROW_TABLE_BYTES).toBe(Math.max(...there.map(([, bytes]) => bytes)) + valueOf("BLOCK_ROWS") * 4);
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
    for (const name of ["FIRST", "LAST", "RESTART", "BIAS", "MASK", "TILES"] as const) expect(layout[name], name).toBe(valueOf(name));
    const stages = constantsOf("kernels/attention-scores.ts");
    expect([STAGE_RAW, STAGE_SOFTCAPPED]).toEqual([stages.get("RAW"), stages.get("SOFTCAPPED")]);
    expect(STAGE_MASKED).toBeGreaterThan(STAGE_SOFTCAPPED);
  });
});
