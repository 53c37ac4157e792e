// The benchmark's front door: reads the command line, makes sure there is something to measure, and starts.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HELP = `Measures onepass: npm run bench -- [options]

  --quick         rough figures within a minute
  --peers         compare with other libraries too; the first time this installs them into bench/peers
  --gpu           only the engine: CPU threads against the GPU, its limits, and where dispatch moves calls. Needs no installed package but
                  webgpu and tinybench; on a real GPU the figures are recorded in bench/results
  --filter TEXT   only cases whose name or origin contains TEXT, for example 1024x1024, BERT, attention, start-up
  --out DIR       where report.html, report.json, softmax.svg and attention.svg go (default bench/results/latest)
  --from FILE     make the reports of a report.json, such as one that --gpu has recorded elsewhere, and measure nothing
  --help          this text

Every configuration is compared with a float64 reference before it is timed; if one is wrong, the exit code is 1.`;

/** What the command line asks for. */
export type Arguments = ReturnType<typeof readArguments>;

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        peers: { type: "boolean", default: false },
        gpu: { type: "boolean", default: false },
        from: { type: "string", default: "" },
        filter: { type: "string", default: "" },
        out: { type: "string", default: "bench/results/latest" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.out === "") throw new Error('"--out" expected a directory, got nothing');
    return values;
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    process.exit(2);
  }
}

const root = fileURLToPath(new URL("..", import.meta.url));
const args = readArguments();
if (args.help) console.log(HELP);
else if ((!args.gpu && !existsSync(`${root}dist/index.js`)) || !existsSync(`${root}src/backend/wasm/generated/worker-source.ts`)) {
  console.error('The package is not built yet. "npm run bench" builds it first.');
  process.exitCode = 2;
} else {
  const { renderReport, runBenchmark } = await import("./benchmark.ts");
  process.exitCode = args.from === "" ? await runBenchmark(args, root) : await renderReport(args, root);
}
