/** What decides which keys a query may see, apart from masks: everything that loops can skip through their bounds. */
export interface KeyRangeRule {
  readonly causal: boolean;
  /** Keys visible before and after the query's position; `Infinity` is unlimited. */
  readonly windowLeft: number;
  readonly windowRight: number;
}

/** The properties of a sequence's queries that decide which keys they see. */
interface Queries {
  readonly offset: number;
  readonly queryLength: number;
  readonly keyLength: number;
}

/** Keys visible after the query's position. */
export function rightOf({ causal, windowRight }: KeyRangeRule): number {
  return causal ? Math.min(0, windowRight) : windowRight;
}

/**
 * The visible keys of a query at `position` among `keyLength` keys, as [low, high). A query that sees nothing has [0, 0).
 * Causality, sliding windows and lengths all have this form, so kernels know only this.
 */
export function keyRange(position: number, keyLength: number, rule: KeyRangeRule): readonly [low: number, high: number] {
  const low = Math.max(0, position - rule.windowLeft);
  const high = Math.min(keyLength, position + 1 + rightOf(rule));
  return low < high ? [low, high] : [0, 0];
}

/**
 * The keys that any of `queryLength` queries sees, the first query being at position `offset`. Keys outside are never read. The
 * ranges of neighbouring queries overlap and move along with the query, so the first and the last range bound them all.
 */
export function visibleKeys({ offset, queryLength, keyLength }: Queries, rule: KeyRangeRule): { readonly low: number; readonly count: number } {
  const low = Math.max(0, offset - rule.windowLeft);
  const high = Math.min(keyLength, offset + queryLength + rightOf(rule));
  return queryLength > 0 && low < high ? { low, count: high - low } : { low: 0, count: 0 };
}

/** The number of visible (query, key) pairs of one head: the sum over queries of the lengths that `keyRange` gives. */
export function visibleScores({ offset, queryLength, keyLength }: Queries, rule: KeyRangeRule): number {
  // Both ends of query i's range are i plus a constant, clamped between 0 and the number of keys.
  return sumClamped(offset + 1 + rightOf(rule), queryLength, keyLength) - sumClamped(offset - rule.windowLeft, queryLength, keyLength);
}

/** An upper bound on the keys that a query sees: it ignores that the end of the sequence may cut a window short. */
export function widestRow({ offset, queryLength, keyLength }: Queries, rule: KeyRangeRule): number {
  const right = rightOf(rule);
  return Math.max(0, Math.min(keyLength, rule.windowLeft + 1 + right, offset + queryLength + right));
}

/** Σ max(0, min(start + i, limit)) for i from 0 to count − 1. */
function sumClamped(start: number, count: number, limit: number): number {
  // A start may be infinite.
  const first = Math.min(Math.max(Math.ceil(-start), 0), count);
  const last = Math.min(Math.max(limit - start, first), count);
  const rising = last - first;
  return (rising === 0 ? 0 : rising * start + ((first + last - 1) * rising) / 2) + (count - last) * limit;
}
