// Checks the row operations at the subgroup size of this process, and prints what came out as JSON.
import { countOf } from "../reference/indices.ts";
import * as reference from "../reference/rows.ts";
import { maskBytes, numbers } from "../support/numbers.ts";
import { gpuTolerance } from "../support/tolerance-table.ts";
import { PARSERS, requestRowDevice } from "./rows-device.ts";

const device = await requestRowDevice(true);
if (typeof device === "string") throw new Error(device);

let checked = 0;
const failures: string[] = [];

// Lanes below, at and above the size: 1, 2, 4, … 256 for some length, by vectors and one by one, and segments.
const lengths = [1, 3, 4, 6, 8, 12, 16, 20, 32, 40, 64, 101, 128, 256, 257, 300, 512, 600, 1024, 1030, 2048, 2047, 2052, 4096, 8192, 8196, 9001, 32772, 40001];
for (const length of lengths) {
  const shape = [length > 5000 ? 2 : 67, length];
  for (const kind of ["wide", "holes"] as const) {
    const x = numbers(kind, countOf(shape));
    for (const op of ["softmax", "logSoftmax", "logSumExp"] as const) {
      check(`${op} ${kind} ${length}`, await device.run(PARSERS[op]({ data: x, shape })), reference[op]({ values: x, shape }, { axes: [1] }), gpuTolerance(op));
    }
    const mask = maskBytes(length);
    const result = await device.run(PARSERS.softmax({ data: x, shape }, { mask, safe: true }));
    check(
      `mask ${kind} ${length}`,
      result,
      reference.softmax({ values: x, shape }, { axes: [1], mask: { values: mask, shape: [length] }, safe: true }),
      gpuTolerance("softmax"),
    );
  }
}

console.log(JSON.stringify({ size: device.traits.subgroups, checked, failures }));
process.exit(0);

function check(name: string, actual: Float32Array, expected: Float64Array, { relative, absolute }: { relative: number; absolute: number }): void {
  checked++;
  const wrong = expected.findIndex((e, i) => {
    const a = actual[i] ?? NaN;
    return Number.isFinite(e) ? !(Math.abs(a - e) <= absolute + relative * Math.abs(e)) : !Object.is(a, e);
  });
  if (wrong >= 0) failures.push(`${name}: element ${wrong} is ${actual[wrong]}, expected ${expected[wrong]}`);
}
