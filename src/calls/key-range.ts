/** What decides which keys a query may see, apart from masks: everything that loops can skip by their bounds. */
export interface KeyRangeRule {
  readonly causal: boolean;
  /** Keys before and after the query's position that stay visible; `Infinity` is open. */
  readonly windowLeft: number;
  readonly windowRight: number;
}

/**
 * The visible keys of a query at `position` among `keyLength` keys, as [low, high). A query that sees nothing has [0, 0).
 * Causal, sliding window and lengths are all of this form, so kernels know nothing else of them.
 */
export function keyRange(position: number, keyLength: number, rule: KeyRangeRule): readonly [low: number, high: number] {
  const low = Math.max(0, position - rule.windowLeft);
  const high = Math.min(keyLength, position + 1 + (rule.causal ? Math.min(0, rule.windowRight) : rule.windowRight));
  return low < high ? [low, high] : [0, 0];
}

/**
 * The keys that any of `queryLength` queries sees, the first of them at position `offset`: none outside them is ever read. The
 * ranges of neighbours overlap and move with the query, so those of the first and the last bound them all.
 */
export function visibleKeys(
  { offset, queryLength, keyLength }: { readonly offset: number; readonly queryLength: number; readonly keyLength: number },
  rule: KeyRangeRule,
): { readonly low: number; readonly count: number } {
  const right = rule.causal ? Math.min(0, rule.windowRight) : rule.windowRight;
  const low = Math.max(0, offset - rule.windowLeft);
  const high = Math.min(keyLength, offset + queryLength + right);
  return queryLength > 0 && low < high ? { low, count: high - low } : { low: 0, count: 0 };
}
