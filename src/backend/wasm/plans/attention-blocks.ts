import { usesDecode, BLOCK_ROWS } from "../../../calls/blocks.ts";
import type { ScoreCall, Sequence } from "../../../calls/attention-call.ts";

/** One row of a block: a query of a head. */
export interface Row {
  readonly head: number;
  readonly query: number;
}

/** Visits the blocks of a sequence in order: up to BLOCK_ROWS rows that attend to the keys of one head. `rows` is used again. */
export function forEachBlock(call: ScoreCall, sequence: Sequence, visit: (kvHead: number, rows: readonly Row[], decode: boolean) => void): void {
  const group = call.heads / call.kvHeads;
  const decode = usesDecode(call, sequence);
  const rows: Row[] = [];
  const flush = (kvHead: number): void => {
    if (rows.length > 0) visit(kvHead, rows, decode);
    rows.length = 0;
  };
  for (let kvHead = 0; kvHead < call.kvHeads; kvHead++) {
    for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
      for (let query = 0; query < sequence.rows; query++) {
        rows.push({ head, query });
        if (rows.length === BLOCK_ROWS) flush(kvHead);
      }
      if (!decode) flush(kvHead);
    }
    flush(kvHead);
  }
}
