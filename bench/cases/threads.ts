import type { Engine } from "../../src/engine/engine.ts";
import type { EngineContext } from "../context.ts";
import type { BenchCase, Contender, Runner, Suite } from "../contender.ts";
import { perCall, type EngineCall } from "../engine/contenders.ts";
import { normalHeads, type AttentionInput, type HeadShape } from "../heads.ts";
import { hotRows, repeatedRows, type Rows } from "../inputs.ts";
import { sampledSoftmaxReference } from "../references.ts";
import { startLoneWorkers } from "../threads/lone-workers.ts";
import type { TimingPlan } from "../timing.ts";
import { ownAttentionTolerance, ownTolerance } from "../verify.ts";
import { attentionCase, bytesOf, flopsOf } from "./attention.ts";
import { attentionCall, sampleSoftmax, softmaxCall } from "./engine.ts";

// One thread against all, and against as many single-thread workers that know nothing of each other: the machine's own limit, since
// cores share memory, caches and power.

/** Fifteen turns of one sample each: the median of interleaved pairs. */
const PAIRS: TimingPlan = { rounds: 15, roundMs: 0, roundSamples: 1, taskMs: 60_000, warmMs: 250, warmLimitMs: 1500 };
const QUICK_PAIRS: TimingPlan = { ...PAIRS, rounds: 5, warmMs: 60, warmLimitMs: 400 };
/** Microseconds want more than one sample a turn. */
const SMALL_PAIRS: TimingPlan = { ...PAIRS, roundMs: 10, roundSamples: 5 };

/** Whether threads can help, and how many calls a sample has. */
interface Size {
  readonly isLarge: boolean;
  /** As many as take 50 to 200 ms where threads can help: in shorter samples, workers that wake and caches that are cold weigh too much. */
  readonly batch: number;
}

const LARGE: Size = { isLarge: true, batch: 1 };
const SMALL: Size = { isLarge: false, batch: 100 };

const lone = (threads: number): string => `${threads} lone workers`;

/** Large calls: how much faster all threads are, and how much of what is possible that is. */
export function threadsSuite({ engines, quick }: EngineContext): Suite<Rows & AttentionInput> {
  const { threads, reasons } = engines;
  const rows: readonly BenchCase<Rows>[] = [rowsCase(1024, 1024, "square", engines, { isLarge: true, batch: 256 })];
  const attention: readonly BenchCase<AttentionInput>[] = [
    headsCase({ heads: 8, kvHeads: 8, queries: 2048, keys: 2048, dim: 64 }, "8×2048×64", "dense attention", engines, LARGE),
    headsCase({ heads: 32, kvHeads: 8, queries: 1, keys: 8192, dim: 128 }, "32/8×8192×128", "decoding, Llama 3 8B", engines, { isLarge: true, batch: 16 }),
  ];
  const off = reasons.length === 0 ? "" : ` ${reasons.join("; ")}.`;
  return {
    id: "threads",
    title: "Engine: one thread against all",
    about: `f32, throughput relative to one thread; medians of ${quick ? QUICK_PAIRS.rounds : PAIRS.rounds} turns that each contender takes in every round. Tensors are in the engine's memory, unless a row says otherwise. Peak: ${threads} workers on one thread each, which compute the same by themselves.${off}`,
    unit: "Gelem/s",
    compares: "speed-up",
    peak: lone(threads),
    plan: quick ? QUICK_PAIRS : PAIRS,
    cases: [...attention, ...rows] as readonly BenchCase[] as readonly BenchCase<Rows & AttentionInput>[],
  };
}

/** Calls too small to be divided: what having threads costs them. */
export function smallThreadsSuite({ engines, quick }: EngineContext): Suite<Rows & AttentionInput> {
  const cases = [
    rowsCase(1, 10, "one MNIST digit", engines, SMALL),
    rowsCase(16, 64, "a thousand numbers", engines, SMALL),
    headsCase({ heads: 1, kvHeads: 1, queries: 16, keys: 16, dim: 32 }, "1×16×32", "small attention", engines, SMALL),
    headsCase({ heads: 4, kvHeads: 4, queries: 1, keys: 64, dim: 64 }, "4×64×64, one query", "small decoding", engines, SMALL),
  ];
  return {
    id: "threads-small",
    title: "Engine: calls too small for threads",
    about: "Time of one call, with its promise. What threads add to it is to be below 5 µs.",
    unit: "Gelem/s",
    compares: "time",
    plan: quick ? QUICK_PAIRS : SMALL_PAIRS,
    cases: cases as readonly BenchCase[] as readonly BenchCase<Rows & AttentionInput>[],
  };
}

