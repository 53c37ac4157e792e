import { parseArgs } from "node:util";

/** What the command line asks for. */
export interface Arguments {
  readonly quick: boolean;
  readonly peers: boolean;
  readonly filter: string;
  readonly out: string;
  readonly help: boolean;
}

export const HELP = `Measures onepass: npm run bench -- [options]

  --quick         rough figures within a minute
  --peers         compare with other libraries too; the first time this installs them into bench/peers
  --filter TEXT   only cases whose name or origin contains TEXT, for example 1024x1024, BERT, attention, start-up
  --out DIR       where report.html, report.json, softmax.svg and attention.svg go (default bench/results/latest)
  --help          this text

Every configuration is compared with a float64 reference before it is timed; if one is wrong, the exit code is 1.`;

/** Reads the command line; throws with a message for people if it is not understood. */
export function parseArguments(argv: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      quick: { type: "boolean", default: false },
      peers: { type: "boolean", default: false },
      filter: { type: "string", default: "" },
      out: { type: "string", default: "bench/results/latest" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.out === "") throw new Error('"--out" expected a directory, got nothing');
  return values;
}
