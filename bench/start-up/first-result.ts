// Runs in a process of its own: prints the milliseconds from import to a first correct result. The argument says whose.
import { draw, reference } from "../measure/problem.ts";
import { verify } from "../measure/verify.ts";
import { PEERS } from "../peers/all.ts";

const who = process.argv[2] ?? "";
const problem = draw({ op: "softmax", rows: 1, cols: 4 });

const start = performance.now();
const result = await first();
const ms = performance.now() - start;
verify(result, reference(problem), problem, 1e-6);
console.log(String(ms));
// Some libraries leave handles open.
process.exit(0);

async function first(): Promise<Float32Array> {
  if (who === "onepass") {
    const built = new URL("../../dist/index.js", import.meta.url).href;
    const onepass = (await import(built)) as { softmax(x: unknown): { data: Float32Array } };
    return onepass.softmax(problem.operands[0]).data;
  }
  const peer = PEERS.find(({ name }) => name === who);
  if (peer === undefined) throw new Error(`"${who}" is not a library that can be started`);
  const runner = await (await peer.setup()).softmax(problem);
  await runner.run();
  return runner.read();
}
