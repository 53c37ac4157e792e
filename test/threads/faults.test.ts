import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parseAttention } from "../../src/ops/attention.ts";
import type { Cpu } from "../../src/backend/wasm/drivers/cpu.ts";
import { type CpuOptions, createCpu } from "../../src/backend/wasm/drivers/create-cpu.ts";
import { WORKER_SOURCE } from "../../src/backend/wasm/generated/worker-source.ts";
import { Lease, writeTasks } from "../../src/backend/wasm/drivers/job-tables.ts";
import type { Task } from "../../src/backend/wasm/plans/plan.ts";
import { WorkerPool } from "../../src/backend/wasm/drivers/pool.ts";
import { chooseVariant } from "../../src/backend/wasm/module/runtime.ts";
import { TUNING } from "../../src/backend/wasm/plans/schedule.ts";
import { shareMemoryOf } from "../../src/backend/wasm/module/shared-binary.ts";
import { createSharedRuntime } from "../../src/backend/wasm/module/shared-runtime.ts";
import { emptyOn } from "../../src/ops/empty.ts";
import { BackendError, DisposedError, type Tensor, attention, softmax, tensor } from "../../src/index.ts";
import { parseSoftmax } from "../../src/ops/softmax.ts";
import { numbers } from "../support/numbers.ts";
import { FINEST, startCpu } from "../support/threads.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { wholeBinary } from "../support/whole-binary.ts";
import { WorkerSpy } from "../support/worker-spy.ts";

const SHAPE = [64, 300];
const INPUT = numbers("normal", 64 * 300);
const EXPECTED = softmax(tensor(INPUT, SHAPE)).data;

/** Attention that takes some milliseconds, in many tasks. */
const HEADS = [1, 8, 256, 32];
const [Q, K, V] = [1, 2, 3].map((seed) => tensor(numbers("normal", 8 * 256 * 32, seed), HEADS)) as [Tensor<"f32">, Tensor<"f32">, Tensor<"f32">];
const ATTENDED = attention(Q, K, V).data;

let spy: WorkerSpy;
const open: Cpu[] = [];

beforeEach(() => {
  spy = new WorkerSpy();
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  for (const cpu of open.splice(0)) {
    cpu.dispose();
    await cpu.ended;
  }
  spy.restore();
});

async function start(threads: number, options?: CpuOptions): Promise<Cpu> {
  const cpu = await startCpu(threads, options);
  open.push(cpu);
  return cpu;
}

async function expectWorks(cpu: Cpu): Promise<void> {
  expectSameBits((await cpu.run(parseSoftmax(tensor(INPUT, SHAPE)))).data, EXPECTED, "softmax");
  expectSameBits((await attend(cpu)).data, ATTENDED, "attention");
}

async function attend(cpu: Cpu, signal?: AbortSignal): Promise<Tensor<"f32">> {
  return (await cpu.run(parseAttention(Q, K, V), signal)) as Tensor<"f32">;
}

/** As on a browser's main thread: waiting is an error, so this thread hands out work and does none. */
function forbidWaiting(): void {
  vi.spyOn(Atomics, "wait").mockImplementation(() => {
    throw new TypeError("Atomics.wait cannot be called in this context");
  });
}

const LONG = [1, 16, 2048, 64];

/** A call that takes about a second on one thread. */
function longCall(cpu: Cpu, signal?: AbortSignal, out?: Tensor<"f32">): Promise<Tensor<"f32">> {
  const long = tensor(numbers("normal", 16 * 2048 * 64), LONG);
  return Promise.resolve(cpu.run(parseAttention(long, long, long, { out }), signal)) as Promise<Tensor<"f32">>;
}

/** Where a long call writes at once what it has computed, and NaN where it has not. */
function unwritten(cpu: Cpu): Tensor<"f32"> {
  const out = emptyOn(cpu.runtime, LONG);
  out.data.fill(NaN);
  return out;
}

const PLACES = [
  ["where the calling thread works too", 3, (): void => undefined],
  ["where it may not wait", 2, forbidWaiting],
] as const;

