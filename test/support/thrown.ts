import { expect } from "vitest";

export type ErrorType = new (message: string) => Error;

/** A line of a table of bad input: what it is, the value, and the error in full. */
export type BadInput<T = unknown> = readonly [what: string, value: T, error: ErrorType, message: string];

/** Runs what must throw and returns what it threw. Without the cost of `expect` where it does, for loops. */
export function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
    expect.fail(`this was thrown: ${String(error)}`);
  }
  return expect.fail("nothing was thrown");
}

/** The type of an error and its message in full, which starts with the quoted name of the argument. */
export function expectThrown(run: () => unknown, type: ErrorType, message: string): void {
  const error = thrown(run);
  expect(error.message).toBe(message);
  expect(error).toBeInstanceOf(type);
  expect(error.message).toMatch(/^"[\w[\].]+" /);
}
