// Two threads against the machine's own limit: two workers that each run the same call for themselves, on one thread, at the same time.
// Pairs of both are interleaved, and medians are reported. Run it on a quiet machine: node bench/threads/index.ts [--threads N] [--pairs N]
import { parseArgs } from "node:util";
import { createCpu } from "../../src/backend/wasm/cpu.ts";
import { createInstance } from "../../src/testing.ts";
import { CASES, SMALL_CASES } from "./cases.ts";
import { Independent } from "./independent.ts";

const { values } = parseArgs({ options: { threads: { type: "string", default: "2" }, pairs: { type: "string", default: "15" } } });
const threads = Number(values.threads);
const pairs = Number(values.pairs);

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** Milliseconds of one call, over as many as take about 100 ms. */
async function time(call: () => unknown, repeats: number): Promise<number> {
  const begin = performance.now();
  for (let i = 0; i < repeats; i++) await call();
  return (performance.now() - begin) / repeats;
}

const cpu = await createCpu({ threads });
if (cpu.threads !== threads) throw new Error(cpu.reasons.join("; "));
const independent = await Independent.start(threads, cpu.variant);
const one = createInstance(cpu.variant);
console.log(`${threads} threads, ${cpu.variant}, ${pairs} pairs; throughput of one engine as a part of ${threads} independent workers'`);

for (const c of CASES) {
  const call = c.onCpu(cpu);
  await call();
  const repeats = Math.max(1, Math.ceil(100 / (await time(call, 3))));
  await independent.prepare(c);
  // Tiering up is nobody's throughput.
  await time(call, repeats);
  await independent.run(repeats);
  const shared: number[] = [];
  const limit: number[] = [];
  for (let i = 0; i < pairs; i++) {
    // Calls per second: each of the independent workers makes `repeats` calls in the time that the last of them takes.
    shared.push(1000 / (await time(call, repeats)));
    limit.push((1000 * threads * repeats) / (await independent.run(repeats)));
  }
  const ratio = median(shared.map((s, i) => s / (limit[i] ?? NaN)));
  const single = await time(c.onInstance(one), Math.ceil(repeats / threads));
  console.log(
    `${c.name.padEnd(40)} ${(100 * ratio).toFixed(1).padStart(6)} %  (asked: ${c.asked} %)   ${(1000 / median(shared)).toFixed(3)} ms a call, ` +
      `one thread ${single.toFixed(3)} ms, limit ${(1000 / median(limit)).toFixed(3)} ms`,
  );
}

console.log("\nCalls too small to share, in microseconds: engine on one thread, engine on all, and what the second costs more (asked: at most 5)");
const alone = await createCpu({ threads: 1, variant: cpu.variant });
for (const c of SMALL_CASES) {
  const [a, b] = [c.onCpu(alone), c.onCpu(cpu)];
  const repeats = Math.max(50, Math.ceil(20 / (await time(a, 50))));
  await time(a, repeats);
  await time(b, repeats);
  const one: number[] = [];
  const all: number[] = [];
  for (let i = 0; i < pairs; i++) {
    one.push(1000 * (await time(a, repeats)));
    all.push(1000 * (await time(b, repeats)));
  }
  const more = median(all.map((t, i) => t - (one[i] ?? NaN)));
  console.log(
    `${c.name.padEnd(40)} ${median(one).toFixed(2).padStart(9)} ${median(all).toFixed(2).padStart(9)} ${more.toFixed(2).padStart(8)}   on ${c.threadsOn(cpu)}`,
  );
}

await independent.stop();
alone.dispose();
cpu.dispose();
await cpu.ended;