describe.each(PLACES)("a worker that dies, %s", (_, threads, prepare) => {
  beforeEach(prepare);

  test("in the middle of 50 calls: none hangs, none is wrong, and the pool is whole again", { timeout: 120_000 }, async () => {
    const cpu = await start(threads);
    const workers = spy.started.length;
    let failed = 0;
    const calls = Array.from({ length: 50 }, async (_, i) => {
      try {
        expectSameBits((await attend(cpu)).data, ATTENDED, `call ${i}`);
      } catch (error) {
        if (!(error instanceof BackendError)) throw error;
        expect(error.cause).toBeInstanceOf(Error);
        failed++;
      }
    });
    const kills = (async () => {
      for (const wait of [1, 7, 15, 20]) {
        await new Promise((resolve) => setTimeout(resolve, wait));
        await spy.kill(-1);
      }
    })();
    await Promise.all([...calls, kills]);
    expect(failed, "calls that were lost").toBeLessThanOrEqual(4);
    await vi.waitFor(() => expect(cpu.threads).toBe(threads), 20_000);
    expect(spy.alive).toBe(workers);
    expect(spy.started.length).toBeGreaterThan(workers);
    await expectWorks(cpu);
    expect(cpu.reasons).toEqual([]);
  });

  test("between calls: nobody notices", { timeout: 60_000 }, async () => {
    const cpu = await start(threads);
    await expectWorks(cpu);
    await spy.kill(0);
    await expectWorks(cpu);
    await vi.waitFor(() => expect(cpu.threads).toBe(threads), 20_000);
    await expectWorks(cpu);
  });

  test("and cannot be replaced: fewer threads, with the reason", { timeout: 60_000 }, async () => {
    const cpu = await start(threads);
    spy.refusal = new Error("no more workers");
    await spy.kill(0);
    await vi.waitFor(() => expect(cpu.threads).toBe(threads - 1), 20_000);
    expect(cpu.reasons).toEqual(["a worker died: a worker exited with code 1", "a worker could not start: no more workers"]);
    await expectWorks(cpu);
    while (spy.alive > 0) await spy.kill(spy.started.length - spy.alive);
    await vi.waitFor(() => expect(cpu.threads).toBe(1), 20_000);
    await expectWorks(cpu);
  });
});

test("a worker that dies while its replacement starts and the other one sleeps: the call is done all the same", { timeout: 20_000 }, async () => {
  forbidWaiting();
  const cpu = await start(2);
  spy.script = "setInterval(() => undefined, 1000)";
  await spy.kill(1);
  await vi.waitFor(() => expect(spy.started.length).toBe(3));
  await new Promise((resolve) => setTimeout(resolve, 5));
  expectSameBits((await attend(cpu, new AbortController().signal)).data, ATTENDED);
  expect(cpu.reasons).toEqual(["a worker died: a worker exited with code 1"]);
});

test("workers that die as soon as they are ready are replaced ten times, not for ever", { timeout: 20_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "onepass-worker-"));
  const path = join(directory, "worker.cjs");
  writeFileSync(
    path,
    `const { parentPort } = require("node:worker_threads");
     parentPort.on("message", () => { parentPort.postMessage({ kind: "ready" }); setTimeout(() => process.exit(3), 1); });`,
  );
  const cpu = await createCpu({ threads: 2, workerUrl: path });
  open.push(cpu);
  await vi.waitFor(() => expect(spy.started.length).toBe(11), 20_000);
  await vi.waitFor(() => expect(spy.alive).toBe(0), 20_000);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(spy.started.length).toBe(11);
  expect(cpu.threads).toBe(1);
  expect(cpu.reasons).toEqual(["a worker died: a worker exited with code 3"]);
  await expectWorks(cpu);
  rmSync(directory, { recursive: true });
});

