// What attention is tried on, as plain data.

/** Sizes of a call: B, Hq, Hkv, L, S, E, Ev. */
export interface AttentionSizes {
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
  readonly valueDim: number;
}

export interface AttentionCase extends AttentionSizes {
  readonly name: string;
}

/** A case by its sizes; one batch, one head and Ev = E where nothing is said. */
export function attentionCase(sizes: Partial<AttentionSizes> & Pick<AttentionSizes, "queries" | "keys" | "dim">, note = ""): AttentionCase {
  const { batch = 1, heads = 1, kvHeads = heads, queries, keys, dim, valueDim = dim } = sizes;
  const name = `${batch}×${heads}${kvHeads === heads ? "" : `/${kvHeads}`}, ${queries} by ${keys}, ${dim}${valueDim === dim ? "" : ` to ${valueDim}`}${note === "" ? "" : `, ${note}`}`;
  return { name, batch, heads, kvHeads, queries, keys, dim, valueDim };
}

/** Queries around what kernels take at once: 2, 4 or 8 rows, 64 rows per block, which is also where decode ends. */
export const QUERY_COUNTS: readonly number[] = [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 63, 64, 65, 72, 127, 128, 129];

/** Keys around 4 (one step of a tile), 8, 64 (a tile) and 1024 (a chunk of decode, and what is staged at a time). */
export const KEY_COUNTS: readonly number[] = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 63, 64, 65, 67, 68, 127, 128, 129, 1023, 1024, 1025, 2048, 2051];

/** The shapes on which every option is tried: each way through the kernels, with distinct heads wherever they are shared. */
export const OPTION_CASES: readonly AttentionCase[] = [
  attentionCase({ queries: 3, keys: 3, dim: 3 }, "tiny"),
  attentionCase({ batch: 2, heads: 6, kvHeads: 2, queries: 1, keys: 70, dim: 8 }, "three rows"),
  attentionCase({ heads: 2, queries: 1, keys: 1090, dim: 9, valueDim: 5 }, "one row, two chunks"),
  attentionCase({ batch: 2, heads: 5, kvHeads: 1, queries: 1, keys: 75, dim: 13, valueDim: 43 }, "five rows"),
  attentionCase({ batch: 2, heads: 6, kvHeads: 2, queries: 5, keys: 130, dim: 16, valueDim: 12 }, "decode in groups of eight"),
  attentionCase({ heads: 8, kvHeads: 1, queries: 8, keys: 1100, dim: 5, valueDim: 3 }, "the largest decode, two chunks"),
  attentionCase({ heads: 13, kvHeads: 1, queries: 5, keys: 1100, dim: 4, valueDim: 7 }, "the smallest prefill"),
  attentionCase({ batch: 2, heads: 6, kvHeads: 2, queries: 65, keys: 129, dim: 12, valueDim: 20 }, "prefill, two blocks"),
  attentionCase({ heads: 2, queries: 130, keys: 70, dim: 9, valueDim: 8 }, "more queries than keys"),
  attentionCase({ heads: 2, kvHeads: 1, queries: 33, keys: 2100, dim: 4 }, "prefill, three parts"),
];

/** Where decode (all heads that share a key head in one block of at most 64 rows) becomes prefill. */
export const DECODE_LIMIT_CASES: readonly AttentionCase[] = [
  attentionCase({ queries: 64, keys: 100, dim: 8 }, "64 rows"),
  attentionCase({ queries: 65, keys: 100, dim: 8 }, "65 rows"),
  attentionCase({ heads: 4, kvHeads: 1, queries: 16, keys: 100, dim: 8 }, "64 rows"),
  attentionCase({ heads: 5, kvHeads: 1, queries: 13, keys: 100, dim: 8 }, "65 rows"),
  attentionCase({ heads: 12, kvHeads: 3, queries: 16, keys: 100, dim: 8 }, "64 rows"),
  attentionCase({ heads: 12, kvHeads: 3, queries: 17, keys: 100, dim: 8 }, "68 rows"),
  attentionCase({ heads: 64, kvHeads: 1, queries: 1, keys: 100, dim: 8 }, "64 rows"),
  attentionCase({ heads: 65, kvHeads: 1, queries: 1, keys: 100, dim: 8 }, "65 rows"),
  attentionCase({ heads: 33, kvHeads: 1, queries: 2, keys: 1500, dim: 8 }, "66 rows"),
];

/** Head dimensions of models, and those that fill no vector. */
const DIMS: readonly number[] = [1, 2, 3, 4, 5, 7, 8, 12, 15, 17, 40, 63, 64, 65, 72, 80, 96, 112, 128, 192, 256, 512];
const UNEQUAL_DIMS: readonly (readonly [number, number])[] = [
  [1, 8],
  [8, 1],
  [3, 7],
  [64, 80],
  [80, 64],
  [192, 128],
  [128, 192],
  [33, 31],
  [512, 1],
  [1, 512],
  [576, 512],
  [1024, 1024],
];

/** Every head dimension for five rows (four and one, as few rows are taken), in decode and prefill, over two tiles of keys. */
export const DIM_CASES: readonly AttentionCase[] = [...DIMS.map((dim) => [dim, dim] as const), ...UNEQUAL_DIMS].flatMap(([dim, valueDim]) => [
  attentionCase({ heads: 5, kvHeads: 1, queries: 1, keys: 67, dim, valueDim }),
  attentionCase({ heads: 2, queries: 10, keys: 67, dim, valueDim }),
  attentionCase({ queries: 66, keys: 67, dim, valueDim }),
]);

/** Nothing to attend to, or nobody who attends. */
export const EMPTY_CASES: readonly AttentionCase[] = [
  attentionCase({ batch: 2, heads: 4, kvHeads: 2, queries: 3, keys: 0, dim: 8, valueDim: 5 }, "no keys"),
  attentionCase({ heads: 2, queries: 70, keys: 0, dim: 8 }, "no keys"),
  attentionCase({ batch: 2, heads: 2, queries: 0, keys: 5, dim: 8 }, "no queries"),
  attentionCase({ batch: 0, heads: 2, queries: 3, keys: 5, dim: 8 }, "no batch"),
  attentionCase({ heads: 0, queries: 3, keys: 5, dim: 8 }, "no heads"),
  attentionCase({ queries: 0, keys: 0, dim: 1 }, "nothing"),
];
