// Shapes of real models, and a few that show one thing: tests and benchmarks use the same ones, by the same names.
import { countOf } from "../reference/indices.ts";

/** Softmax or one of its logarithms, along the last dimension. */
export interface RowSizes {
  readonly op: "softmax" | "logSoftmax" | "logSumExp";
  readonly rows: number;
  readonly cols: number;
}

/** Attention of one batch: q and the output are [heads, queries, dim], k and v [kvHeads, keys, dim]. */
export interface HeadSizes {
  readonly op: "attention";
  readonly heads: number;
  /** Fewer than `heads` where several query heads share one head of keys and values. */
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
  readonly causal?: true | undefined;
  readonly windowSize?: readonly [left: number, right: number] | undefined;
  readonly softcap?: number | undefined;
  /** Options that are matrices, or numbers per head: here only whether there are any. */
  readonly mask?: true | undefined;
  readonly bias?: true | undefined;
  readonly alibi?: true | undefined;
}

/** x · weightᵀ: x is [rows, depth], the weight [cols, depth]. */
export interface ProductSizes {
  readonly op: "linear";
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
}

/** A call by its sizes, with the name that reports give it. */
export interface Shape<Call = RowSizes | HeadSizes> {
  readonly name: string;
  /** Where one meets it. */
  readonly what: string;
  readonly call: Call;
}

export interface RowShape extends Shape<RowSizes> {
  readonly shape: readonly number[];
}

export type HeadShape = Shape<HeadSizes>;

function rows(shape: readonly number[], what: string): RowShape {
  return { name: shape.join("×"), what, shape, call: { op: "softmax", rows: countOf(shape.slice(0, -1)), cols: shape.at(-1) ?? 1 } };
}

function product(rows: number, depth: number, cols: number, what: string): Shape<ProductSizes> {
  return { name: `${rows}×${depth}×${cols}`, what, call: { op: "linear", rows, cols, depth } };
}

/** Layers of models: rows × inputs × outputs. */
export const MODEL_PRODUCTS: readonly Shape<ProductSizes>[] = [
  product(256, 768, 3072, "BERT-base: up-projection of 256 tokens"),
  product(197, 768, 768, "ViT-B: output projection of an image"),
  product(32, 2048, 2048, "a batch of 32 tokens"),
  product(1, 4096, 4096, "Llama 3 8B: output projection of one token"),
  product(1, 4096, 14336, "Llama 3 8B: up-projection of one token"),
];

export const LLAMA_LOGITS = rows([32, 128256], "Llama 3: logits of 32 tokens");
export const LLAMA_TOKEN = rows([1, 128256], "Llama 3: logits of one token");
const MNIST = rows([1024, 10], "MNIST: ten classes");
const SHORT_ROWS = rows([4096, 64], "many short rows");
const LONG_ROWS = rows([64, 32768], "long rows");
export const SQUARE = rows([1024, 1024], "square");
export const MNIST_DIGIT = rows([1, 10], "one MNIST digit");

/** The rows that softmax is measured on. */
export const MODEL_ROWS: readonly RowShape[] = [
  rows([1, 50257], "GPT-2: logits of one token"),
  LLAMA_LOGITS,
  rows([12, 512, 512], "BERT-base: attention rows"),
  rows([12, 197, 197], "ViT-B: attention rows"),
  MNIST,
  SHORT_ROWS,
  SQUARE,
  LONG_ROWS,
  rows([1, 4194304], "one row of four million"),
];

/** Where one wants log-softmax and log-sum-exp. */
export const LOG_ROWS: readonly RowShape[] = [LLAMA_LOGITS, SQUARE, MNIST];

/** Too small for threads. */
export const SMALL_ROWS: readonly RowShape[] = [MNIST_DIGIT, rows([16, 64], "a thousand numbers")];

