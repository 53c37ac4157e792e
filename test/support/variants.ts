import { describe, test } from "vitest";
import { createInstance, hasRelaxedSimd, type Instance, type Variant } from "../../src/testing/testing.ts";

/** Which subjects this process is about (subjects.ts); suites of the binaries themselves are left to a process that is about both. */
export const CHOSEN: readonly string[] = (process.env["ONEPASS_SUBJECTS"] ?? "baseline relaxed engine").split(" ");

/**
 * A suite that runs once for each binary, on an instance of its own. A binary that this engine cannot run is skipped by name
 * and with the reason; in CI that is a failure, because there both are required.
 */
export function describeVariants(title: string, body: (instance: Instance, variant: Variant) => void): void {
  const variants = (["baseline", "relaxed"] as const).filter((variant) => CHOSEN.includes(variant));
  describe.each(variants)(`${title}, %s`, (variant) => {
    if (variant === "baseline" || hasRelaxedSimd()) body(createInstance(variant), variant);
    else test("needs relaxed SIMD", ({ skip }) => unavailable(skip, "this JavaScript engine has no relaxed SIMD"));
  });
}

/** Skips a test visibly, with the reason; fails it in CI, where everything that a test needs has to be there. */
export function unavailable(skip: (reason: string) => void, reason: string): void {
  if ((process.env["CI"] ?? "") !== "") throw new Error(`required in CI, but ${reason}`);
  skip(reason);
}
