import { fileURLToPath } from "node:url";
import { type TestProjectConfiguration, defineConfig } from "vitest/config";

/** Suites that run on subjects (test/support/subjects.ts). */
const ON_SUBJECTS = ["test/parity/**/*.test.ts", "test/properties/**/*.test.ts", "test/conformance/**/*.test.ts"];
/** f16 is for the GPU alone. */
const HALVES = "test/parity/half.test.ts";
/** Every kind of call, option and special value, on fewer sizes: what is repeated for other sizes of a subgroup. */
const WITH_SUBGROUPS = [
  "test/parity/{edges,softmax,log-sum-exp,attention-edges,attention-leaks,attention-varlen,block-mask}.test.ts",
  "test/properties/{rows,attention}.test.ts",
  "test/conformance/**/*.test.ts",
];

/**
 * Suites on a GPU: on which subject, and on lavapipe with how many bits in a vector, which is the size of its subgroups times 32. They
 * are a process each, one after the other, which compiles each pipeline once: lavapipe takes 20 seconds for a kernel of attention.
 */
const GPU_PROJECTS = [
  { name: "webgpu", subjects: "webgpu", bits: 256, include: ["test/webgpu/**/*.test.ts", ...ON_SUBJECTS] },
  { name: "webgpu-f16", subjects: "webgpu-f16", bits: 256, include: [HALVES] },
  { name: "webgpu-subgroups-4", subjects: "webgpu-subgroups", bits: 128, include: WITH_SUBGROUPS },
  { name: "webgpu-subgroups-8", subjects: "webgpu-subgroups", bits: 256, include: ON_SUBJECTS },
  { name: "webgpu-subgroups-16", subjects: "webgpu-subgroups", bits: 512, include: WITH_SUBGROUPS },
];

function onGpu({ name, subjects, bits, include }: (typeof GPU_PROJECTS)[number], index: number): TestProjectConfiguration {
  return {
    extends: true,
    test: {
      name,
      include,
      // Those are of the CPU alone.
      exclude: ["test/properties/{online-softmax,kv-cache}.test.ts", "test/parity/narrow.test.ts"],
      isolate: false,
      maxWorkers: 1,
      // The first call of a kernel compiles it.
      testTimeout: 600_000,
      hookTimeout: 120_000,
      sequence: { groupOrder: 1 + index },
      env: {
        ONEPASS_SUBJECTS: subjects,
        ONEPASS_SUBGROUP_SIZE: String(bits / 32),
        LP_NATIVE_VECTOR_WIDTH: String(bits),
        MESA_SHADER_CACHE_DIR: fileURLToPath(new URL(`build/shaders/${bits}`, import.meta.url)),
      },
    },
  };
}

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
        test: { name: "cpu", include: ["test/**/*.test.ts"], exclude: ["test/webgpu/**", "test/browser/**", HALVES], sequence: { groupOrder: 0 } },
      },
      ...GPU_PROJECTS.map(onGpu),
      ...["cpu", "webgpu"].map((on, index): TestProjectConfiguration => ({
        // A test is a file of tests in a page.
        extends: true,
        test: {
          name: `browsers-${on}`,
          include: [`test/browser/${on}.test.ts`],
          testTimeout: 1_800_000,
          hookTimeout: 120_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 + GPU_PROJECTS.length + index },
        },
      })),
    ],
  },
});
