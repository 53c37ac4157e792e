/** Cases as `test.each` wants them for a title of "%s": each with its name in front, which is then neither quoted nor cut short. */
export function byName<C extends { readonly name: string }>(cases: readonly C[]): [string, C][] {
  return cases.map((c) => [c.name, c]);
}