type Machine = EngineContext["engines"];

function rowsCase(rows: number, cols: number, what: string, engines: Machine, size: Size): BenchCase<Rows> {
  const amount = rows * cols;
  return {
    name: `softmax ${rows}×${cols}`,
    what,
    work: { amount, bytes: 8 * amount },
    limits: [],
    batch: size.batch,
    input: () => repeatedRows(rows, cols),
    hotInput: hotRows,
    reference: sampledSoftmaxReference,
    sample: sampleSoftmax,
    errorFloor: 1e-30,
    contenders: () => contendersOf(engines, softmaxCall, "softmax", ownTolerance, size, amount),
  };
}

function headsCase(shape: HeadShape, name: string, what: string, engines: Machine, size: Size): BenchCase<AttentionInput> {
  const amount = flopsOf(shape);
  return {
    ...attentionCase(shape),
    name: `attention ${name}`,
    what,
    work: { amount, bytes: bytesOf(shape) },
    batch: size.batch,
    input: () => normalHeads(shape),
    contenders: () => contendersOf(engines, attentionCall, "attention", ownAttentionTolerance, size, amount),
  };
}

function contendersOf<Input>(
  { single, all, threads, reasons }: Machine,
  callOf: (input: Input) => EngineCall,
  op: "softmax" | "attention",
  tolerance: (input: Input) => number,
  { isLarge, batch }: Size,
  amount: number,
): readonly Contender<Input>[] {
  const { variant } = single.info().wasm;
  const skipped = threads > 1 ? undefined : (reasons[0] ?? "the machine has one core");
  const on = (name: string, engine: Engine, prepare: (engine: Engine, call: EngineCall) => Runner, lead: boolean): Contender<Input> => ({
    ...{ name, group: "onepass", variant, lead, tolerance, skipped: engine === all ? skipped : undefined },
    prepare: (input) => prepare(engine, callOf(input)),
  });
  const several = threads > 1 ? `${threads} threads` : "all threads";
  return [
    on("1 thread", single, inEngine, true),
    on(several, all, inEngine, false),
    on("1 thread, plain arrays", single, perCall, false),
    on(`${several}, plain arrays`, all, perCall, false),
    ...(isLarge && threads > 1 ? [loneContender(threads, callOf, op, tolerance, batch, amount)] : []),
  ];
}

/** Operands and output where the engine computes. */
function inEngine(engine: Engine, { operands, outShape, call }: EngineCall): Runner {
  const tensors = operands.map(({ data, shape }) => {
    const tensor = engine.empty(shape, { device: "wasm" });
    tensor.data.set(data);
    return tensor;
  });
  const out = engine.empty(outShape, { device: "wasm" });
  return {
    run: () => call(engine, tensors, { out }),
    // A copy: the memory may be shared, and grow.
    read: () => out.data.slice(),
    clear: () => out.data.fill(NaN),
    dispose() {
      for (const tensor of [...tensors, out]) tensor.dispose();
    },
  };
}

/** As many workers as threads, each with its own call at the same time. */
function loneContender<Input>(
  threads: number,
  callOf: (input: Input) => EngineCall,
  op: "softmax" | "attention",
  tolerance: (input: Input) => number,
  calls: number,
  amount: number,
): Contender<Input> {
  return {
    name: lone(threads),
    group: "limit",
    note: "each with the whole call, throughputs added",
    tolerance,
    amount: threads * amount,
    async prepare(input) {
      const call = callOf(input);
      const workers = await startLoneWorkers(threads, {
        op,
        operands: call.operands,
        outShape: call.outShape,
        calls,
      });
      return {
        run: () => workers.run(),
        async time() {
          const before = performance.now();
          await workers.run();
          return (performance.now() - before) / calls;
        },
        read: () => workers.read(),
        dispose: () => workers.dispose(),
      };
    },
  };
}