/** What every machine computes in reasonable time, software that plays a GPU included; what a CPU does as well; what takes a GPU. */
export interface BySpeed<S> {
  readonly everywhere: readonly S[];
  readonly onHardware: readonly S[];
  readonly onGpu: readonly S[];
}

export const ENGINE_ROWS: BySpeed<RowShape> = {
  everywhere: [SQUARE, SHORT_ROWS],
  onHardware: [LONG_ROWS],
  onGpu: [rows([8192, 8192], "256 MiB in, 256 MiB out")],
};

type Options = Pick<HeadSizes, "causal" | "windowSize" | "softcap">;

/** As many queries as keys: "heads × length × dim". */
function prefill([heads, length, dim]: readonly [number, number, number], what: string, kvHeads = heads, options: Options = {}): HeadShape {
  const suffix = options.windowSize ? " window" : options.causal ? " causal" : "";
  const name = `${heads}${kvHeads === heads ? "" : `/${kvHeads}`}×${length}×${dim}${suffix}`;
  return { name, what, call: { op: "attention", heads, kvHeads, queries: length, keys: length, dim, ...options } };
}

/** One query over the cache of Llama 3 8B. */
function decode(keys: number): HeadShape {
  const mib = (2 * 4 * 8 * keys * 128) / 2 ** 20;
  return {
    name: `32/8×${keys}×128`,
    what: `Llama 3 8B, ${mib} MiB of keys and values`,
    call: { op: "attention", heads: 32, kvHeads: 8, queries: 1, keys, dim: 128 },
  };
}

export const VIT = prefill([12, 197, 64], "ViT-B");
const BERT = prefill([12, 512, 64], "BERT-base");
export const DENSE = prefill([8, 2048, 64], "dense");
const WIDE = prefill([8, 1024, 128], "dense");

/** Whole sequences. */
export const MODEL_HEADS: readonly HeadShape[] = [
  BERT,
  VIT,
  prefill([12, 1024, 64], "GPT-2", 12, { causal: true }),
  prefill([32, 1024, 128], "Llama 3 8B: prefill, 32 query heads share 8", 8, { causal: true }),
  prefill([8, 1024, 256], "Gemma 2: causal, softcap 50, window of 512", 4, { causal: true, softcap: 50, windowSize: [511, 0] }),
  prefill([10, 4096, 64], "SDXL: self-attention"),
  DENSE,
  WIDE,
  prefill([8, 1024, 80], "dense, head dimension 80"),
  prefill([8, 1024, 96], "dense, head dimension 96"),
];

/** Those of them that take a few milliseconds. */
export const QUICK_HEADS: readonly HeadShape[] = [BERT, VIT, WIDE];

/** Dense, with as many heads of keys as of queries, and soon done: every library can compute these. */
export const PEER_HEADS: readonly HeadShape[] = [BERT, VIT, DENSE, WIDE];

/** Long enough that a window leaves most of the keys out. */
export const LONG_HEADS = prefill([2, 8192, 64], "dense");

/** One token after another: caches from 8 MiB, which fit in a processor, to 256 MiB, which do not. */
export const DECODE_HEADS: readonly HeadShape[] = [1024, 4096, 8192, 32768].map(decode);
export const DECODE_8192 = decode(8192);

/** Too small for threads. */
export const SMALL_HEADS: readonly HeadShape[] = [
  prefill([1, 16, 32], "small attention"),
  { name: "4×64×64, one query", what: "small decoding", call: { op: "attention", heads: 4, kvHeads: 4, queries: 1, keys: 64, dim: 64 } },
];

export const ENGINE_HEADS: BySpeed<HeadShape> = {
  everywhere: [prefill([4, 256, 64], "dense")],
  onHardware: [DENSE],
  onGpu: [prefill([16, 4096, 128], "dense")],
};

export const ENGINE_DECODE: BySpeed<HeadShape> = { everywhere: [decode(1024)], onHardware: [decode(4096), decode(32768)], onGpu: [] };
