/** A function that computes each result once: references are slow, and every variant and algorithm is compared with the same one. */
export function memoize<A extends readonly unknown[], R>(compute: (...args: A) => R): (...args: A) => R {
  const known = new Map<string, R>();
  return (...args) => {
    const key = JSON.stringify(args);
    let result = known.get(key);
    if (result === undefined) known.set(key, (result = compute(...args)));
    return result;
  };
}
