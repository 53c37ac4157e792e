import { beforeAll, describe, expect, test } from "vitest";
import { PipelineCache } from "../../src/backend/webgpu/device/pipelines.ts";
import type { Program } from "../../src/backend/webgpu/device/program.ts";
import { BackendError } from "../../src/errors/errors.ts";
import { nullGpu, toyProgram } from "./toy.ts";

// Dawn's null backend compiles as far as validation goes, which is what these are about.

let gpu: GPU;
let device: GPUDevice;
const uncaptured: string[] = [];

beforeAll(async () => {
  gpu = await nullGpu();
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("the null backend has an adapter");
  device = await adapter.requestDevice();
  device.addEventListener("uncapturederror", (event) => uncaptured.push(event.error.message));
});

const BROKEN: Program = {
  name: "broken",
  wgsl: `@group(0) @binding(0) var<uniform> u: vec4<u32>;
@compute @workgroup_size(1)
fn main() {
\tlet a = u.x; let b: f32 = a;
}`,
  bindings: ["uniform"],
  features: [],
};

const MESSAGE = `WGSL program "broken":4:19 cannot initialize 'let' of type 'f32' with value of type 'u32'
\tlet a = u.x; let b: f32 = a;
\t                 ^`;

describe("pipelines", () => {
  test("are compiled once, also when asked for at the same time", async () => {
    const cache = new PipelineCache(device);
    const [a, b] = await Promise.all([cache.compile(toyProgram("a")), cache.compile(toyProgram("a"))]);
    expect(a).toBe(b);
    expect(cache.compileNow(toyProgram("a"))).toBe(a);
    expect(cache.get(toyProgram("a"))).toBe(a);
    expect(cache.get(toyProgram("b"))).toBeUndefined();
    expect(cache.compiled).toBe(1);
    await cache.compile(toyProgram("b"));
    expect(cache.compiled).toBe(2);
  });

  test("share a layout where bindings are alike", async () => {
    const cache = new PipelineCache(device);
    const [a, b] = await Promise.all([cache.compile(toyProgram("a")), cache.compile(toyProgram("b"))]);
    expect(a.pipeline).not.toBe(b.pipeline);
    expect(a.groupLayout).toBe(b.groupLayout);
  });

  test("that do not compile show the line, and a caret below the place", async () => {
    const error: unknown = await new PipelineCache(device).compile(BROKEN).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(BackendError);
    expect((error as Error).message).toBe(MESSAGE);
  });

  test("that are needed at once say so later, with the same message", async () => {
    const cache = new PipelineCache(device);
    const { failure } = cache.compileNow(BROKEN);
    expect((await failure)?.message).toBe(MESSAGE);
    expect(await cache.compileNow(toyProgram()).failure).toBeUndefined();
  });

  test("that failed are tried again", async () => {
    const cache = new PipelineCache(device);
    await expect(cache.compile(BROKEN)).rejects.toThrow(BackendError);
    await expect(cache.compile(BROKEN)).rejects.toThrow(BackendError);
    await cache.compileNow(BROKEN).failure;
    expect(cache.get(BROKEN)).toBeUndefined();
    expect(cache.compiled).toBe(3);
  });

  test("that compile but do not fit their bindings tell what the device said", async () => {
    const { wgsl } = toyProgram();
    const cache = new PipelineCache(device);
    await expect(
      cache.compile({ name: "entry", wgsl: wgsl.replace("fn main", "fn other"), bindings: ["uniform", "read", "read", "write"], features: [] }),
    ).rejects.toThrow(/^WGSL program "entry" was refused: .*main/);
    await expect(cache.compile({ name: "kinds", wgsl, bindings: ["uniform", "read", "read", "read"], features: [] })).rejects.toThrow(
      /^WGSL program "kinds" was refused: /,
    );
  });

  test("with more buffers than the device allows are refused with that reason", async () => {
    const { wgsl } = toyProgram();
    const bindings = ["uniform", "read", "read", "write", ...new Array<"read">(8).fill("read")] as const;
    await expect(new PipelineCache(device).compile({ name: "many", wgsl, bindings, features: [] })).rejects.toThrow(
      /^WGSL program "many" was refused: .*storage buffers/,
    );
  });

  test("report nothing to the console", async () => {
    await device.queue.onSubmittedWorkDone();
    expect(uncaptured).toEqual([]);
  });
});