test("a replacement that cannot be sent its memory is ended, and does not count", { timeout: 20_000 }, async () => {
  const cpu = await start(2);
  spy.unsendable = new Error("cannot be cloned");
  await spy.kill(0);
  await vi.waitFor(() => expect(spy.started.length).toBe(11));
  await vi.waitFor(() => expect(spy.alive).toBe(0));
  expect(cpu.threads).toBe(1);
  expect(cpu.reasons).toEqual(["a worker died: a worker exited with code 1", "a worker could not start: cannot be cloned"]);
  await expectWorks(cpu);
});

test("what a worker says of a job that has ended is not taken for the one that runs", { timeout: 20_000 }, async () => {
  const cpu = await start(2);
  await expectWorks(cpu);
  const call = longCall(cpu);
  spy.started[0]?.emit("message", { kind: "failed", reason: "said late", job: 1 });
  await call;
});

test("disposing while a replacement starts leaves nothing that keeps the process alive", async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const cpu = await start(2);
  const before = timers();
  spy.script = "setInterval(() => undefined, 1000)";
  await spy.kill(0);
  await vi.waitFor(() => expect(spy.started.length).toBe(2));
  cpu.dispose();
  await cpu.ended;
  expect(timers()).toBeLessThanOrEqual(before);
  expect(spy.alive).toBe(0);
});

describe.each(PLACES)("a kernel that fails, %s", (_, threads, prepare) => {
  beforeEach(prepare);

  test("rejects the call with the cause; the next one works", async () => {
    const runtime = createSharedRuntime(chooseVariant(), 1 << 26);
    const pool = await WorkerPool.create(runtime, { threads, shared: true, workerUrl: undefined });
    expect(pool.workers).toBe(2);
    const { memory } = runtime;
    const at = memory.allocate(1024);
    const good: Task = { calls: [{ kernel: "transpose_f32", args: [at, at + 512, 1, 1, 4, 4], relative: 0 }] };
    const bad: Task = { calls: [{ kernel: "transpose_f32", args: [0xfffffff0, at, 8, 8, 32, 32], relative: 0 }] };
    const run = async (tasks: readonly Task[]): Promise<void> => {
      const lease = new Lease(memory);
      try {
        const scratch = { address: lease.take(64 * pool.slots), bytes: 64 };
        await pool.run(writeTasks(lease, pool.kernelNumbers, tasks, scratch), threads, undefined);
      } finally {
        lease.free();
      }
    };
    const used = memory.usedBytes;
    for (let round = 0; round < 10; round++) {
      // One bad task, or so many that several threads report one.
      const failure = run([...Array<Task>(round).fill(good), ...Array<Task>(round % 2 === 0 ? 1 : 40).fill(bad), ...Array<Task>(50).fill(good)]);
      await expect(failure).rejects.toBeInstanceOf(BackendError);
      await expect(failure).rejects.toHaveProperty("cause.message", expect.stringMatching(/memory access out of bounds/));
      memory.f32[at / 4] = round;
      await run(Array<Task>(20).fill(good));
      expect(memory.f32[(at + 512) / 4]).toBe(round);
    }
    expect(memory.usedBytes).toBe(used);
    expect(pool.workers).toBe(2);
    await pool.dispose();
    expect(spy.alive).toBe(0);
  });
});

