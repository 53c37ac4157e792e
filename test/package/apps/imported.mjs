// The package by `import`, as a program that asks for nothing else: it runs in Deno without any permission.
import * as onepass from "onepass";
import { SAMPLE, compute } from "./sample.js";

console.log(JSON.stringify({ sample: SAMPLE, plain: await compute(onepass) }));
