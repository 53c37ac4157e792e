import type { Context } from "../context.ts";
import type { BenchCase, Contender, Suite } from "../contender.ts";
import { hotRows, normalRows, type Rows } from "../inputs.ts";
import { softmaxReference } from "../references.ts";
import { peerTolerance } from "../verify.ts";
import { copyContender } from "./copy.ts";
import { javascriptSoftmax } from "./javascript.ts";
import { softmaxContenders } from "./onepass-rows.ts";

/** Rows, columns, and where one meets them. */
const SHAPES: readonly (readonly [rows: number, cols: number, name: string, what: string])[] = [
  [1, 50257, "1×50257", "GPT-2: logits of one token"],
  [32, 128256, "32×128256", "Llama 3: logits of 32 tokens"],
  [12 * 512, 512, "12×512×512", "BERT-base: attention rows"],
  [12 * 197, 197, "12×197×197", "ViT-B: attention rows"],
  [1024, 10, "1024×10", "MNIST: ten classes"],
  [4096, 64, "4096×64", "many short rows"],
  [1024, 1024, "1024×1024", "square"],
  [64, 32768, "64×32768", "long rows"],
  [1, 4194304, "1×4194304", "one row of four million"],
];

/** Softmax over the last axis: every algorithm, both binaries, plain JavaScript and other libraries. */
export function softmaxSuite(context: Context): Suite<Rows> {
  return {
    id: "softmax",
    title: "Softmax over the last axis",
    about:
      "f32, one thread. GB/s count four bytes read and four written per element. Tensors lie where each implementation computes, unless a row says otherwise.",
    unit: "Gelem/s",
    compares: "rate",
    cases: SHAPES.map(([rows, cols, name, what]): BenchCase<Rows> => ({
      ...softmaxCase(rows, cols, name, what, context),
      contenders: () => [...softmaxContenders(context), javascriptSoftmax, ...peerSoftmaxes(context), copyContender(context)],
    })),
  };
}

/** All of a softmax case but its contenders. */
export function softmaxCase(rows: number, cols: number, name: string, what: string, { machine }: Context): Omit<BenchCase<Rows>, "contenders"> {
  return {
    name,
    what,
    work: { amount: rows * cols, bytes: 8 * rows * cols },
    limits: machine.expLimit,
    input: () => normalRows(rows, cols),
    hotInput: hotRows,
    reference: softmaxReference,
    // Far below the smallest probability here, so errors are purely relative.
    errorFloor: 1e-30,
  };
}

/** Softmax by each library that is set up. */
export function peerSoftmaxes({ peers }: Context): readonly Contender<Rows>[] {
  return peers.map((peer) => ({
    name: peer.name,
    group: "peer",
    note: peer.note,
    tolerance: ({ cols }) => peerTolerance(cols),
    prepare: ({ x, rows, cols }) => peer.softmax(x, rows, cols),
  }));
}
