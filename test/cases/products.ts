/** A product of `rows` × `depth` and `cols` × `depth` elements. */
export interface ProductCase {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
}

const named = ([rows, cols, depth]: readonly [number, number, number]): ProductCase => ({ name: `${rows}×${cols}, depth ${depth}`, rows, cols, depth });

/** Around the edges of tiles (2 rows, 5 columns), of blocks (15 columns), vectors (4 elements) and chunks (512). */
export const EDGE_PRODUCTS: readonly ProductCase[] = [0, 1, 2, 3, 4]
  .flatMap((rows) => [0, 1, 4, 5, 6, 11, 15, 16, 31].map((cols) => [rows, cols] as const))
  .flatMap(([rows, cols]) => [0, 1, 2, 3, 4, 5, 16, 19].map((depth) => named([rows, cols, depth])));

/** Several chunks, blocks and stages. */
export const LARGE_PRODUCTS: readonly ProductCase[] = (
  [
    [1, 40, 511],
    [2, 33, 512],
    [3, 17, 513],
    [5, 8, 1025],
    [197, 96, 64],
    [64, 300, 700],
    [1, 700, 4096],
    [1500, 16, 768],
  ] as const
).map(named);
