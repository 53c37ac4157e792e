import { createBlockMask } from "../../src/ops/create-block-mask.ts";
import { beforeAll, describe, expect, test } from "vitest";
import { bindSpan, keyBases, rowSpan } from "../../src/backend/webgpu/plans/attention-operands.ts";
import { chunkStates, pushBlocks } from "../../src/backend/webgpu/plans/attention.ts";
import { type Part, cutParts, gridOf } from "../../src/backend/webgpu/plans/parts.ts";
import { tileTable } from "../../src/backend/webgpu/plans/tables.ts";
import { type AttentionKey, attentionKey, attentionNeeds, attentionProgram } from "../../src/backend/webgpu/kernels/attention.ts";
import { MERGE_CHUNKS, MERGE_PAIR } from "../../src/backend/webgpu/kernels/merge.ts";
import { TILE_OPEN, TILE_SKIPPED } from "../../src/backend/webgpu/kernels/score-modifiers.ts";
import { scoresProgram } from "../../src/backend/webgpu/kernels/scores.ts";
import { PipelineCache } from "../../src/backend/webgpu/device/pipelines.ts";
import type { Program } from "../../src/backend/webgpu/device/program.ts";
import { TooLargeError } from "../../src/errors/errors.ts";
import { keyRange } from "../../src/calls/key-range.ts";
import { byName } from "../support/by-name.ts";
import { nullGpu } from "./toy.ts";
import { ATTENTION_KEYS, BASE_BUFFERS, BASE_THREADS, BASE_TRAITS } from "./variants.ts";

// What is decided before a GPU is asked: programs, tiles, grids, ranges, tables. Nothing here needs a driver.

const STORAGES = ["f32", "f16", "f16-packed"] as const;
const PROGRAMS: readonly Program[] = [...ATTENTION_KEYS.map(attentionProgram), ...STORAGES.map(scoresProgram), MERGE_CHUNKS, MERGE_PAIR];

describe("every program", () => {
  let gpu: GPU;
  let device: GPUDevice;

  beforeAll(async () => {
    gpu = await nullGpu();
    const adapter = await gpu.requestAdapter();
    if (adapter === null) throw new Error("Dawn's null backend gave no adapter");
    device = await adapter.requestDevice({ requiredFeatures: ["shader-f16", "subgroups"] });
  });

  test.each(byName(PROGRAMS))("%s is valid WGSL", async (_, { wgsl, name }) => {
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: name, code: wgsl });
    const error = await device.popErrorScope();
    expect(error?.message).toBeUndefined();
    expect((await module.getCompilationInfo()).messages.map(({ message }) => message)).toEqual([]);
  });

  // The null backend grants what WebGPU promises and no more.
  const promised = PROGRAMS.filter((_, i) => {
    const key = ATTENTION_KEYS[i];
    return key === undefined || attentionNeeds(key).workgroupStorage <= BASE_TRAITS.workgroupStorage;
  });

  test.each(byName(promised))("%s makes a pipeline within the limits that every device has", async (_, program) => {
    await expect(new PipelineCache(device).compile(program)).resolves.toBeDefined();
  });

  test("is written once", () => {
    for (const key of ATTENTION_KEYS) expect(attentionProgram({ ...key })).toBe(attentionProgram(key));
    for (const storage of STORAGES) expect(scoresProgram(storage)).toBe(scoresProgram(storage));
  });

  test("has a name of its own, and at most eight storage buffers", () => {
    expect(new Set(PROGRAMS.map(({ name }) => name)).size).toBe(PROGRAMS.length);
    for (const { bindings } of PROGRAMS) expect(bindings.filter((kind) => kind !== "uniform").length).toBeLessThanOrEqual(BASE_BUFFERS);
  });
});

describe("the tile", () => {
  const key = (kind: "prefill" | "decode", traits: Partial<typeof BASE_TRAITS>): AttentionKey => attentionKey(kind, "f32", { ...BASE_TRAITS, ...traits });

  test("of prefill grows with workgroup memory", () => {
    const large = attentionNeeds({ rows: 64, keys: 64, storage: "f32", subgroups: false }).workgroupStorage;
    expect(large).toBeLessThanOrEqual(32768);
    expect(key("prefill", {}).keys).toBe(32);
    expect(key("prefill", { workgroupStorage: large - 1 }).keys).toBe(32);
    expect(key("prefill", { workgroupStorage: large }).keys).toBe(64);
  });

  test("of decode is the same everywhere", () => {
    expect(key("decode", {})).toEqual(key("decode", { workgroupStorage: 65536 }));
  });

  test.each([undefined, { min: 4, max: 128 }, { min: 8, max: 8 }, { min: 32, max: 32 }])("uses shuffles with subgroups of %o", (subgroups) => {
    expect(key("prefill", { subgroups }).subgroups).toBe(subgroups !== undefined);
  });

  test("fits what is granted, whatever that is", () => {
    for (const workgroupStorage of [16384, 20000, 32768, 49152, 65536]) {
      for (const kind of ["prefill", "decode"] as const) {
        const needs = attentionNeeds(key(kind, { workgroupStorage }));
        expect(needs.workgroupStorage).toBeLessThanOrEqual(workgroupStorage);
        expect(needs.invocations).toBeLessThanOrEqual(BASE_THREADS);
      }
    }
  });

  test("is one of the list", () => {
    for (const storage of STORAGES) {
      for (const subgroups of [undefined, { min: 4, max: 128 }]) {
        for (const workgroupStorage of [16384, 32768]) {
          for (const kind of ["prefill", "decode"] as const)
            expect(ATTENTION_KEYS).toContainEqual(attentionKey(kind, storage, { workgroupStorage, subgroups }));
        }
      }
    }
  });
});