describe.each(PLACES)("calls in a row, %s", (_, threads, prepare) => {
  beforeEach(prepare);

  test("arrays are read before a call returns, and may be reused", async () => {
    const cpu = await start(threads);
    const scratch = new Float32Array(INPUT);
    const results = [];
    for (let i = 0; i < 8; i++) {
      for (let j = 0; j < scratch.length; j++) scratch[j] = (INPUT[j] ?? 0) * (i + 1);
      results.push(cpu.run(parseSoftmax(tensor(scratch, SHAPE))));
    }
    scratch.fill(NaN);
    for (const [i, result] of results.entries()) {
      const expected = softmax(
        tensor(
          INPUT.map((value) => value * (i + 1)),
          SHAPE,
        ),
      );
      expectSameBits((await result).data, expected.data, `call ${i}`);
    }
  });

  test("a call sees what the one before it wrote to module memory", async () => {
    const cpu = await start(threads);
    const [a, b] = [emptyOn(cpu.runtime, SHAPE), emptyOn(cpu.runtime, SHAPE)];
    a.data.set(INPUT);
    let expected = tensor(INPUT, SHAPE);
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 6; i++) {
      const [from, to] = i % 2 === 0 ? [a, b] : [b, a];
      calls.push(Promise.resolve(cpu.run(parseSoftmax(from, { out: to, scale: 3 }))));
      expected = softmax(expected, { scale: 3 });
    }
    await Promise.all(calls);
    expectSameBits(a.data, expected.data);
  });

  test("a tensor that is disposed while a call uses it stays until the call has ended", async () => {
    const cpu = await start(threads);
    const x = emptyOn(cpu.runtime, SHAPE);
    x.data.set(INPUT);
    const calls = [longCall(cpu), cpu.run(parseSoftmax(x))] as const;
    x.dispose();
    const y = emptyOn(cpu.runtime, SHAPE);
    y.data.fill(NaN);
    expectSameBits((await calls[1]).data, EXPECTED);
    const used = cpu.runtime.memory.usedBytes;
    y.dispose();
    expect(cpu.runtime.memory.usedBytes).toBeLessThan(used);
  });

  test("an aborted call rejects with the reason and leaves the rest undone; the next one works", { timeout: 60_000 }, async () => {
    const cpu = await start(threads);
    const out = unwritten(cpu);
    const used = cpu.runtime.memory.usedBytes;
    const reason = new Error("not wanted any more");
    const controller = new AbortController();
    const call = longCall(cpu, controller.signal, out);
    const waiting = expect(attend(cpu, controller.signal)).rejects.toBe(reason);
    const next = attend(cpu);
    setTimeout(() => controller.abort(reason), 20);
    await expect(call).rejects.toBe(reason);
    await waiting;
    expectSameBits((await next).data, ATTENDED);
    expect(() => cpu.run(parseSoftmax(INPUT), controller.signal)).toThrow(reason);
    expect(out.data.includes(NaN)).toBe(true);
    expect(cpu.runtime.memory.usedBytes).toBe(used);
    await longCall(cpu, undefined, out);
    expect(out.data.includes(NaN)).toBe(false);
  });

  test("a call that waits and is aborted does not wait for the one before it, nor does the next one overtake that", { timeout: 60_000 }, async () => {
    const cpu = await start(threads);
    const settled: string[] = [];
    const note = async (name: string, call: Promise<unknown>): Promise<void> => {
      await call.catch(() => undefined);
      settled.push(name);
    };
    const controller = new AbortController();
    const calls = [note("long", longCall(cpu)), note("aborted", attend(cpu, controller.signal)), note("next", attend(cpu))];
    setTimeout(() => controller.abort(), 5);
    await Promise.all(calls);
    expect(settled).toEqual(["aborted", "long", "next"]);
  });

  test("calls for one thread that have to wait their turn, while every worker sleeps", { timeout: 20_000 }, async () => {
    const cpu = await start(threads, { tuning: { ...TUNING, jobNs: Infinity } });
    for (let i = 0; i < 3; i++) {
      // Workers look for the next job for a tenth of a millisecond.
      await new Promise((resolve) => setTimeout(resolve, 5));
      // A signal makes a job of a call that takes long, and the next ones wait behind it.
      const calls = [longCall(cpu, new AbortController().signal), attend(cpu)] as const;
      await calls[0];
      expectSameBits((await calls[1]).data, ATTENDED);
    }
  });

  test("disposing rejects what runs and what waits, and ends every worker", async () => {
    const cpu = await start(threads);
    const calls = [longCall(cpu), attend(cpu), attend(cpu)];
    cpu.dispose();
    cpu.dispose();
    for (const call of calls) await expect(call).rejects.toBeInstanceOf(DisposedError);
    await cpu.ended;
    expect(spy.alive).toBe(0);
    expect(() => cpu.run(parseSoftmax(INPUT))).toThrow(DisposedError);
  });
});

