/** What a page has to say in the end, behind `MARK`. */
export interface Outcome {
  readonly passed: number;
  readonly skipped: readonly string[];
  readonly failed: readonly { readonly name: string; readonly message: string }[];
}

/** What the line begins with that says it. */
export const MARK = "outcome: ";
