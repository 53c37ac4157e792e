import { describe, test } from "vitest";
import { createInstance, hasRelaxedSimd, type Instance, type Variant } from "../../src/testing/testing.ts";

/** The subjects of this process (subjects.ts). Suites of the binaries themselves run only in a process that has both. */
export const CHOSEN: readonly string[] = (process.env["ONEPASS_SUBJECTS"] ?? "baseline relaxed engine").split(" ");

/**
 * A suite that runs once for each binary, on its own instance. A binary that this engine cannot run is skipped, with its name and the
 * reason. In CI, where both are required, it is a failure.
 */
export function describeVariants(title: string, body: (instance: Instance, variant: Variant) => void): void {
  const variants = (["baseline", "relaxed"] as const).filter((variant) => CHOSEN.includes(variant));
  describe.each(variants)(`${title}, %s`, (variant) => {
    if (variant === "baseline" || hasRelaxedSimd()) body(createInstance(variant), variant);
    else test("needs relaxed SIMD", ({ skip }) => unavailable(skip, "this JavaScript engine has no relaxed SIMD"));
  });
}

/** Skips a test visibly, with the reason. Fails it in CI, which must have everything that tests need. */
export function unavailable(skip: (reason: string) => void, reason: string): void {
  if ((process.env["CI"] ?? "") !== "") throw new Error(`required in CI, but ${reason}`);
  skip(reason);
}
