import { CHUNK_KEYS } from "../../src/calls/blocks.ts";
import { describe, expect, test } from "vitest";
import { MAX_TASKS } from "../../src/backend/wasm/drivers/control.ts";
import { type Cost, TUNING, cutRows, cutsKeys, joinTasks, keyChunks, threadsFor, workPerTask } from "../../src/backend/wasm/plans/schedule.ts";
import { fc } from "../support/property.ts";

describe("rows", () => {
  test("every row of every segment is in exactly one part, in order, whatever the size of a task", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(300), { maxLength: 12 }),
        fc.double({ min: 0, max: 500, noNaN: true }),
        fc.double({ min: 1, max: Infinity, noNaN: true }),
        (segments, least, divisor) => {
          const tasks = cutRows(segments, least, divisor);
          const seen = segments.map(() => 0);
          let last = 0;
          for (const { segment, from, to } of tasks.flat()) {
            expect(segment).toBeGreaterThanOrEqual(last);
            last = segment;
            expect(from).toBe(seen[segment]);
            expect(to).toBeGreaterThan(from);
            seen[segment] = to;
          }
          expect(seen).toEqual(segments);
          let left = segments.reduce((sum, rows) => sum + rows, 0);
          for (const parts of tasks) {
            const rows = parts.reduce((sum, { from, to }) => sum + to - from, 0);
            expect(rows).toBe(Math.min(left, Math.max(1, Math.floor(Math.max(least, left / divisor)))));
            left -= rows;
          }
          expect(cutRows(segments, least, divisor)).toEqual(tasks);
        },
      ),
    );
  });

  test("few tasks, of which the last are short", () => {
    const lengths = cutRows([1024], 28, 4).map((parts) => parts.reduce((sum, { from, to }) => sum + to - from, 0));
    expect(lengths).toEqual([256, 192, 144, 108, 81, 60, 45, 34, 28, 28, 28, 20]);
  });
});

describe("keys", () => {
  test("every key that is seen is in exactly one chunk; chunks begin at multiples of CHUNK_KEYS.wasm, in ascending order", () => {
    fc.assert(
      fc.property(fc.nat(10_000), fc.nat(10_000), (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const chunks = keyChunks(low, high);
        let next = Math.floor(low / CHUNK_KEYS.wasm) * CHUNK_KEYS.wasm;
        for (const { from, to } of chunks) {
          expect(from % CHUNK_KEYS.wasm).toBe(0);
          expect(from).toBe(next);
          expect(to).toBeGreaterThan(from);
          expect(to - from).toBeLessThanOrEqual(CHUNK_KEYS.wasm);
          next = to;
        }
        if (low < high) expect(next).toBe(high);
      }),
    );
  });

  test.each([0, 1, CHUNK_KEYS.wasm - 1, CHUNK_KEYS.wasm, CHUNK_KEYS.wasm + 1, 2 * CHUNK_KEYS.wasm, 2 * CHUNK_KEYS.wasm + 1])("%d keys", (keys) => {
    const chunks = keyChunks(0, keys);
    expect(chunks.length).toBe(Math.ceil(keys / CHUNK_KEYS.wasm));
  });

  test("blocks are cut only where there are few of them and several threads", () => {
    expect(cutsKeys(1, 1)).toBe(false);
    expect(cutsKeys(1, 2)).toBe(true);
    expect(cutsKeys(1000, 2)).toBe(false);
  });
});

describe("tasks", () => {
  test("joined tasks hold every item once, in order, and all but the last have enough to do", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 100, noNaN: true })), fc.double({ min: 0, max: 500, noNaN: true }), (costs, least) => {
        const tasks = joinTasks(costs, least);
        let next = 0;
        tasks.forEach(({ from, to }, t) => {
          expect(from).toBe(next);
          expect(to).toBeGreaterThan(from);
          next = to;
          const cost = costs.slice(from, to).reduce((sum, c) => sum + c, 0);
          if (t < tasks.length - 1) expect(cost).toBeGreaterThanOrEqual(least);
        });
        expect(next).toBe(costs.length);
      }),
    );
  });

  test("no job has more tasks than tickets can count", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.integer({ min: 1, max: 128 }),
        fc.double({ min: 1, max: 1e6, noNaN: true }),
        (rows, threads, rowNs) => {
          const rowsPerTask = workPerTask(rows * rowNs, threads) / rowNs;
          expect(cutRows([rows], rowsPerTask, Infinity).length).toBeLessThanOrEqual(MAX_TASKS);
        },
      ),
    );
  });
});

describe("how many threads a call is worth", () => {
  const ms = (computeNs: number, copyBytes = 0): Cost => ({ computeNs: computeNs * 1e6, copyBytes });

  test("one for a short call, all for a long one", () => {
    expect(threadsFor(ms(0.01), 8)).toBe(1);
    expect(threadsFor(ms(0.1), 2)).toBe(1);
    expect(threadsFor(ms(1), 2)).toBe(2);
    expect(threadsFor(ms(100), 8)).toBe(8);
    expect(threadsFor(ms(100), 1)).toBe(1);
  });

  test("no more than there is work for", () => {
    expect(threadsFor(ms(0.1), 64)).toBe(Math.floor(100_000 / TUNING.taskNs));
  });

  test("one where copying into shared memory would cost more than is gained", () => {
    // A softmax of 4 MB of plain numbers: two threads gain 0.35 ms and lose 0.4 ms by the slower copies.
    expect(threadsFor(ms(0.7, 8e6), 2)).toBe(1);
    expect(threadsFor(ms(7, 8e6), 2)).toBe(2);
  });

  test("never fewer when there is more to compute, never more when there is more to copy", () => {
    const work = fc.record({ computeNs: fc.double({ min: 0, max: 1e9, noNaN: true }), copyBytes: fc.nat(1 << 30) });
    fc.assert(
      fc.property(work, fc.double({ min: 0, max: 1e9, noNaN: true }), fc.integer({ min: 1, max: 64 }), (given, more, threads) => {
        const now = threadsFor(given, threads);
        expect(threadsFor({ ...given, computeNs: given.computeNs + more }, threads)).toBeGreaterThanOrEqual(now);
        expect(threadsFor({ ...given, copyBytes: given.copyBytes + more }, threads)).toBeLessThanOrEqual(now);
        expect(now).toBeLessThanOrEqual(threads);
        expect(now).toBeGreaterThanOrEqual(1);
      }),
    );
  });
});
