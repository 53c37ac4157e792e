import { describe, expect, test } from "vitest";
import { TILE_KEYS } from "../../src/calls/blocks.ts";
import {
  ALL_VISIBLE,
  FIRST,
  LAST,
  NOTHING_VISIBLE,
  PARAMETER,
  ROW_HIGH,
  ROW_LSE,
  ROW_LOW,
  ROW_OUT,
  ROW_QUERY,
  ROW_SINK,
  STAGE_MASKED,
  TILE,
  TILE_WORDS,
  blockScratchBytes,
  descriptionWords,
  entryOf,
} from "../../src/backend/wasm/plans/attention-layout.ts";
import { numbers } from "../support/numbers.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

// Kernels find keys and values by tile records. One record for all keys, a record for each tile of the same tensor, and pages of 64 keys
// anywhere, with any strides, give the same bits; around a page lie NaNs, and the last page ends where memory ends.

/** The kernels of attention, and up to how many rows each is for. */
const KERNELS = [
  ["attention_block_f32", 64],
  ["attention_rows_f32", 7],
] as const;

/** Where the tiles of a call are: the records, and the distance from one to the next. */
interface Tiles {
  readonly records: readonly Readonly<Partial<Record<keyof typeof TILE, number>>>[];
  readonly step: number;
}