test("one thread can be stopped between tasks too", { timeout: 60_000 }, async () => {
  const cpu = await createCpu({ threads: 1 });
  open.push(cpu);
  const out = unwritten(cpu);
  const controller = new AbortController();
  const call = longCall(cpu, controller.signal, out);
  setTimeout(() => controller.abort(), 20);
  await expect(call).rejects.toHaveProperty("name", "AbortError");
  expect(out.data.includes(NaN)).toBe(true);
  await longCall(cpu, undefined, out);
  expect(out.data.includes(NaN)).toBe(false);
  expect(spy.started).toEqual([]);
});

test("what is too short to share, or all one row, runs at once", async () => {
  const cpu = await createCpu({ threads: 3 });
  open.push(cpu);
  expect(cpu.run(parseSoftmax(INPUT.subarray(0, 100)))).not.toBeInstanceOf(Promise);
  expect(cpu.threadsFor(parseSoftmax(tensor(INPUT, SHAPE)))).toBe(1);
  expect(cpu.threadsFor(parseSoftmax(new Float32Array(1 << 22)))).toBe(1);
  expect(cpu.threadsFor(parseSoftmax(emptyOn(cpu.runtime, [2048, 1024])))).toBe(3);
  const long = tensor(new Float32Array(8 * 2048 * 64), [8, 2048, 64]);
  expect(cpu.threadsFor(parseAttention(long, long, long))).toBe(3);
  // The same keys for one query: copying them costs more than reading them.
  expect(cpu.threadsFor(parseAttention(tensor(new Float32Array(8 * 64), [8, 1, 64]), long, long))).toBe(1);
});

test("on one thread of a page a long call lets events happen", { timeout: 60_000 }, async () => {
  forbidWaiting();
  const cpu = await createCpu({ threads: 1 });
  open.push(cpu);
  let events = 0;
  const timer = setInterval(() => events++, 1);
  await longCall(cpu);
  clearInterval(timer);
  expect(events).toBeGreaterThan(3);
});

test("memory that grows during a call on one thread, where it is not shared: the call goes on", { timeout: 60_000 }, async () => {
  const cpu = await createCpu({ threads: 1 });
  open.push(cpu);
  const call = longCall(cpu, new AbortController().signal);
  const before = cpu.runtime.memory.byteLength;
  const grown = emptyOn(cpu.runtime, [before / 4]);
  expect(cpu.runtime.memory.byteLength).toBeGreaterThan(before);
  grown.dispose();
  await call;
  expect(cpu.idle).toBe(true);
  await expectWorks(cpu);
});

test("a hundred of them leave no worker, no handle, and memory where it was", { timeout: 300_000 }, async () => {
  const resources = (): number => process.getActiveResourcesInfo().filter((name) => /Worker|MessagePort|Timeout|Immediate/.test(name)).length;
  const before = resources();
  const sizes: number[] = [];
  for (let i = 0; i < 100; i++) {
    const cpu = await startCpu(2);
    await cpu.run(parseSoftmax(tensor(INPUT, SHAPE)));
    cpu.dispose();
    await cpu.ended;
    if (i % 10 === 9) sizes.push(process.memoryUsage().rss);
  }
  expect(spy.started.length).toBe(100);
  expect(spy.alive).toBe(0);
  expect(resources()).toBeLessThanOrEqual(before);
  // Every one has 1.1 MB of module memory, and its worker 5 MB of heap and stack: were they kept, it would be 500 MB.
  expect((sizes.at(-1) ?? 0) - (sizes[1] ?? 0)).toBeLessThan(150e6);
});

