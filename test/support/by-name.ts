/** Cases for `test.each` with a title of "%s": each with its name in front, so that it is neither quoted nor cut short. */
export function byName<C extends { readonly name: string }>(cases: readonly C[]): [string, C][] {
  return cases.map((c) => [c.name, c]);
}
