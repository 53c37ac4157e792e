// Runs in a process of its own: prints the milliseconds from import to a first correct result. The argument says whose.
import { PEERS } from "../peers/all.ts";

const who = process.argv[2] ?? "";
const input = new Float32Array([1, 2, 3, 4]);
const LAST = 0.6439142598879722;

const start = performance.now();
const result = await first();
const ms = performance.now() - start;
if (result.length !== 4 || !(Math.abs((result[3] ?? NaN) - LAST) < 1e-6)) throw new Error(`${who}: expected ${LAST} last, got [${result.join(", ")}]`);
console.log(String(ms));
// Some libraries leave handles open.
process.exit(0);

async function first(): Promise<Float32Array> {
  if (who === "onepass") {
    const built = new URL("../../dist/index.js", import.meta.url).href;
    const onepass = (await import(built)) as { softmax(x: Float32Array): { data: Float32Array } };
    return onepass.softmax(input).data;
  }
  const peer = PEERS.find(({ name }) => name === who);
  if (peer === undefined) throw new Error(`"${who}" is not a library that can be started`);
  const runner = await (await peer.setup()).softmax(input, 1, 4);
  await runner.run();
  return runner.read();
}