describeVariants("tile records", ({ kernels, memory }) =>
  describe.each(KERNELS)("%s", (kernel, most) => {
    const DIM = 8;
    const VALUE_DIM = 12;

    /** Attention and masked scores of `rows` queries, which see the keys `low` … `high` of the tiles. */
    function run(rows: number, low: number, high: number, { records, step }: Tiles, valueDim = VALUE_DIM) {
      const mark = memory.mark();
      const words = descriptionWords(rows);
      const block = memory.take((words + records.length * TILE_WORDS) * 4);
      const scratch = memory.take(blockScratchBytes(DIM, valueDim));
      const [q, out, lse, scores] = [DIM, valueDim, 1, high].map((width) => memory.take(rows * width * 4)) as [number, number, number, number];
      const { i32, f32 } = memory;
      i32.fill(0, block / 4, block / 4 + words);
      f32.set(numbers("normal", rows * DIM, 7), q / 4);
      const parameters = { rows, dim: DIM, valueDim, flags: 0, tiles: block + words * 4, tileStep: step };
      for (const [name, value] of Object.entries(parameters)) i32[block / 4 + PARAMETER[name as "rows"]] = value;
      f32[block / 4 + PARAMETER.scale] = 0.3;
      for (let r = 0; r < rows; r++) {
        const entry = entryOf(block / 4, r);
        i32[entry + ROW_QUERY] = q + r * DIM * 4;
        i32[entry + ROW_OUT] = out + r * valueDim * 4;
        i32[entry + ROW_LSE] = lse + r * 4;
        i32[entry + ROW_LOW] = low;
        i32[entry + ROW_HIGH] = high;
        f32[entry + ROW_SINK] = -Infinity;
      }
      records.forEach((record, t) => {
        for (const [name, value] of Object.entries(record)) i32[block / 4 + words + t * TILE_WORDS + TILE[name as "k"]] = value;
      });
      kernels[kernel](block, 0, high, FIRST | LAST, scratch);
      const result = { out: f32.slice(out / 4, out / 4 + rows * valueDim), lse: f32.slice(lse / 4, lse / 4 + rows) };
      for (let r = 0; r < rows; r++) i32[entryOf(block / 4, r) + ROW_OUT] = scores + r * high * 4;
      kernels.attention_scores_f32(block, 0, high, STAGE_MASKED, scratch);
      const masked = f32.slice(scores / 4, scores / 4 + rows * high);
      memory.release(mark);
      return { ...result, scores: masked };
    }

    test.each([1, 2, 3, 4, 5, 7, 8, 9, 64].filter((rows) => rows <= most))("of pages give the bits of a tensor, %i rows", (rows) => {
      for (const [low, keys] of [
        [0, 1],
        [0, 64],
        [0, 65],
        [3, 200],
        [70, 450],
      ] as const) {
        const tiles = Math.ceil(keys / TILE_KEYS);
        const k = numbers("normal", keys * DIM, 1);
        const v = numbers("normal", keys * VALUE_DIM, 2);
        const mark = memory.mark();
        const [kAt, vAt] = [memory.take(k.byteLength), memory.take(v.byteLength)];
        memory.f32.set(k, kAt / 4);
        memory.f32.set(v, vAt / 4);
        const whole = { k: kAt, v: vAt, kStride: DIM * 4, vStride: VALUE_DIM * 4, mask: ALL_VISIBLE };
        const expected = run(rows, low, keys, { records: [whole], step: 0 });
        const label = `keys ${low} to ${keys}`;

        const each = Array.from({ length: tiles }, (_, t) => ({ ...whole, k: kAt + t * TILE_KEYS * DIM * 4, v: vAt + t * TILE_KEYS * VALUE_DIM * 4 }));
        const cut = run(rows, low, keys, { records: each, step: TILE_WORDS * 4 });

        // Pages in reverse order, with strides of their own.
        const pages = Array.from({ length: tiles }, (_, t) => {
          const stride = { k: DIM + (t % 3), v: VALUE_DIM + (t % 2) };
          const bytes = TILE_KEYS * (DIM + VALUE_DIM + 8) * 4;
          const start = memory.byteLength - (t + 1) * bytes;
          memory.f32.fill(NaN, start / 4, start / 4 + bytes / 4);
          const count = Math.min(TILE_KEYS, keys - t * TILE_KEYS);
          const place = { k: start, v: start + bytes - ((count - 1) * stride.v + VALUE_DIM) * 4 };
          for (let j = 0; j < count; j++) {
            const key = t * TILE_KEYS + j;
            memory.f32.set(k.subarray(key * DIM, (key + 1) * DIM), place.k / 4 + j * stride.k);
            memory.f32.set(v.subarray(key * VALUE_DIM, (key + 1) * VALUE_DIM), place.v / 4 + j * stride.v);
          }
          return { ...place, kStride: stride.k * 4, vStride: stride.v * 4, mask: ALL_VISIBLE };
        });
        const paged = run(rows, low, keys, { records: pages, step: TILE_WORDS * 4 });
        for (const [result, name] of [
          [cut, "a record for each tile"],
          [paged, "pages"],
        ] as const) {
          expectSameBits(result.out, expected.out, `${label}, ${name}`);
          expectSameBits(result.lse, expected.lse, `${label}, ${name}, log-sum-exp`);
          expectSameBits(result.scores, expected.scores, `${label}, ${name}, scores`);
        }
        memory.release(mark);
      }
    });

    test("of pages without gaps and of one size are read ahead only within a page", () => {
      // One page for all tiles, keys and values alike, which ends where memory ends: reading on would trap.
      const page = memory.byteLength - TILE_KEYS * DIM * 4;
      memory.f32.fill(0.5, page / 4);
      const record = { k: page, v: page, kStride: DIM * 4, vStride: DIM * 4, mask: ALL_VISIBLE };
      for (const rows of [1, 2, 4]) {
        const { out } = run(rows, 0, 3 * TILE_KEYS, { records: [record, record, record], step: TILE_WORDS * 4 }, DIM);
        expect([...out].every((x) => Math.abs(x - 0.5) < 1e-6)).toBe(true);
      }
    });

    test("of which nothing is visible are not read", () => {
      const mark = memory.mark();
      const at = memory.take(TILE_KEYS * (DIM + VALUE_DIM) * 4);
      memory.f32.set(numbers("normal", TILE_KEYS * (DIM + VALUE_DIM), 3), at / 4);
      const seen = { k: at, v: at + TILE_KEYS * DIM * 4, kStride: DIM * 4, vStride: VALUE_DIM * 4, mask: ALL_VISIBLE };
      // The scores read all keys, whoever sees them.
      const hidden = { ...seen, v: memory.byteLength, mask: NOTHING_VISIBLE };
      for (const rows of [3, 5]) {
        const all = run(rows, 0, 3 * TILE_KEYS, { records: [hidden, seen, hidden], step: TILE_WORDS * 4 });
        const alone = run(rows, 0, TILE_KEYS, { records: [seen], step: TILE_WORDS * 4 });
        expectSameBits(all.out, alone.out);
        expectSameBits(all.lse, alone.lse);
        all.scores.forEach((score, i) => expect(score === -Infinity, `score ${i}`).toBe(Math.floor(i / TILE_KEYS) % 3 !== 1));
        expect(new Set(run(rows, 0, TILE_KEYS, { records: [hidden], step: TILE_WORDS * 4 }).out)).toEqual(new Set([0]));
      }
      memory.release(mark);
    });
  }),
);
