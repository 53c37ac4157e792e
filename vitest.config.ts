import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/build.ts"],
    // By default one core stays idle, which on two of them is half the machine.
    maxWorkers: "100%",
    // Four million elements through a naive reference take a while on a busy machine.
    testTimeout: 60_000,
  },
});
