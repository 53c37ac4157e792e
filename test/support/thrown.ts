import { expect } from "vitest";

export type ErrorType = new (message: string) => Error;

/** A row of a table of bad inputs: what it is, the value, and the full error. */
export type BadInput<T = unknown> = readonly [what: string, value: T, error: ErrorType, message: string];

/** Runs something that must throw and returns the error. Avoids the cost of `expect` when it throws, for loops. */
export function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
    expect.fail(`this was thrown: ${String(error)}`);
  }
  return expect.fail("nothing was thrown");
}

/** Checks an error's type and its full message, which starts with the quoted name of the argument. */
export function expectThrown(run: () => unknown, type: ErrorType, message: string): void {
  const error = thrown(run);
  expect(error.message).toBe(message);
  expect(error).toBeInstanceOf(type);
  expect(error.message).toMatch(/^"[\w[\].]+" /);
}