describe("the keys that a row sees", () => {
  /** As the kernels compute it, in 32 bits. */
  const range = (bases: { low: number; high: number }, i: number, keys: number): readonly [number, number] => {
    const low = Math.max(0, (bases.low + i) | 0);
    const high = Math.min(keys, (bases.high + i) | 0);
    return low < high ? [low, high] : [0, 0];
  };

  test.each([0, 1, -1, 63, 64, -5000, 131072, 2 ** 31, -(2 ** 31), 2 ** 40, -(2 ** 40), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER])(
    "are those of the CPU, offset %i",
    (offset) => {
      for (const causal of [false, true]) {
        for (const windowLeft of [0, 5, 2 ** 33, Infinity]) {
          for (const windowRight of [0, 7, 2 ** 33, Infinity]) {
            const rule = { causal, windowLeft, windowRight };
            for (const i of [0, 1, 4095, 2 ** 20]) {
              for (const keys of [0, 1, 100, 2 ** 28]) expect(range(keyBases({ offset }, rule), i, keys)).toEqual(keyRange(offset + i, keys, rule));
            }
          }
        }
      }
    },
  );
});

describe("grids", () => {
  const grid = (count: number) => gridOf(count, { traits: BASE_TRAITS });

  test("are one row while that is wide enough, then as many as are needed", () => {
    expect(grid(0)).toEqual([0, 0, 1]);
    expect(grid(1)).toEqual([1, 1, 1]);
    expect(grid(65535)).toEqual([65535, 1, 1]);
    expect(grid(65536)).toEqual([65535, 2, 1]);
    expect(() => grid(65535 * 65535 + 1)).toThrow("workgroups are needed");
  });

  test("list a sequence's last rows first", () => {
    const sequence = (rows: number) => ({ batch: 0, queryStart: 0, keyStart: 0, rows, queryLength: rows, keyLength: 1, offset: 0 });
    const blocks: number[] = [];
    const key = { rows: 64, keys: 64, storage: "f32", subgroups: false } as const;
    pushBlocks(blocks, [sequence(130), sequence(0), sequence(64)], 7, key, 1, () => 1);
    const [first, , third] = [0, 1, 2].map((i) => 7 + i * 15);
    expect(blocks).toEqual([first, 128, 0, first, 64, 0, first, 0, 0, third, 0, 0]);
  });

  test("list of a sequence's chunks those that it has, not as many as the longest has", () => {
    const sequences = [9000, 1, 300].map((keyLength) => ({ batch: 0, queryStart: 0, keyStart: 0, rows: 1, queryLength: 1, keyLength, offset: 0 }));
    const chunksOf = ({ keyLength }: { readonly keyLength: number }): number => Math.ceil(keyLength / 128);
    const blocks: number[] = [];
    pushBlocks(blocks, sequences, 0, { rows: 16, keys: 64, storage: "f32", subgroups: false }, 4, chunksOf);
    expect(blocks).toHaveLength(3 * (71 + 1 + 3));
    expect(blocks.slice(-3)).toEqual([30, 0, 2]);
    // Their states lie one behind the other, too.
    const states = chunkStates({ sequences, firstHead: 8, heads: 4 }, chunksOf);
    expect(states?.count).toBe((71 + 1 + 3) * 4);
    expect(sequences.map((s) => states?.starts.get(s))).toEqual([0, 71 * 4, 72 * 4]);
    expect(chunkStates({ sequences: sequences.slice(1, 2), firstHead: 0, heads: 4 }, chunksOf), "one chunk needs none").toBeUndefined();
  });
});

