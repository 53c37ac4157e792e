// The benchmark's front door: reads the command line, makes sure there is something to measure, and starts.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { HELP, parseArguments, type Arguments } from "./arguments.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

function readArguments(): Arguments {
  try {
    return parseArguments(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    process.exit(2);
  }
}

const args = readArguments();
if (args.help) console.log(HELP);
else if ((!args.gpu && !existsSync(`${root}dist/index.js`)) || !existsSync(`${root}src/backend/wasm/generated/worker-source.ts`)) {
  console.error('The package is not built yet. "npm run bench" builds it first.');
  process.exitCode = 2;
} else {
  const { renderReport, runBenchmark } = await import("./benchmark.ts");
  process.exitCode = args.from === "" ? await runBenchmark(args, root) : await renderReport(args, root);
}
