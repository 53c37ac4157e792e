import { parseArgs } from "node:util";

/** What the command line asks for. */
export interface Arguments {
  readonly quick: boolean;
  readonly peers: boolean;
  /** The engine alone: CPU threads, the GPU, and dispatch between them. */
  readonly gpu: boolean;
  /** A report.json to make the other reports of, without measuring. */
  readonly from: string;
  readonly filter: string;
  readonly out: string;
  readonly help: boolean;
}

export const HELP = `Measures onepass: npm run bench -- [options]

  --quick         rough figures within a minute
  --peers         compare with other libraries too; the first time this installs them into bench/peers
  --gpu           only the engine: CPU threads against the GPU, its limits, and where dispatch moves calls. Needs no installed package but
                  webgpu; on a real GPU the figures are recorded in bench/results
  --filter TEXT   only cases whose name or origin contains TEXT, for example 1024x1024, BERT, attention, start-up
  --out DIR       where report.html, report.json, softmax.svg and attention.svg go (default bench/results/latest)
  --from FILE     make the reports of a report.json, such as one that --gpu has recorded elsewhere, and measure nothing
  --help          this text

Every configuration is compared with a float64 reference before it is timed; if one is wrong, the exit code is 1.`;

/** Reads the command line; throws with a message for people if it is not understood. */
export function parseArguments(argv: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...argv],
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
}