describe("bindings", () => {
  const sequence = (batch: number) => ({ batch, queryStart: 0, keyStart: 0, rows: 10, queryLength: 10, keyLength: 10, offset: 0 });
  const whole = { batch: 400, head: 80, row: 8, last: 1, extent: () => ({ start: 0, rows: 10, width: 8 }) };
  const slice = { buffer: {} as GPUBuffer, byteOffset: 512, byteLength: 1600 * 4 };
  const recorder = (bindingBytes: number) => ({ traits: { ...BASE_TRAITS, bindingBytes } });

  test("show what is used, from an aligned offset on", () => {
    const span = rowSpan(whole, [sequence(2)], 1, 3);
    expect(span).toEqual({ from: 880, to: 1040 });
    const bound = bindSpan(recorder(1e9) as never, slice, 4, span);
    // 512 + 3520 lies 192 bytes behind a multiple of 256.
    expect(bound?.slice.byteOffset).toBe(3840);
    expect(bound?.base).toBe((512 - 3840) / 4);
    expect(bound?.slice.byteLength).toBe(512 + 1040 * 4 - 3840);
  });

  test("of nothing are empty", () => {
    expect(rowSpan(whole, [sequence(2)], 1, 1)).toEqual({ from: 0, to: 0 });
    expect(rowSpan(whole, [], 0, 1)).toEqual({ from: 0, to: 0 });
  });

  /** The parts of four sequences and five heads: which sequences, first head, heads, first row, rows. */
  const cut = (bindingBytes: number, rows = 10, isMuch: (heads: number) => boolean = () => false) =>
    cutParts(
      { sequences: [0, 1, 2, 3].map((batch) => ({ ...sequence(batch), rows, queryLength: rows - 5, offset: 7 })), firstHead: 0, heads: 5 },
      1,
      ({ heads }) => isMuch(heads),
      ({ sequences, firstHead, heads }) =>
        bindSpan(
          recorder(bindingBytes) as never,
          slice,
          4,
          rowSpan({ ...whole, extent: (s) => ({ start: s.queryStart, rows: s.rows, width: 8 }) }, sequences, firstHead, firstHead + heads),
        ),
    ).map(({ part }) => part);
  const places = (parts: readonly Part[]) => parts.map(({ sequences, firstHead, heads }) => [sequences.map(({ batch }) => batch), firstHead, heads]);
  const bytes = (heads: number, batches: number): number => 4 * ((batches - 1) * 400 + (heads - 1) * 80 + 80) + 256;

  test("that are too large are cut by sequences, then by heads", () => {
    expect(places(cut(bytes(5, 4)))).toEqual([[[0, 1, 2, 3], 0, 5]]);
    expect(places(cut(bytes(5, 2)))).toEqual([
      [[0, 1], 0, 5],
      [[2, 3], 0, 5],
    ]);
    expect(places(cut(bytes(3, 1))).slice(0, 2)).toEqual([
      [[0], 0, 3],
      [[0], 3, 2],
    ]);
  });

  test("then by rows, at the borders of blocks", () => {
    const rows = cut(4 * 128 * 8 + 256, 300).filter(({ firstHead, sequences }) => firstHead === 4 && sequences[0]?.batch === 3);
    expect(rows.map(({ sequences }) => sequences.map((s) => [s.queryStart, s.rows, s.queryLength, s.offset]))).toEqual([
      [[0, 128, 128, 7]],
      [[128, 64, 64, 135]],
      [[192, 108, 103, 199]],
    ]);
    expect(() => cut(4 * 32 * 8, 300)).toThrow(
      new TooLargeError("the keys of one head, or 64 of its rows, are more than this GPU can bind at once (its maxStorageBufferBindingSize)"),
    );
  });

  test("are cut as well where they are more than wanted at once, but not beyond what can be cut", () => {
    expect(places(cut(1e9, 10, (heads) => heads > 2)).slice(0, 3)).toEqual([
      [[0], 0, 2],
      [[0], 2, 1],
      [[0], 3, 2],
    ]);
    expect(cut(1e9, 10, () => true)).toHaveLength(20);
  });
});

test("the tables of a block mask name skipped, open and partial tiles", () => {
  const mask = createBlockMask((_b, h, q, k) => (k < 64 ? h === 1 : (q + k) % 2 === 0), { queryLength: 60, keyLength: 128, heads: 2 });
  const tables = tileTable(mask);
  const [a, b, c, d] = tables;
  expect([a, c]).toEqual([TILE_SKIPPED, TILE_OPEN]);
  expect([b, d]).toEqual([4, 4 + 128]);
  expect(tables).toHaveLength(4 + 2 * 128);
  expect(tileTable(mask), "made once").toBe(tables);
  const bit = (q: number, k: number): number => ((tables[(b ?? 0) + q * 2 + (k >> 5)] ?? 0) >>> (k & 31)) & 1;
  for (const [q, k] of [
    [0, 0],
    [0, 1],
    [3, 33],
    [3, 34],
    [59, 63],
    [60, 0],
  ] as const)
    expect(bit(q, k), `${q}, ${k}`).toBe(q < 60 && (q + k) % 2 === 0 ? 1 : 0);
});
