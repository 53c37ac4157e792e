import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    globalSetup: ["test/support/build.ts"],
    // By default one core stays idle, which on two of them is half the machine.
    maxWorkers: "100%",
    // Four million elements through a naive reference take a while on a busy machine.
    testTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: { name: "cpu", include: ["test/**/*.test.ts"], exclude: ["test/webgpu/**"], sequence: { groupOrder: 0 } },
      },
      {
        // All in one process, which compiles each pipeline once: compiling is what takes time on a software driver.
        extends: true,
        test: {
          name: "webgpu",
          include: ["test/webgpu/**/*.test.ts"],
          isolate: false,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