describe("where threads cannot be had, the same call runs on one, and says why", () => {
  async function expectOne(reason: RegExp, options: CpuOptions = {}): Promise<void> {
    const cpu = await createCpu({ threads: 4, tuning: FINEST, ...options });
    open.push(cpu);
    expect(cpu.threads).toBe(1);
    expect(cpu.reasons).toEqual([expect.stringMatching(reason)]);
    expect(cpu.runtime.memory.memory.buffer).toBeInstanceOf(ArrayBuffer);
    await expectWorks(cpu);
    cpu.dispose();
    await cpu.ended;
    expect(spy.alive).toBe(0);
  }

  test("no cross-origin isolation", async () => {
    vi.stubGlobal("crossOriginIsolated", false);
    await expectOne(/not cross-origin isolated/);
  });

  test("no SharedArrayBuffer", async () => {
    vi.stubGlobal("SharedArrayBuffer", undefined);
    await expectOne(/no SharedArrayBuffer/);
  });

  test("workers are forbidden", async () => {
    spy.refusal = new Error("not allowed here");
    await expectOne(/not allowed here/);
  });

  test("the worker's script cannot be loaded", async () => {
    await expectOne(/could not start: .*missing-worker/, { workerUrl: "file:///missing-worker.js" });
  });

  test("no memory can be reserved", async () => {
    const { Memory } = WebAssembly;
    vi.spyOn(WebAssembly, "Memory").mockImplementation(function (descriptor) {
      if (descriptor.shared === true) throw new RangeError("could not allocate memory");
      return new Memory(descriptor);
    });
    await expectOne(/could not allocate memory/);
  });

  test("a module for memory that is not shared", async () => {
    await expectOne(/not one for shared memory/, { module: new WebAssembly.Module(wholeBinary(chooseVariant())) });
  });
});

describe("with less than asked for", () => {
  test("a maximum that cannot be reserved is halved", async () => {
    const { Memory } = WebAssembly;
    const asked: number[] = [];
    vi.spyOn(WebAssembly, "Memory").mockImplementation(function (descriptor) {
      if (descriptor.shared === true) asked.push(descriptor.maximum ?? 0);
      if (descriptor.shared === true && (descriptor.maximum ?? 0) > 5000) throw new RangeError("could not allocate memory");
      return new Memory(descriptor);
    });
    const cpu = await start(2);
    expect(asked).toEqual([16384, 8192, 4096]);
    await expectWorks(cpu);
  });

  test("a call that does not fit the maximum runs on one thread", async () => {
    const cpu = await start(2, { maxMemoryBytes: 2 << 20 });
    const used = cpu.runtime.memory.usedBytes;
    const x = tensor(numbers("normal", 1 << 20), [1024, 1024]);
    expectSameBits((await cpu.run(parseSoftmax(x))).data, softmax(x).data);
    // Neither when others are waiting: then arrays are kept elsewhere.
    const results = [longCall(cpu), cpu.run(parseSoftmax(x)), attend(cpu)] as const;
    expectSameBits((await results[1]).data, softmax(x).data);
    expectSameBits((await results[2]).data, ATTENDED);
    await results[0];
    expect(cpu.runtime.memory.usedBytes).toBe(used);
  });

  test("some workers do not start: the others do", async () => {
    const pending = createCpu({ threads: 3, tuning: FINEST });
    const { started } = spy;
    await vi.waitFor(() => expect(started.length).toBe(2));
    await spy.kill(0);
    const cpu = await pending;
    open.push(cpu);
    expect(cpu.threads).toBeGreaterThanOrEqual(2);
    await expectWorks(cpu);
  });
});

describe("what the caller brings", () => {
  test("a worker's script from a URL or a path, for pages whose policy forbids blobs", async () => {
    const directory = mkdtempSync(join(tmpdir(), "onepass-worker-"));
    try {
      const path = join(directory, "worker.mjs");
      writeFileSync(path, WORKER_SOURCE);
      for (const workerUrl of [pathToFileURL(path).href, pathToFileURL(path), path]) await expectWorks(await start(2, { workerUrl }));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("a compiled module, for pages that may not compile bytes", async () => {
    const cpu = await start(2, { module: new WebAssembly.Module(shareMemoryOf(wholeBinary("baseline"))), variant: "baseline" });
    const { data } = await cpu.run(parseSoftmax(tensor(INPUT, SHAPE)));
    expect(data.every((p) => p >= 0 && p <= 1)).toBe(true);
  });

  test.each([0, -1, 1.5, NaN, "two"])("threads: %s is an error", async (threads) => {
    await expect(createCpu({ threads: threads as number })).rejects.toThrow('"threads" expected "auto" or a positive integer');
  });
});
